//! Hawser's own part of `up`: build it, run the edge outside the clusters, bring each cluster in by
//! its import manifest, and make kubeconfigs for two people. Every `hawser` command line that the
//! developer commands use is in this file.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cluster::{self, Cluster};
use crate::command::{feed, output, run, shown, tool};
use crate::golang::Kube;
use crate::interrupt::wait_until;
use crate::process::{self, Mark};
use crate::progress::{note, step};
use crate::state::{State, hex, repository};

/// Owner of the edge's process in its mark.
pub(crate) const OWNER: &str = "edge";

/// What `up --json` says about the edge.
#[derive(Serialize)]
pub(crate) struct Edge {
    url: String,
    address: String,
    pid: u32,
    data_dir: PathBuf,
    metrics: String,
}

impl Edge {
    /// Its store, keys and audit log.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }
}

/// A running edge and the ways into it.
pub(crate) struct Access {
    pub(crate) edge: Edge,
    /// The program that the edge runs, for `status` and the like.
    pub(crate) program: PathBuf,
    /// Of an ordinary user.
    pub(crate) kubeconfig: PathBuf,
    /// Of a user who may do everything.
    pub(crate) admin_kubeconfig: PathBuf,
}

/// Builds one static program: it is the agent's whole image, and runs on any distribution.
pub(crate) fn build() -> Result<PathBuf> {
    let host = output(tool("rustc").arg("-vV"))?;
    let target =
        host.lines().find_map(|line| line.strip_prefix("host: ")).context("`rustc -vV` names no host")?;
    let folder = repository().join("target/static");
    let program = folder.join(target).join("release/hawser");
    if !program.exists() {
        note("building hawser, optimized and static: 4 to 8 minutes on 2 cores, the first time");
    }
    step("build hawser", || {
        shown(
            tool(cargo())
                .current_dir(repository())
                .args([
                    "build",
                    "--quiet",
                    "--release",
                    "--package",
                    "hawser",
                    "--target",
                    target,
                    "--target-dir",
                ])
                .arg(&folder)
                .env("RUSTFLAGS", "-C target-feature=+crt-static"),
        )
    })?;
    Ok(program)
}

/// Starts the edge, brings the clusters in, and waits until each is connected.
pub(crate) fn start(state: &State, kube: &Kube, clusters: &[Cluster], built: &Path) -> Result<Access> {
    let version = hex(&Sha256::digest(fs::read(built)?))[..12].to_owned();
    let hawser = Hawser { program: state.dir.join("bin/hawser"), data_dir: state.dir.join("edge") };
    let edge = step("edge", || hawser.run_edge(state, clusters, built, &version))?;
    for cluster in clusters {
        step(format!("{}: import", cluster.name), || hawser.import(state, kube, cluster, &version))?;
    }
    step("clusters connected", || hawser.wait_connected(kube, clusters))?;
    let (kubeconfig, admin_kubeconfig) = step("policies and kubeconfigs", || hawser.people(state, clusters))?;
    Ok(Access { edge, program: hawser.program, kubeconfig, admin_kubeconfig })
}

/// The edge's program and data: what every command needs.
struct Hawser {
    program: PathBuf,
    data_dir: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Ports {
    clients_and_agents: u16,
    health: u16,
}

impl Hawser {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = tool(&self.program);
        command.args(words).arg("--data-dir").arg(&self.data_dir);
        command
    }

