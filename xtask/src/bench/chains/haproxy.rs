//! The peer: two haproxies in a row, as one would set them up for this: HTTP/2 and TLS on every hop, connections to the
//! next hop shared and kept, a thread per core, no log.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use super::{Chain, HAPROXY, Ports, Proxy, background};
use crate::bench::machine::cores;
use crate::command::{run, succeeds, tool, which};
use crate::packages::is_root;
use crate::progress::step;
use crate::state::State;

/// Makes sure that haproxy is there.
///
/// # Errors
/// It is not, and cannot be installed.
pub(crate) fn ensure() -> Result<()> {
    if which(HAPROXY).is_some() {
        return Ok(());
    }
    if !is_root() || which("apt-get").is_none() {
        bail!("haproxy is missing: `apt-get install haproxy` as root, or run this as root");
    }
    step("Debian package: haproxy", || {
        let apt = |words: &[&str]| run(tool("apt-get").args(words).env("DEBIAN_FRONTEND", "noninteractive"));
        apt(&["update", "-qq"])?;
        apt(&["install", "-y", "-qq", "--no-install-recommends", HAPROXY])?;
        // The package starts a service, which nobody asked for. Without systemd there is none.
        succeeds(tool("systemctl").args(["disable", "--now", HAPROXY]));
        Ok(())
    })
}

/// Starts the chain from its far end.
pub(super) fn start(state: &State, fixture: &Path, ports: &Ports) -> Result<Chain> {
    let far = hop(state, fixture, FAR, ports.haproxy_far, ports.backend)?;
    let near = hop(state, fixture, NEAR, ports.haproxy_near, ports.haproxy_far)?;
    let kubeconfig = fixture.join(format!("{HAPROXY}.kubeconfig"));
    Ok(Chain { name: HAPROXY, kubeconfig, proxies: vec![near, far] })
}

fn hop(state: &State, fixture: &Path, name: &'static str, port: u16, next: u16) -> Result<Proxy> {
    let file = state.dir.join(format!("{name}.cfg"));
    fs::write(&file, configuration(fixture, port, next))?;
    let Some(program) = which(HAPROXY) else { bail!("haproxy is missing") };
    let flags = ["-db".to_owned(), "-f".to_owned(), file.display().to_string()];
    Ok(Proxy { name, pid: background(state, name, &program, &flags, port)? })
}

fn configuration(fixture: &Path, port: u16, next: u16) -> String {
    let (fixture, threads) = (fixture.display(), cores());
    format!(
        "global
    nbthread {threads}
    maxconn 4096
    tune.bufsize {BUFFER_BYTES}
    tune.h2.initial-window-size {STREAM_WINDOW}
    ssl-default-bind-options ssl-min-ver TLSv1.3
    ssl-default-server-options ssl-min-ver TLSv1.3

defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always

frontend clients
    bind 127.0.0.1:{port} ssl crt {fixture}/server.pem ca-file {fixture}/ca.crt verify optional alpn h2
    default_backend next

backend next
    server next 127.0.0.1:{next} ssl ca-file {fixture}/ca.crt verify required verifyhost localhost alpn h2
"
    )
}

const NEAR: &str = "haproxy-near";
const FAR: &str = "haproxy-far";
/// Four times the default: bulk at 0.6 of the CPU time, small requests at the same.
const BUFFER_BYTES: u32 = 64 << 10;
/// Sixteen times the default; still larger ones gain nothing.
const STREAM_WINDOW: u32 = 1 << 20;
