//! What the end-to-end tests share: the running `up` (real cluster, edge, agent), kubectl through Hawser and kubectl
//! directly, and pods to work on.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on fails here"
)]

mod access;
mod audit;
mod connect_proxy;
mod curl;
mod watch;

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

pub use access::{Person, Policy, allow};
pub use audit::AuditLog;
pub use connect_proxy::ConnectProxy;
pub use curl::Curl;
use serde::Deserialize;
pub use watch::Watch;

pub mod metrics;
pub mod same;

/// The last line of `cargo xtask up --json`.
#[derive(Deserialize)]
pub struct Up {
    /// The newest kubectl.
    pub kubectl: PathBuf,
    /// Helm 3.
    pub helm: PathBuf,
    /// Of an ordinary user, through the edge.
    pub kubeconfig: PathBuf,
    /// Of an administrator, through the edge.
    pub admin_kubeconfig: PathBuf,
    /// The edge.
    pub edge: Edge,
    /// The clusters.
    pub clusters: Vec<Cluster>,
    /// Lines to paste into a shell.
    pub exports: Vec<String>,
}

/// The running edge.
#[derive(Deserialize)]
pub struct Edge {
    /// Where it is.
    pub url: String,
    /// `host:port`.
    pub address: String,
    /// Its process.
    pub pid: u32,
    /// Its data.
    pub data_dir: PathBuf,
    /// URL of its metrics.
    pub metrics: String,
}

/// A running cluster.
#[derive(Deserialize)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Network namespace it lives in.
    pub netns: String,
    /// cluster-admin, valid inside the namespace.
    pub direct_kubeconfig: PathBuf,
    /// An image with busybox and curl.
    pub image: String,
}

/// Which way a command goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Straight to the API server, inside the cluster's network namespace.
    Direct,
    /// Through edge and agent, as an administrator.
    Hawser,
}

/// What a command left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code; -1 for a signal.
    pub code: i32,
}

/// The running `up`.
#[must_use]
pub fn up() -> &'static Up {
    static UP: OnceLock<Up> = OnceLock::new();
    UP.get_or_init(|| {
        #[expect(clippy::disallowed_methods, reason = "the tests' composition root")]
        let path = std::env::var("HAWSER_E2E").unwrap_or_else(|_| {
            panic!("HAWSER_E2E must name the file with the output of `cargo xtask up --json`; run `cargo xtask test`")
        });
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    })
}

impl Up {
    /// The first cluster.
    #[must_use]
    pub fn cluster(&self) -> &'static Cluster {
        &up().clusters[0]
    }

    /// A kubectl command, one way or the other.
    #[must_use]
    pub fn kubectl(&self, way: Way, args: &[&str]) -> Command {
        match way {
            Way::Hawser => self.kubectl_as(&self.admin_kubeconfig, args),
            Way::Direct => self.direct(self.cluster(), args),
        }
    }

    /// kubectl straight to the API server of one cluster.
    #[must_use]
    pub fn direct(&self, cluster: &Cluster, args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", cluster.netns)).arg(&self.kubectl);
        command.arg("--kubeconfig").arg(&cluster.direct_kubeconfig).args(args);
        command
    }

    /// kubectl with a kubeconfig.
    #[must_use]
    pub fn kubectl_as(&self, kubeconfig: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(kubeconfig).args(args);
        command
    }

    /// The edge's process: another one after a test restarted it.
    #[must_use]
    pub fn edge_pid(&self) -> u32 {
        let settings = std::fs::read(self.edge.data_dir.join("edge.json")).unwrap();
        let settings: serde_json::Value = serde_json::from_slice(&settings).unwrap();
        u32::try_from(settings["pid"].as_u64().unwrap()).unwrap()
    }

    /// A `hawser` command on the edge's data.
    #[must_use]
    pub fn hawser(&self, args: &[&str]) -> Command {
        let mut program = None;
        until("an edge runs", Duration::from_secs(20), || {
            program = std::fs::read_link(format!("/proc/{}/exe", self.edge_pid())).ok();
            program.is_some()
        });
        let mut command = Command::new(program.unwrap());
        command.args(args).arg("--data-dir").arg(&self.edge.data_dir);
        command
    }
}

/// A program beside those of `up`, made on first use by `cargo xtask program NAME`.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    PathBuf::from(
        ok(Command::new("cargo").current_dir(repository).args(["xtask", "program", name])).trim_end(),
    )
}

/// Runs a command to its end.
#[must_use]
pub fn run(command: &mut Command) -> Ran {
    ran(&command.stdin(Stdio::null()).output().unwrap())
}

/// Runs a command with something on standard input.
#[must_use]
pub fn run_with(command: &mut Command, input: &[u8]) -> Ran {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A command may end before it has read everything.
    let feeder = thread::spawn(move || stdin.write_all(&input).is_ok());
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    ran(&output)
}

/// Runs a command that must succeed; gives its standard output.
#[must_use]
pub fn ok(command: &mut Command) -> String {
    let ran = run(command);
    assert_eq!(ran.code, 0, "{command:?}\n{}{}", ran.stdout, ran.stderr);
    ran.stdout
}

/// As [`ok`], with standard input.
#[must_use]
pub fn ok_with(command: &mut Command, input: &str) -> String {
    let ran = run_with(command, input.as_bytes());
    assert_eq!(ran.code, 0, "{command:?}\n{}{}", ran.stdout, ran.stderr);
    ran.stdout
}