    /// Leaves a running edge as it is, unless it runs another build.
    fn run_edge(&self, state: &State, clusters: &[Cluster], built: &Path, version: &str) -> Result<Edge> {
        let advertised = clusters.first().context("no cluster")?.host_address()?;
        let ports = ports(&state.dir.join("edge-ports.json"))?;
        let mark = Mark { state: state.id.clone(), owner: OWNER.to_owned(), name: "hawser" };
        let marker = state.dir.join("edge-version");
        if fs::read_to_string(&marker).ok().as_deref() != Some(version) {
            process::end(EDGE_ENDS_WITHIN, || process::of_owner(&state.id, OWNER))?;
            install(built, &self.program)?;
            fs::write(&marker, version)?;
        }
        let flags = [
            "up".to_owned(),
            format!("--data-dir={}", self.data_dir.display()),
            format!("--listen=[::]:{}", ports.clients_and_agents),
            format!("--advertise={advertised}"),
            format!("--health=127.0.0.1:{}", ports.health),
        ];
        let log = state.dir.join("edge.log");
        let (pid, _) = process::ensure(&mark, None, &self.program, &flags, &log)?;
        wait_until("edge ready", EDGE_READY_WITHIN, || {
            process::check_alive(pid, "the edge", &log)?;
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, ports.clients_and_agents)).is_ok())
        })?;
        let address = SocketAddr::from((advertised, ports.clients_and_agents)).to_string();
        Ok(Edge {
            url: format!("https://{address}"),
            address,
            pid,
            data_dir: self.data_dir.clone(),
            metrics: format!("http://127.0.0.1:{}/metrics", ports.health),
        })
    }

    /// Loads the agent's image and applies the import manifest, as the owner of a cluster would.
    fn import(&self, state: &State, kube: &Kube, cluster: &Cluster, version: &str) -> Result<()> {
        let marker = cluster.dir.join("agent-version");
        if fs::read_to_string(&marker).ok().as_deref() == Some(version) {
            return Ok(());
        }
        let image = format!("localhost/hawser:{version}");
        let archive = state.dir.join("agent-image.tar");
        let mut write = tool(&self.program);
        run(write.args(["agent-image", "--tag", &image, "--output"]).arg(&archive))?;
        cluster::import_image(cluster, &archive)?;
        fs::remove_file(&archive)?;
        let manifest = output(&mut self.command(&[
            "import",
            &cluster.name,
            "--image",
            &image,
            "--grant",
            "cluster-admin",
        ]))?;
        feed(cluster.kubectl(kube).args(["apply", "-f", "-"]), manifest.as_bytes())?;
        Ok(fs::write(marker, version)?)
    }

    fn wait_connected(&self, kube: &Kube, clusters: &[Cluster]) -> Result<()> {
        let mut wait = self.command(&["status", "--wait", CONNECTED_WITHIN]);
        let Err(error) = run(wait.args(clusters.iter().map(|cluster| &cluster.name))) else { return Ok(()) };
        let mut seen = String::new();
        for cluster in clusters {
            let pods =
                output(cluster.kubectl(kube).args(["get", "pods", "-n", AGENT_NAMESPACE, "-o", "wide"]));
            let logs = output(cluster.kubectl(kube).args([
                "logs",
                "-n",
                AGENT_NAMESPACE,
                "-l",
                "app=hawser-agent",
                "--tail=15",
            ]));
            for answer in [pods, logs] {
                seen.push_str(&answer.unwrap_or_else(|error| format!("{error:#}\n")));
            }
        }
        bail!("{error:#}\nin the clusters:\n{seen}")
    }

    /// Policies for two groups, and a kubeconfig for a member of each.
    fn people(&self, state: &State, clusters: &[Cluster]) -> Result<(PathBuf, PathBuf)> {
        let policies = state.dir.join("policies.yaml");
        fs::write(&policies, POLICIES)?;
        run(self.command(&["apply"]).arg("--filename").arg(&policies))?;
        let (user, admin) = (state.dir.join("alice.kubeconfig"), state.dir.join("admin.kubeconfig"));
        let names: Vec<&str> = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        let marker = state.dir.join("kubeconfig-clusters");
        if fs::read_to_string(&marker).ok().as_deref() == Some(&names.join(" ")) {
            return Ok((user, admin));
        }
        for (person, group, file) in [(USER, "developers", &user), (ADMIN, "administrators", &admin)] {
            run(self
                .command(&["kubeconfig", person, "--group", group, "--local"])
                .arg("--output")
                .arg(file))?;
        }
        fs::write(marker, names.join(" "))?;
        Ok((user, admin))
    }
}

/// The cargo that runs us.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// What cargo knows of the workspace.
pub(crate) fn metadata() -> Result<serde_json::Value> {
    let args = ["metadata", "--no-deps", "--offline", "--format-version=1"];
    Ok(serde_json::from_str(&output(tool(cargo()).current_dir(repository()).args(args))?)?)
}

/// A copy, so that a running edge does not lose its program to the next build.
fn install(built: &Path, program: &Path) -> Result<()> {
    fs::create_dir_all(program.parent().unwrap_or_else(|| Path::new("/")))?;
    let fresh = program.with_extension("fresh");
    fs::copy(built, &fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    Ok(fs::rename(fresh, program)?)
}

/// The ports of this state folder, chosen once: kubeconfigs and import manifests hold them.
fn ports(file: &Path) -> Result<Ports> {
    if let Ok(text) = fs::read(file) {
        return serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()));
    }
    let free =
        |port: &u16| TcpListener::bind(("::", *port)).is_ok() && UdpSocket::bind(("::", *port)).is_ok();
    let mut found = (PORT_FIRST..PORT_FIRST + PORTS_TRIED).filter(free);
    let (Some(clients_and_agents), Some(health)) = (found.next(), found.next()) else {
        bail!("no two free ports from {PORT_FIRST} on");
    };
    let ports = Ports { clients_and_agents, health };
    fs::write(file, serde_json::to_vec(&ports)?)?;
    Ok(ports)
}

const USER: &str = "alice@example.com";
const ADMIN: &str = "root@example.com";
/// Where the import manifest puts the agent.
const AGENT_NAMESPACE: &str = "hawser-system";
const EDGE_ENDS_WITHIN: Duration = Duration::from_secs(10);
const EDGE_READY_WITHIN: Duration = Duration::from_secs(30);
const CONNECTED_WITHIN: &str = "90s";
const PORT_FIRST: u16 = 8443;
const PORTS_TRIED: u16 = 200;

/// Two groups of people on all clusters. `shell` is a role of its own: nothing else has exec.
const POLICIES: &str = "\
apiVersion: access.hawser.dev/v1
kind: AccessPolicy
metadata: {name: developers, namespace: hawser-system}
spec: {subjects: {groups: [developers]}, clusters: {selector: {}}, roles: [edit, shell]}
---
apiVersion: access.hawser.dev/v1
kind: AccessPolicy
metadata: {name: administrators, namespace: hawser-system}
spec: {subjects: {groups: [administrators]}, clusters: {selector: {}}, roles: [cluster-admin, shell]}
";
