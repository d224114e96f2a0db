//! The systems under test, ready to be asked: a backend, and in front of it nothing, two haproxies, or edge and agent.
//! All of them are background processes of one state folder, found and ended by their mark.

mod haproxy;
mod hawser;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::{output, run, shown, tool};
use crate::hawser::cargo;
use crate::interrupt::wait_until;
use crate::process::{self, Mark};
use crate::progress::{note, step};
use crate::state::{State, repository};

pub(crate) use haproxy::ensure as ensure_haproxy;

/// The backend alone.
pub(crate) const DIRECT: &str = "direct";
/// haproxy in front of haproxy.
pub(crate) const HAPROXY: &str = "haproxy";
/// Edge and agent.
pub(crate) const HAWSER: &str = "hawser";

/// A way to the backend.
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    /// Whom to ask and how.
    pub(crate) kubeconfig: PathBuf,
    /// What stands between, the nearest to the client first.
    pub(crate) proxies: Vec<Proxy>,
}

/// One process whose CPU time counts.
pub(crate) struct Proxy {
    pub(crate) name: &'static str,
    pub(crate) pid: u32,
}

/// What is measured, and what measures.
pub(crate) struct Programs {
    pub(crate) hawser: PathBuf,
    pub(crate) bench: PathBuf,
}

/// Builds both as they are shipped: the profile `dist`, static.
pub(crate) fn build() -> Result<Programs> {
    let host = output(tool("rustc").arg("-vV"))?;
    let target =
        host.lines().find_map(|line| line.strip_prefix("host: ")).context("`rustc -vV` names no host")?;
    let folder = repository().join("target/static");
    let built = folder.join(target).join("dist");
    if !built.join("hawser").exists() {
        note("building with the profile `dist`: 5 to 10 minutes on 2 cores, the first time");
    }
    let flags = ["--quiet", "--profile", "dist", "--package", "hawser", "--package", "hawser-bench"];
    step("build hawser and hawser-bench", || {
        let mut command = tool(cargo());
        command.current_dir(repository()).arg("build").args(flags).args(["--target", target]);
        command.arg("--target-dir").arg(&folder).env("RUSTFLAGS", "-C target-feature=+crt-static");
        shown(&mut command)
    })?;
    Ok(Programs { hawser: built.join("hawser"), bench: built.join("hawser-bench") })
}

/// Starts all chains, in the order in which they are measured.
pub(crate) fn start(state: &State, programs: &Programs) -> Result<Vec<Chain>> {
    state.create()?;
    let ports = Ports::free()?;
    let fixture = state.dir.join("fixture");
    step("keys, tokens, kubeconfigs", || {
        let mut command = tool(&programs.bench);
        command.arg("fixture").arg("--dir").arg(&fixture);
        command.arg(format!("--server={DIRECT}={}", ports.backend));
        command.arg(format!("--server={HAPROXY}={}", ports.haproxy_near));
        run(&mut command)
    })?;
    step("backend", || {
        let flags = [
            "backend".to_owned(),
            format!("--dir={}", fixture.display()),
            format!("--listen={}", local(ports.backend)),
        ];
        background(state, "backend", &programs.bench, &flags, ports.backend).map(drop)
    })?;
    let haproxy = step("haproxy → haproxy", || haproxy::start(state, &fixture, &ports))?;
    let hawser = step("edge and agent", || hawser::start(state, &programs.hawser, &fixture, &ports))?;
    let kubeconfig = fixture.join(format!("{DIRECT}.kubeconfig"));
    Ok(vec![Chain { name: DIRECT, kubeconfig, proxies: Vec::new() }, haproxy, hawser])
}

/// The folder of the benchmark: one per user, since two runs at a time would measure each other.
pub(crate) fn state() -> Result<State> {
    State::at(Some(&State::at(None)?.dir.with_file_name("bench")))
}

/// Ends every process of the folder.
pub(crate) fn end(state: &State) -> Result<()> {
    process::end(ENDS_WITHIN, || process::of_state(&state.id))
}

/// Ends what a killed run left behind, and removes the folder.
pub(crate) fn clear(state: &State) -> Result<()> {
    end(state)?;
    if state.exists() {
        fs::remove_dir_all(&state.dir).with_context(|| format!("cannot remove {}", state.dir.display()))?;
    }
    Ok(())
}

/// Where everything listens, on 127.0.0.1.
struct Ports {
    backend: u16,
    haproxy_near: u16,
    haproxy_far: u16,
    edge: u16,
    edge_health: u16,
    agent_health: u16,
}

impl Ports {
    /// Free for TCP and UDP at this moment.
    fn free() -> Result<Self> {
        let mut held = Vec::new();
        let mut next = || -> Result<u16> {
            loop {
                let tcp = TcpListener::bind(local(0))?;
                let port = tcp.local_addr()?.port();
                if let Ok(udp) = UdpSocket::bind(local(port)) {
                    held.push((tcp, udp));
                    return Ok(port);
                }
            }
        };
        Ok(Self {
            backend: next()?,
            haproxy_near: next()?,
            haproxy_far: next()?,
            edge: next()?,
            edge_health: next()?,
            agent_health: next()?,
        })
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Starts a process and waits until it listens; its process id.
fn background(state: &State, name: &'static str, program: &Path, flags: &[String], port: u16) -> Result<u32> {
    let mark = Mark { state: state.id.clone(), owner: "bench".to_owned(), name };
    let log = state.dir.join(format!("{name}.log"));
    let (pid, _) = process::ensure(&mark, None, program, flags, &log)?;
    wait_until(&format!("{name} ready"), READY_WITHIN, || {
        process::check_alive(pid, name, &log)?;
        Ok(TcpStream::connect(local(port)).is_ok())
    })?;
    Ok(pid)
}

const READY_WITHIN: Duration = Duration::from_secs(20);
/// Before SIGKILL. There is nothing to be saved.
const ENDS_WITHIN: Duration = Duration::from_secs(2);
