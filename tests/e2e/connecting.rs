//! Clients are connected as they are told: through a proxy, by an address with a name in TLS, with a token in a file, by
//! flags only.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use hawser_tests::{ConnectProxy, Sandbox, Watch, Way, ok, run, until, up};
use tempfile::TempDir;

/// A fresh kubeconfig of the administrator.
struct Kubeconfig {
    folder: TempDir,
    path: PathBuf,
    credential: String,
}

impl Kubeconfig {
    fn new(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let args = [&["kubeconfig", "root@example.com", "--output", path.to_str().unwrap()], flags].concat();
        let made = ok(&mut up().hawser(&[&args[..], &["--format", "json"]].concat()));
        let made: serde_json::Value = serde_json::from_str(&made).unwrap();
        Self { credential: made["credential"].as_str().unwrap().to_owned(), folder, path }
    }

    fn kubectl(&self, args: &[&str]) -> Command {
        up().kubectl_as(&self.path, args)
    }

    /// What stands in it.
    fn view(&self, path: &str) -> String {
        ok(&mut self.kubectl(&["config", "view", "--raw", "--minify", "-o", &format!("jsonpath={{{path}}}")]))
    }

    fn token(&self) -> String {
        self.view(".users[0].user.token")
    }
}

/// A request, a watch, and commands in a pod over both transports, with a kubectl that `prepare` has made ready.
fn all_kinds(sandbox: &Sandbox, kubeconfig: &Kubeconfig, prepare: impl Fn(&mut Command)) {
    let kubectl = |args: &[&str]| {
        let mut command = kubeconfig.kubectl(&["-n", &sandbox.namespace]);
        prepare(command.args(args));
        command
    };
    assert_eq!(ok(&mut kubectl(&["get", "pods", "-o", "name"])), "pod/p\n");
    for websockets in ["true", "false"] {
        let mut exec = kubectl(&["exec", "p", "--", "sh", "-c", "echo out; exit 7"]);
        let ran = run(exec.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets));
        assert_eq!((ran.code, ran.stdout.as_str()), (7, "out\n"), "{ran:?}");
    }
    let _watches = Watch::begin(&mut kubectl(&["get", "pods", "--watch", "-o", "name"]));
}

#[test]
fn through_a_proxy() {
    let sandbox = Sandbox::new("proxied");
    // Not by a loopback address, which Go never asks a proxy for.
    let kubeconfig = Kubeconfig::new(&[]);
    for credentials in [None, Some(("someone:secret", "c29tZW9uZTpzZWNyZXQ="))] {
        let proxy = ConnectProxy::start(credentials);
        let by = |url: String| {
            move |command: &mut Command| {
                command.env_remove("NO_PROXY").env_remove("no_proxy").env("HTTPS_PROXY", &url);
            }
        };
        all_kinds(&sandbox, &kubeconfig, by(proxy.url()));
        assert!(proxy.tunnels() >= 4, "{}", proxy.tunnels());

        let before = proxy.tunnels();
        let mut command = kubeconfig.kubectl(&["get", "namespaces"]);
        by(proxy.bare_url())(&mut command);
        let ran = run(&mut command);
        if credentials.is_some() {
            assert!(ran.code == 1 && ran.stderr.contains("Proxy Authentication Required"), "{ran:?}");
            assert_eq!(proxy.tunnels(), before);
        } else {
            assert!(ran.code == 0 && proxy.tunnels() > before, "{ran:?}");
        }
    }

    let proxy = ConnectProxy::start(None);
    let text = fs::read_to_string(&kubeconfig.path).unwrap();
    fs::write(
        &kubeconfig.path,
        text.replace("    server: ", &format!("    proxy-url: {}\n    server: ", proxy.url())),
    )
    .unwrap();
    all_kinds(&sandbox, &kubeconfig, |_| {});
    assert!(proxy.tunnels() >= 4, "{}", proxy.tunnels());
}

