//! An API server that does not speak HTTP/2, as behind some load balancers: everything works over HTTP/1.1, and neither
//! way of the change needs a restart of an agent.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use hawser_tests::{Sandbox, Way, agents_are_whole, ok, ok_with, run, until, up};

#[test]
fn everything_works_over_http1() {
    let sandbox = Sandbox::new("http1");
    let agents = agents();
    let apiserver = ApiServer::running();
    apiserver.restart(Speaks::Http1);
    everything_works(&sandbox);
    apiserver.restart(Speaks::Http2);
    everything_works(&sandbox);
    assert_eq!(self::agents(), agents, "no agent was restarted");
}

fn everything_works(sandbox: &Sandbox) {
    let kubectl = |args: &[&str]| sandbox.kubectl(Way::Hawser, args);
    assert_eq!(ok(&mut kubectl(&["get", "pods", "-o", "name"])), "pod/p\n");

    let mut watch = kubectl(&["get", "configmaps", "-w", "-o", "name", "-l", "of=watch"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut events = BufReader::new(watch.stdout.take().unwrap());
    let value = "x".repeat(900_000);
    for (name, text) in [("small", "text"), ("large", &value)] {
        let map = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{of: watch}}}}\ndata: {{text: {text}}}\n"
        );
        let applied = ok_with(&mut kubectl(&["apply", "--server-side", "-f", "-"]), &map);
        assert_eq!(applied, format!("configmap/{name} serverside-applied\n"));
        let mut event = String::new();
        let _bytes = events.read_line(&mut event).unwrap();
        assert_eq!(event, format!("configmap/{name}\n"));
        assert_eq!(ok(&mut kubectl(&["get", "configmap", name, "-o", "jsonpath={.data.text}"])), text);
    }
    watch.kill().unwrap();
    let _ended = watch.wait().unwrap();
    let deleted = ok(&mut kubectl(&["delete", "configmap", "small", "large"]));
    assert_eq!(deleted.lines().count(), 2, "{deleted}");

    for websockets in ["true", "false"] {
        let mut exec = kubectl(&["exec", "p", "--", "sh", "-c", "echo out; exit 7"]);
        let exec = run(exec.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets));
        assert_eq!((exec.stdout.as_str(), exec.code), ("out\n", 7), "{exec:?}");
    }
    assert_eq!(ok(&mut kubectl(&["logs", "p"])), "started\n");
    let mut follow = kubectl(&["logs", "-f", "p"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let _bytes = BufReader::new(follow.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "started\n");
    follow.kill().unwrap();
    let _ended = follow.wait().unwrap();
    let refused = run(&mut kubectl(&["get", "pod", "absent"]));
    assert_eq!(refused.stderr, "Error from server (NotFound): pods \"absent\" not found\n");
}

/// The agents' pods, and how often their containers were started again.
fn agents() -> String {
    let columns = "custom-columns=N:.metadata.name,R:.status.containerStatuses[0].restartCount";
    ok(&mut up().kubectl(Way::Direct, &["-n", "hawser-system", "get", "pods", "-o", columns]))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Http1,
    Http2,
}

/// How the first cluster's API server was started, so that it can be started again; dropped, it is as it was.
struct ApiServer {
    args: Vec<String>,
    environment: HashMap<String, String>,
    log: File,
}

impl ApiServer {
    fn running() -> Self {
        let pid = Self::pid().unwrap();
        let words = |file: &str| {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
            let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
            words.map(|word| String::from_utf8(word.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        let pair =
            |text: String| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let log = std::fs::read_link(format!("/proc/{pid}/fd/1")).unwrap();
        Self {
            args: words("cmdline"),
            environment: words("environ").into_iter().filter_map(pair).collect(),
            log: File::options().append(true).open(log).unwrap(),
        }
    }

    fn pid() -> Option<u32> {
        let pids = run(Command::new("ip").args(["netns", "pids", &up().cluster().netns])).stdout;
        pids.lines().filter_map(|pid| pid.trim().parse().ok()).find(|pid| {
            let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let program = cmdline.split(|byte| *byte == 0).next().unwrap_or_default();
            program.ends_with(b"/kube-apiserver")
        })
    }

    fn restart(&self, speaks: Speaks) {
        let pid = Self::pid().unwrap();
        let _sent = ok(Command::new("kill").arg(pid.to_string()));
        until("the API server has ended", Duration::from_secs(90), || Self::pid().is_none());
        let mut server = Command::new("nsenter");
        server.arg(format!("--net=/run/netns/{}", up().cluster().netns)).arg("--").args(&self.args);
        if speaks == Speaks::Http1 {
            server.arg("--disable-http2-serving");
        }
        server.env_clear().envs(&self.environment).process_group(0).stdin(Stdio::null());
        server.stdout(self.log.try_clone().unwrap()).stderr(self.log.try_clone().unwrap());
        let mut server = server.spawn().unwrap();
        // Outlives this test; until then somebody must take note of its end.
        thread::spawn(move || server.wait().is_ok());
        let ready = ["get", "--raw", "/readyz"];
        until("the API server is ready", Duration::from_secs(90), || {
            run(&mut up().kubectl(Way::Direct, &ready)).code == 0
        });
        assert_eq!(spoken(API_SERVER), if speaks == Speaks::Http1 { "1.1" } else { "2" });
        // An API server takes itself out of its Service as it ends; kube-proxy has to learn that it is there again.
        until("the Service leads to the API server", Duration::from_secs(120), || {
            spoken(SERVICE) == spoken(API_SERVER)
        });
        agents_are_whole();
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        if Self::pid().is_none() || spoken(API_SERVER) != "2" {
            self.restart(Speaks::Http2);
        }
    }
}

/// The version of HTTP that is chosen at `address` where both are offered.
fn spoken(address: &str) -> String {
    let mut curl = Command::new("nsenter");
    curl.arg(format!("--net=/run/netns/{}", up().cluster().netns))
        .args(["curl", "-sk", "--http2", "-m", "3"]);
    curl.args(["-o", "/dev/null", "-w", "%{http_version}"]);
    run(curl.arg(format!("https://{address}/readyz"))).stdout
}

/// The first cluster's API server, inside its namespace.
const API_SERVER: &str = "127.0.0.1:6443";
/// Where its agents find it.
const SERVICE: &str = "10.96.0.1:443";
