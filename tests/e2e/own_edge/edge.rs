//! An edge of the test's own: its process, its folder, and one person who may do everything in cluster `demo`.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use hawser_tests::{Ran, ok, run, run_with, until, up};
use tempfile::TempDir;

/// A running edge; killed when dropped.
pub(crate) struct Edge {
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
    pub(crate) health: u16,
    process: Child,
}

impl Edge {
    /// Starts one with this configuration, beside the addresses.
    pub(crate) fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, health) = (free_port(), free_port());
        fs::write(folder.path().join("edge.yaml"), file(config, port, health)).unwrap();
        prepare(folder.path());
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = hawser(&["edge", "--config"]);
        command.arg(folder.path().join("edge.yaml")).arg("--data-dir").arg(folder.path().join("data"));
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let edge = Self { folder, port, health, process };
        edge.logs("edge up");
        edge.counts("connections 0");
        edge
    }

    /// Replaces the configuration file.
    pub(crate) fn configure(&self, config: &str) {
        fs::write(self.folder.path().join("edge.yaml"), file(config, self.port, self.health)).unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let _sent = ok(Command::new("kill").args([name, &self.process.id().to_string()]));
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self, within: Duration) -> ExitStatus {
        let mut status = None;
        until("the edge ends", within, || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Waits until it has logged this.
    pub(crate) fn logs(&self, text: &str) {
        let found = || self.log().contains(text);
        until(&format!("{text:?} in the log"), Duration::from_secs(20), found);
    }

    /// How often it has logged this.
    pub(crate) fn logged(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// SIGHUP, until the file was read and the keys too.
    pub(crate) fn reload(&self) {
        let read = |log: &str| {
            let of = |texts: [&str; 2]| texts.iter().map(|text| log.matches(text).count()).sum::<usize>();
            (of(["configuration read", "configuration refused"]), of(["keys read", "keys refused"]))
        };
        let before = read(&self.log());
        self.signal("-HUP");
        until("the edge has read its files again", Duration::from_secs(10), || {
            let now = read(&self.log());
            now.0 > before.0 && now.1 > before.1
        });
    }

    /// Waits until the metrics have this line, without its prefix.
    pub(crate) fn counts(&self, line: &str) {
        let line = format!("hawser_edge_{line}");
        until(&format!("{line:?} in the metrics"), Duration::from_secs(10), || {
            self.metrics().lines().any(|counted| counted == line)
        });
    }

    /// All its metrics.
    pub(crate) fn metrics(&self) -> String {
        let url = format!("http://127.0.0.1:{}/metrics", self.health);
        run(Command::new("curl").args(["-s", &url])).stdout
    }

    /// Its keys.
    pub(crate) fn keys(&self) -> PathBuf {
        self.folder.path().join("data/keys")
    }

    /// The person's token.
    pub(crate) fn token(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("token.kubeconfig")).unwrap();
        let value = text.lines().find_map(|line| line.trim().strip_prefix("token: ")).unwrap();
        value.trim_matches(['"', '\'']).to_owned()
    }

    /// The person's certificate and key.
    pub(crate) fn certificate(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("certificate.kubeconfig")).unwrap();
        let decoded = ["client-certificate-data: ", "client-key-data: "].map(|key| {
            let value = text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap();
            let ran = run_with(Command::new("base64").arg("-d"), value.trim_matches('"').as_bytes());
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            ran.stdout
        });
        decoded.concat()
    }

    /// curl to the cluster, trusting the serving authority in `ca`; gives the answer and behind it the status code.
    pub(crate) fn curl(&self, ca: &Path, path: &str, more: &[&str]) -> Ran {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20", "-w", "\n%{http_code}", "--cacert"]).arg(ca);
        command.arg("--resolve").arg(format!("{HOST}:{}:127.0.0.1", self.port));
        run(command.args(more).arg(format!("https://{HOST}:{}{path}", self.port)))
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // It may have ended already, which is what was tested.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The program that is tested: `HAWSER_PROGRAM`, or what the running edge runs.
pub(crate) fn hawser(args: &[&str]) -> Command {
    let program = std::env::var_os("HAWSER_PROGRAM");
    let mut command = Command::new(program.unwrap_or_else(|| up().hawser(&[]).get_program().to_owned()));
    command.args(args);
    command
}

fn file(config: &str, port: u16, health: u16) -> String {
    format!("listen: 0.0.0.0:{port}\nhealth: 127.0.0.1:{health}\nadvertise: 127.0.0.1\n{config}")
}

/// What the person needs, in the store before the edge starts.
fn prepare(folder: &Path) {
    let data = folder.join("data");
    let objects = folder.join("objects.yaml");
    fs::write(&objects, OBJECTS).unwrap();
    // The commands ask for the folder of an edge that has run.
    fs::create_dir(&data).unwrap();
    fs::write(data.join("store.db"), "").unwrap();
    fs::write(data.join("edge.json"), r#"{"pid":1,"port":1,"advertise":"127.0.0.1","health":"127.0.0.1:1"}"#)
        .unwrap();
    let on_data = |args: &[&str]| ok(hawser(args).arg("--data-dir").arg(&data));
    let _applied = on_data(&["apply", "--filename", objects.to_str().unwrap()]);
    for (name, flags) in [("token", &["--token"][..]), ("certificate", &[])] {
        let output = folder.join(format!("{name}.kubeconfig"));
        let output = output.to_str().unwrap();
        let _made = on_data(&[&["kubeconfig", "bob@example.com", "--output", output], flags].concat());
    }
}

/// Free for TCP and UDP.
fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
        if UdpSocket::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// The cluster's name in TLS.
pub(crate) const HOST: &str = "demo.hawser.internal";

const OBJECTS: &str = "\
apiVersion: access.hawser.dev/v1
kind: Cluster
metadata: {name: demo}
spec: {}
---
apiVersion: access.hawser.dev/v1
kind: Cluster
metadata: {name: other}
spec: {}
---
apiVersion: access.hawser.dev/v1
kind: AccessPolicy
metadata: {name: everything, namespace: hawser-system}
spec: {subjects: {users: [bob@example.com]}, clusters: {names: [demo]}, roles: [cluster-admin, shell]}
";