fn ran(output: &Output) -> Ran {
    Ran {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code().unwrap_or(-1),
    }
}

/// Tries again until it is so, or fails after `limit`.
pub fn until(what: &str, limit: Duration, mut so: impl FnMut() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "tests live in real time")]
    let deadline = Instant::now() + limit;
    while !so() {
        #[expect(clippy::disallowed_methods, reason = "tests live in real time")]
        let now = Instant::now();
        assert!(now < deadline, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// How much of something a test does: `full` where everything runs at full length (`cargo xtask test --full`).
#[must_use]
pub fn sized(plain: usize, full: usize) -> usize {
    #[expect(clippy::disallowed_methods, reason = "the tests' composition root")]
    let tier = std::env::var("HAWSER_TIER");
    if tier.is_ok_and(|tier| tier == "full") { full } else { plain }
}

/// SIGKILL for the agent in this pod (`pod/NAME`), which has no moment to say goodbye. Another pod takes its place: a
/// container that fails again and again is started later and later.
pub fn kill_agent(pod: &str) {
    let replica = format!("HAWSER_REPLICA={}\0", pod.trim_start_matches("pod/"));
    let is_it = |id: &u32| {
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.windows(replica.len()).any(|part| part == replica.as_bytes())
    };
    let id = agent_processes().into_iter().find(is_it).unwrap_or_else(|| panic!("no process of {pod}"));
    let _killed = ok(Command::new("kill").args(["-KILL", &id.to_string()]));
    let gone = ["-n", "hawser-system", "delete", pod, "--grace-period=0", "--force", "--wait=false"];
    let _gone = run(&mut up().kubectl(Way::Direct, &gone));
}

/// Every agent that runs on this machine.
#[must_use]
pub fn agent_processes() -> Vec<u32> {
    let ids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_agent = |id: &u32| {
        std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.starts_with(b"/hawser\0agent\0"))
    };
    ids.filter(is_agent).collect()
}

/// The pods of the first cluster's agents, `pod/NAME`.
#[must_use]
pub fn agents() -> Vec<String> {
    let names = ok(&mut up().kubectl(Way::Direct, &["-n", "hawser-system", "get", "pods", "-o", "name"]));
    names.lines().map(str::to_owned).collect()
}

/// Waits until both agents of the first cluster serve on both of their links, and the edge knows of those that were
/// killed before that they are gone.
pub fn agents_are_whole() {
    until("two agents are connected, and no others", Duration::from_secs(90), || {
        let linked = links_of_agents();
        let mut pods = agents();
        pods.sort();
        pods.len() == 2
            && linked.values().all(|links| *links >= 2)
            && linked.into_keys().map(|name| format!("pod/{name}")).eq(pods)
    });
}

/// How many links each agent of the first cluster has, by its name.
#[must_use]
pub fn links_of_agents() -> BTreeMap<String, u64> {
    let status = run(&mut up().hawser(&["status", "--output", "json"])).stdout;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_default();
    let clusters = status["clusters"].as_array().cloned().unwrap_or_default();
    let first = clusters.iter().find(|cluster| cluster["name"] == up().cluster().name.as_str());
    let replicas = first.and_then(|cluster| cluster["replicas"].as_array()).cloned().unwrap_or_default();
    let links = |replica: &serde_json::Value| {
        Some((replica["name"].as_str()?.to_owned(), replica["links"].as_u64()?))
    };
    replicas.iter().filter_map(links).collect()
}

/// A namespace of the test's own with a running pod `p`, removed when dropped.
pub struct Sandbox {
    /// Its name.
    pub namespace: String,
}

impl Sandbox {
    /// Makes it; `name` must be of one test only.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let up = up();
        let namespace = format!("t-{name}");
        let _gone =
            run(&mut up.kubectl(Way::Direct, &["delete", "namespace", &namespace, "--ignore-not-found"]));
        let _made = ok(&mut up.kubectl(Way::Direct, &["create", "namespace", &namespace]));
        let sandbox = Self { namespace };
        let _made = ok_with(&mut up.kubectl(Way::Direct, &["apply", "-f", "-"]), &sandbox.pod("p"));
        let namespace = sandbox.namespace.as_str();
        until("default service account", Duration::from_secs(120), || {
            run(&mut up.kubectl(Way::Direct, &["-n", namespace, "get", "serviceaccount", "default"])).code
                == 0
        });
        let ready = ["-n", namespace, "wait", "pod/p", "--for=condition=Ready", "--timeout=120s"];
        let _ready = ok(&mut up.kubectl(Way::Direct, &ready));
        sandbox
    }

    /// A pod that sleeps.
    #[must_use]
    pub fn pod(&self, name: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {}, labels: {{app: {name}}}}}\nspec:\n  \
             terminationGracePeriodSeconds: 0\n  containers:\n  - {{name: c, image: \"{}\", imagePullPolicy: Never, \
             command: [sh, -c, \"echo started; exec sleep 100000\"]}}\n",
            self.namespace,
            up().cluster().image
        )
    }

    /// kubectl in this namespace.
    #[must_use]
    pub fn kubectl(&self, way: Way, args: &[&str]) -> Command {
        let mut all = vec!["-n", self.namespace.as_str()];
        all.extend(args);
        up().kubectl(way, &all)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let args = ["delete", "namespace", &self.namespace, "--wait=false"];
        let _gone = run(&mut up().kubectl(Way::Direct, &args));
    }
}
