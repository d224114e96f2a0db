//! Helm 3 and Helm 4 work through Hawser: install, upgrade, waiting, rolling back what failed, rollback, uninstall, a
//! chart with hundreds of objects and one as large as a release can be. What they did is checked directly.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::{fs, path::Path, process::Command, thread, time::Duration};

use hawser_tests::{Ran, Way, agents, agents_are_whole, kill_agent, ok, program, run, until, up};
use serde_json::Value;

/// Both at the same time, then what disturbs others.
#[test]
fn helm() {
    thread::scope(|scope| {
        scope.spawn(|| all(3));
        scope.spawn(|| all(4));
    });
    for major in [3, 4] {
        waits_on_when_an_agent_is_killed(&Helm::new(major, "killed"));
    }
}

fn all(major: u32) {
    a_release_from_install_to_uninstall(&Helm::new(major, "life"));
    three_hundred_objects(&Helm::new(major, "many"));
    a_chart_as_large_as_can_be(&Helm::new(major, "large"));
}

fn a_release_from_install_to_uninstall(helm: &Helm) {
    helm.write_app();
    helm.ok(&["install", "r", "app", "--wait", "--timeout", "60s"]);
    assert_eq!(helm.direct(&["get", "deployment", "app", "-o", "jsonpath={.status.readyReplicas}"]), "1");
    assert_eq!(helm.text(), "one");
    let list: Value = serde_json::from_str(&helm.ok(&["list", "--output", "json"])).unwrap();
    assert_eq!((&list[0]["name"], &list[0]["status"]), (&"r".into(), &"deployed".into()), "{list}");
    // Helm 3 asks for the logs when the pod of a test that succeeded has been deleted already.
    let logs: &[&str] = if helm.major == 3 { &[] } else { &["--logs"] };
    let tested = helm.ok(&[&["test", "r"], logs].concat());
    assert!(tested.contains(if helm.major == 3 { "Succeeded" } else { "tested: one" }), "{tested}");

    helm.ok(&["upgrade", "r", "app", "--set", "text=two", "--wait", "--timeout", "60s"]);
    assert_eq!(helm.text(), "two");
    assert!(helm.ok(&["get", "manifest", "r"]).contains("text: \"two\""));
    assert_eq!(helm.history(), ["superseded", "deployed"]);

    let back = if helm.major == 3 { "--atomic" } else { "--rollback-on-failure" };
    let failed =
        helm.run(&["upgrade", "r", "app", "--set", "text=three,ready=false", back, "--timeout", "6s"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("has been rolled back"), "{failed:?}");
    assert_eq!(helm.text(), "two");
    assert_eq!(helm.history(), ["superseded", "superseded", "failed", "deployed"]);

    let failed =
        helm.run(&["install", "other", "app", "--set", "name=other,ready=false", back, "--timeout", "4s"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert_eq!(helm.direct(&["get", "configmap", "other", "--ignore-not-found"]), "", "uninstalled again");

    helm.ok(&["rollback", "r", "1", "--wait", "--timeout", "60s"]);
    assert_eq!(helm.text(), "one");
    assert_eq!(helm.history().len(), 5);

    helm.ok(&["uninstall", "r", "--wait", "--timeout", "60s"]);
    let left = ["get", "deployments,services,configmaps,secrets,pods", "-o", "name"];
    until("pods are gone", Duration::from_secs(20), || helm.direct(&left) == "configmap/kube-root-ca.crt\n");
    let gone = helm.run(&["history", "r"]);
    assert!(gone.code == 1 && gone.stderr.contains("release: not found"), "{gone:?}");
}

fn three_hundred_objects(helm: &Helm) {
    let template = "{{ range untilStep 0 300 1 }}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"m-{{ . }}\", \
                    labels: {of: many}}\ndata: {text: \"{{ $.Values.text }}\"}\n{{ end }}\n";
    helm.write_chart("many", "text: one\n", &[("templates/maps.yaml", template)]);
    let texts = || {
        helm.direct(&[
            "get",
            "configmaps",
            "-l",
            "of=many",
            "-o",
            "jsonpath={range .items[*]}{.data.text}{'\\n'}{end}",
        ])
    };
    helm.ok(&["install", "r", "many", "--wait"]);
    assert_eq!(texts(), "one\n".repeat(300));
    helm.ok(&["upgrade", "r", "many", "--set", "text=two"]);
    assert_eq!(texts(), "two\n".repeat(300));
    helm.ok(&["uninstall", "r", "--wait"]);
    assert_eq!(texts(), "");
}

fn a_chart_as_large_as_can_be(helm: &Helm) {
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {bytes: \"{{ len (.Files.Get \"noise\") }}\"}\n";
    let noise = noise(900_000);
    helm.write_chart("large", "", &[("templates/map.yaml", map), ("noise", &noise)]);
    helm.ok(&["install", "r", "large"]);
    assert_eq!(helm.direct(&["get", "configmap", "m", "-o", "jsonpath={.data.bytes}"]), "900000");
    let release =
        helm.direct(&["get", "secrets", "-l", "owner=helm", "-o", "jsonpath={.items[0].data.release}"]);
    // A Secret takes 1 MiB, which is 1.4 MB in base64.
    assert!(release.len() > 1_100_000, "{} bytes", release.len());
    helm.ok(&["upgrade", "r", "large"]);
    assert_eq!(helm.history(), ["superseded", "deployed"]);
    helm.ok(&["uninstall", "r", "--wait"]);
    assert_eq!(helm.direct(&["get", "secrets", "-o", "name"]), "");
}

fn waits_on_when_an_agent_is_killed(helm: &Helm) {
    helm.write_app();
    thread::scope(|scope| {
        let install = scope
            .spawn(|| helm.run(&["install", "r", "app", "--set", "delay=8", "--wait", "--timeout", "60s"]));
        until("the deployment is there", Duration::from_secs(20), || {
            !helm.direct(&["get", "deployment", "app", "--ignore-not-found", "-o", "name"]).is_empty()
        });
        kill_agent(&agents()[0]);
        let installed = install.join().unwrap();
        assert_eq!(installed.code, 0, "{installed:?}");
    });
    assert_eq!(helm.direct(&["get", "deployment", "app", "-o", "jsonpath={.status.readyReplicas}"]), "1");
    helm.ok(&["uninstall", "r"]);
    agents_are_whole();
}

/// One Helm with a folder of charts and a namespace of its own.
struct Helm {
    major: u32,
    program: std::path::PathBuf,
    namespace: String,
    folder: tempfile::TempDir,
}

impl Helm {
    fn new(major: u32, name: &str) -> Self {
        let program = if major == 3 { up().helm.clone() } else { program("helm4") };
        let namespace = format!("t-helm{major}-{name}");
        let direct = |args: &[&str]| up().kubectl(Way::Direct, args);
        let _gone = ok(&mut direct(&["delete", "namespace", &namespace, "--ignore-not-found"]));
        let _made = ok(&mut direct(&["create", "namespace", &namespace]));
        Self { major, program, namespace, folder: tempfile::tempdir().unwrap() }
    }

    /// Through Hawser.
    fn run(&self, args: &[&str]) -> Ran {
        run(Command::new(&self.program)
            .args(args)
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", &up().admin_kubeconfig)
            .env("HELM_NAMESPACE", &self.namespace))
    }

    fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "helm {}: {args:?}\n{}{}", self.major, ran.stdout, ran.stderr);
        ran.stdout
    }

    fn direct(&self, args: &[&str]) -> String {
        ok(up().kubectl(Way::Direct, &["-n", &self.namespace]).args(args))
    }

    /// What the chart `app` has put into its ConfigMap.
    fn text(&self) -> String {
        self.direct(&["get", "configmap", "app", "-o", "jsonpath={.data.text}"])
    }

    /// State of each revision.
    fn history(&self) -> Vec<String> {
        let history: Value = serde_json::from_str(&self.ok(&["history", "r", "--output", "json"])).unwrap();
        let states = history.as_array().unwrap().iter().map(|revision| revision["status"].as_str().unwrap());
        states.map(str::to_owned).collect()
    }

    fn write_app(&self) {
        let values =
            format!("text: one\nname: app\nready: \"true\"\ndelay: 0\nimage: {}\n", up().cluster().image);
        self.write_chart("app", &values, &[("templates/app.yaml", APP), ("templates/test.yaml", APP_TEST)]);
    }

    fn write_chart(&self, name: &str, values: &str, files: &[(&str, &str)]) {
        let chart = self.folder.path().join(name);
        let about = format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n");
        for (path, text) in [("Chart.yaml", about.as_str()), ("values.yaml", values)].iter().chain(files) {
            write(&chart.join(path), text);
        }
    }
}

impl Drop for Helm {
    fn drop(&mut self) {
        let args = ["delete", "namespace", &self.namespace, "--wait=false"];
        let _gone = run(&mut up().kubectl(Way::Direct, &args));
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Text that hardly gets smaller by compression.
fn noise(bytes: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(NOISE[(state >> 40) as usize % NOISE.len()])
    };
    (0..bytes).map(|_| next()).collect()
}

/// So many letters that the release of 900,000 of them, compressed as Helm does it, nearly fills a Secret.
const NOISE: &[u8; 24] = b"abcdefghijklmnopqrstuvwx";

const APP: &str = r#"apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Values.name }}"}
data: {text: "{{ .Values.text }}"}
---
apiVersion: v1
kind: Service
metadata: {name: "{{ .Values.name }}"}
spec: {selector: {app: "{{ .Values.name }}"}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Values.name }}"}
spec:
  selector: {matchLabels: {app: "{{ .Values.name }}"}}
  template:
    metadata:
      labels: {app: "{{ .Values.name }}"}
      annotations: {text: "{{ .Values.text }}"}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: c
        image: "{{ .Values.image }}"
        imagePullPolicy: Never
        command: [sleep, "100000"]
        readinessProbe:
          exec: {command: ["{{ .Values.ready }}"]}
          initialDelaySeconds: {{ .Values.delay }}
          periodSeconds: 1
          timeoutSeconds: 10
"#;

const APP_TEST: &str = r#"apiVersion: v1
kind: Pod
metadata:
  name: "{{ .Values.name }}-test"
  annotations: {helm.sh/hook: test, helm.sh/hook-delete-policy: "before-hook-creation,hook-succeeded"}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
  - {name: c, image: "{{ .Values.image }}", imagePullPolicy: Never, command: [echo, "tested: {{ .Values.text }}"]}
"#;