#[test]
fn by_an_address_and_a_name_in_tls() {
    let sandbox = Sandbox::new("named");
    let kubeconfig = Kubeconfig::new(&[]);
    assert_eq!(kubeconfig.view(".clusters[0].cluster.server"), up().edge.url);
    assert_eq!(
        kubeconfig.view(".clusters[0].cluster.tls-server-name"),
        format!("{}.hawser.internal", up().cluster().name)
    );
    all_kinds(&sandbox, &kubeconfig, |_| {});
    // The name is what says which cluster is meant.
    let identity = ["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"];
    for cluster in &up().clusters {
        let name = format!("{}.hawser.internal", cluster.name);
        let through = ok(kubeconfig.kubectl(&identity).args(["--tls-server-name", &name]));
        assert_eq!(through, ok(&mut up().direct(cluster, &identity)));
    }
    let ran = run(kubeconfig.kubectl(&identity).args(["--tls-server-name", "nobody.hawser.internal"]));
    assert!(ran.code == 1 && ran.stderr.contains("Unable to connect to the server"), "{ran:?}");
}

#[test]
fn with_a_token_and_a_token_file_that_is_read_again() {
    let sandbox = Sandbox::new("token-file");
    let [before, after] = [(); 2].map(|()| Kubeconfig::new(&["--token", "--local"]));
    let tokens = [before.token(), after.token()];
    all_kinds(&sandbox, &after, |_| {});
    let file = before.folder.path().join("token");
    fs::write(&file, &tokens[0]).unwrap();
    let text = fs::read_to_string(&before.path).unwrap();
    let line = text.lines().find(|line| line.trim_start().starts_with("token: ")).unwrap();
    fs::write(&before.path, text.replace(line, &format!("    tokenFile: {}", file.display()))).unwrap();
    all_kinds(&sandbox, &before, |_| {});

    let mut running = before.kubectl(&["proxy", "--port=0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(running.stdout.take().unwrap());
    let _read = std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    let url = format!("http://127.0.0.1:{}/api/v1/namespaces", line.trim().rsplit(':').next().unwrap());
    let code = || ok(Command::new("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &url]));
    assert_eq!(code(), "200");
    let _withdrawn = ok(&mut up().hawser(&["delete", "credential", &before.credential]));
    until("the first token is worth nothing", Duration::from_secs(20), || code() == "401");
    fs::write(&file, &tokens[1]).unwrap();
    // client-go looks at the file once a minute, and after a 401.
    until("the second token is taken", Duration::from_secs(120), || code() == "200");
    running.kill().unwrap();
    let _gone = running.wait().unwrap();
}

#[test]
fn helm_by_flags() {
    let sandbox = Sandbox::new("flags");
    let kubeconfig = Kubeconfig::new(&["--token", "--local"]);
    let folder = kubeconfig.folder.path();
    let ca = folder.join("ca.pem");
    let encoded = kubeconfig.view(".clusters[0].cluster.certificate-authority-data");
    let decoded = hawser_tests::ok_with(Command::new("base64").arg("-d"), &encoded);
    fs::write(&ca, decoded).unwrap();
    let chart = folder.join("chart");
    fs::create_dir_all(chart.join("templates")).unwrap();
    fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: chart\nversion: 1.0.0\n").unwrap();
    fs::write(
        chart.join("templates/map.yaml"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: by-flags}\n",
    )
    .unwrap();
    let helm = |args: &[&str]| {
        let mut command = Command::new(&up().helm);
        command.env_clear().env("HOME", folder).args(args).args(["--namespace", &sandbox.namespace]);
        command.args(["--kube-apiserver", &kubeconfig.view(".clusters[0].cluster.server")]);
        command.args(["--kube-token", &kubeconfig.token()]).arg("--kube-ca-file").arg(&ca);
        ok(&mut command)
    };
    let _installed = helm(&["install", "r", chart.to_str().unwrap(), "--wait"]);
    assert!(helm(&["list"]).contains("chart-1.0.0"));
    let map = ["get", "configmap", "by-flags", "-o", "name", "--ignore-not-found"];
    assert_eq!(ok(&mut sandbox.kubectl(Way::Direct, &map)), "configmap/by-flags\n");
    let _gone = helm(&["uninstall", "r", "--wait"]);
    assert_eq!(ok(&mut sandbox.kubectl(Way::Direct, &map)), "");
}
