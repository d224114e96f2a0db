//! An edge that is restarted sees its work off: watches end as watches end, writes finish, sessions are told why, and
//! afterwards everything is as before. One that is killed loses nothing that it had acknowledged.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use hawser_tests::{AuditLog, Curl, Sandbox, Way, agents_are_whole, ok, ok_with, until, up};

/// How the running edge was started, so that it can be started again.
struct Started {
    args: Vec<String>,
    environment: HashMap<String, String>,
}

impl Started {
    fn read() -> Self {
        let words = |file: &str| {
            let bytes = std::fs::read(format!("/proc/{}/{file}", up().edge_pid())).unwrap();
            let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
            words.map(|word| String::from_utf8(word.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        let pair =
            |text: String| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { args: words("cmdline"), environment: words("environ").into_iter().filter_map(pair).collect() }
    }

    fn again(&self) {
        let log = File::options().append(true).open(up().edge.data_dir.with_file_name("edge.log")).unwrap();
        let mut edge = Command::new(&self.args[0]);
        edge.args(&self.args[1..]).env_clear().envs(&self.environment).process_group(0);
        let mut edge =
            edge.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        // Outlives this test; until then somebody must take note of its end.
        thread::spawn(move || edge.wait().is_ok());
        agents_are_whole();
    }
}

fn signal(name: &str) {
    let _sent = ok(Command::new("kill").args([name, &up().edge_pid().to_string()]));
}

fn gone(pid: u32) -> bool {
    // A zombie of this test's own is gone too.
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.is_empty() || status.contains("State:\tZ")
}

fn begun(mut command: Command) -> Child {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let _read = BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(!line.is_empty());
    child
}

/// Writes whose bodies take seconds to come.
struct SlowWrites {
    running: Vec<Child>,
    _curl: Curl,
    _folder: tempfile::TempDir,
}

impl SlowWrites {
    const VERSIONS: [&str; 2] = ["http1.1", "http2"];

    fn begin(sandbox: &Sandbox) -> Self {
        let (curl, folder) = (Curl::new(), tempfile::tempdir().unwrap());
        let path = format!("/api/v1/namespaces/{}/configmaps", sandbox.namespace);
        let log = AuditLog::of_cluster();
        let running = Self::VERSIONS.map(|version| {
            let body = folder.path().join(version);
            let text = "x".repeat(800_000);
            std::fs::write(
                &body,
                format!(r#"{{"metadata":{{"name":"{version}"}},"data":{{"text":"{text}"}}}}"#),
            )
            .unwrap();
            let (http, body) = (format!("--{version}"), format!("@{}", body.display()));
            let args =
                [&http, "--limit-rate", "200K", "-H", "Content-Type: application/json", "-H", "Expect:"];
            let mut command = curl.command(&path, &args);
            command.args(["--data-binary", &body, "-w", "%{http_code}", "-o", "/dev/null"]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
        });
        let _both = log.find("the API server knows of both", 2, |event| {
            event["objectRef"]["namespace"] == sandbox.namespace.as_str()
                && (&event["verb"], &event["stage"]) == (&"create".into(), &"RequestReceived".into())
                && event["objectRef"]["resource"] == "configmaps"
        });
        Self { running: running.into(), _curl: curl, _folder: folder }
    }

    /// They end well, and what they wrote is there.
    fn end(self, sandbox: &Sandbox) {
        for child in self.running {
            let output = child.wait_with_output().unwrap();
            assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"201"[..]));
        }
        let there = ok(&mut sandbox.kubectl(Way::Direct, &["get", "configmaps", "-o", "name"]));
        for version in Self::VERSIONS {
            assert!(there.contains(&format!("configmap/{version}\n")), "{there}");
        }
    }
}

#[test]
fn restarted_and_killed() {
    let sandbox = Sandbox::new("edge-restart");
    let started = Started::read();

    let pid = up().edge_pid();
    let watch = begun(sandbox.kubectl(Way::Hawser, &["get", "pods", "-w"]));
    let session =
        begun(sandbox.kubectl(Way::Hawser, &["exec", "p", "--", "sh", "-c", "echo begun; sleep 120"]));
    let writes = SlowWrites::begin(&sandbox);
    signal("-TERM");
    let watched = watch.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&watched.stderr).into_owned();
    assert!(watched.status.success() && text.is_empty(), "{:?} {text}", watched.status);
    let told = session.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&told.stderr).into_owned();
    assert_eq!(told.status.code(), Some(1), "{text}");
    assert!(text.contains("session ended by Hawser: this edge is being restarted"), "{text}");
    writes.end(&sandbox);
    until("the edge is gone", Duration::from_secs(20), || gone(pid));
    started.again();
    assert_eq!(ok(&mut sandbox.kubectl(Way::Hawser, &["get", "pods", "-o", "name"])), "pod/p\n");

    let pid = up().edge_pid();
    let group = "apiVersion: access.hawser.dev/v1\nkind: Group\nmetadata: {name: t-acknowledged, namespace: hawser-system}\n\
                 spec: {members: [{user: somebody@example.com}]}\n";
    let _kept = ok_with(&mut up().hawser(&["apply", "-f", "-"]), group);
    signal("-KILL");
    until("the edge is gone", Duration::from_secs(5), || gone(pid));
    started.again();
    assert_eq!(ok(&mut sandbox.kubectl(Way::Hawser, &["get", "pods", "-o", "name"])), "pod/p\n");
    let kept = ok(&mut up().hawser(&["get", "group", "t-acknowledged", "--output", "json"]));
    assert!(kept.contains("somebody@example.com"), "{kept}");
    let _gone = ok(&mut up().hawser(&["delete", "group", "t-acknowledged"]));
}
