//! The subject: an edge as `hawser up` starts it and an agent as the import manifest starts it, with a fleet's policies
//! in the store and the audit log on. Nothing here is tuned.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Chain, HAWSER, Ports, Proxy, background, local};
use crate::bench::policies::{self, GROUP, USER};
use crate::command::{feed, output, run, tool};
use crate::state::State;

/// Starts edge and agent, and waits until the cluster is connected.
pub(super) fn start(state: &State, program: &Path, fixture: &Path, ports: &Ports) -> Result<Chain> {
    let data_dir = state.dir.join("edge");
    let command = |words: &[&str]| {
        let mut command: Command = tool(program);
        command.args(words).arg("--data-dir").arg(&data_dir);
        command
    };
    let flags = [
        "up".to_owned(),
        format!("--data-dir={}", data_dir.display()),
        format!("--listen={}", local(ports.edge)),
        "--advertise=127.0.0.1".to_owned(),
        format!("--health={}", local(ports.edge_health)),
    ];
    let edge = background(state, EDGE, program, &flags, ports.edge)?;
    let manifest = output(&mut command(&["import", CLUSTER]))?;
    let token = join_token(&manifest).context("no join token in the import manifest")?;
    let join_token = fixture.join("join-token");
    fs::write(&join_token, token)?;
    for objects in policies::fleet(CLUSTER)? {
        feed(&mut command(&["apply", "--filename", "-"]), objects.as_bytes())?;
    }
    let flags = [
        "agent".to_owned(),
        format!("--cluster={CLUSTER}"),
        "--replica=bench-1".to_owned(),
        format!("--join-token={}", join_token.display()),
        format!("--identity-token={}/identity-token", fixture.display()),
        "--apiserver-host=127.0.0.1".to_owned(),
        format!("--apiserver-port={}", ports.backend),
        format!("--service-account={}/service-account", fixture.display()),
        format!("--health={}", local(ports.agent_health)),
    ];
    let agent = background(state, AGENT, program, &flags, ports.agent_health)?;
    run(&mut command(&["status", CLUSTER, "--wait", CONNECTED_WITHIN]))?;
    let kubeconfig = fixture.join(format!("{HAWSER}.kubeconfig"));
    run(command(&["kubeconfig", USER, "--group", GROUP]).arg("--output").arg(&kubeconfig))?;
    let proxies = vec![Proxy { name: EDGE, pid: edge }, Proxy { name: AGENT, pid: agent }];
    Ok(Chain { name: HAWSER, kubeconfig, proxies })
}

fn join_token(manifest: &str) -> Option<&str> {
    let from = manifest.find("hwj1.")?;
    manifest[from..].split(['"', '\n', ' ']).next()
}

const CLUSTER: &str = "bench";
const EDGE: &str = "hawser-edge";
const AGENT: &str = "hawser-agent";
const CONNECTED_WITHIN: &str = "30s";
