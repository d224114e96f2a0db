//! `hawser status`: the clusters and their connections, as the running edge reports them on its health address.
//!
//! The report is one JSON object; the edge's health listener builds the same type that is read here.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::Context as _;
use hawser_kube::clock::{Clock as _, SystemClock};
use serde::{Deserialize, Serialize};

use crate::{
    cli::{Format, Status},
    data::DataDir,
    output,
};

mod fetch;

/// What an edge says of itself and its clusters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EdgeStatus {
    /// Names the edge in audit events.
    pub(crate) edge_id: String,
    /// Its version.
    pub(crate) version: String,
    /// Address of clients and agents.
    pub(crate) listen: String,
    /// The audit log.
    pub(crate) audit: AuditStatus,
    /// Every cluster of the store, connected or not, in the order of the names.
    pub(crate) clusters: Vec<ClusterStatus>,
}

/// The audit log of an edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AuditStatus {
    /// Events lost since the edge started.
    pub(crate) dropped: u64,
    /// False while requests are refused because the log cannot keep up.
    pub(crate) ready: bool,
}

/// A cluster, as one edge sees it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ClusterStatus {
    /// Its name.
    pub(crate) name: String,
    /// Requests to it can be carried: an agent holds links and reports nothing that stops them all.
    pub(crate) connected: bool,
    /// Version of its API server.
    pub(crate) kubernetes_version: Option<String>,
    /// How many nodes it has.
    pub(crate) nodes: Option<u32>,
    /// Round trip to its nearest replica, in milliseconds.
    pub(crate) rtt_ms: Option<f64>,
    /// The agent's replicas that hold links to this edge.
    pub(crate) replicas: Vec<ReplicaStatus>,
    /// What keeps it from being usable, or will, in plain words.
    pub(crate) problems: Vec<String>,
}

/// One replica of a cluster's agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReplicaStatus {
    /// Name of its pod.
    pub(crate) name: String,
    /// QUIC connections it holds.
    pub(crate) links: usize,
    /// Requests on them at this moment.
    pub(crate) in_flight: usize,
    /// Round trip, in milliseconds.
    pub(crate) rtt_ms: Option<f64>,
    /// Its version.
    pub(crate) agent_version: String,
    /// It takes no new requests.
    pub(crate) draining: bool,
}

/// `hawser status`; exit code 3 while something asked for is not connected, or no edge answers.
pub(crate) async fn run(options: Status) -> anyhow::Result<ExitCode> {
    let folder = &options.data.data_dir;
    let answer = match options.wait {
        None => {
            DataDir::existing(folder)?;
            report(folder, &options.cluster).await
        }
        Some(wait) => wait_for(folder, &options.cluster, wait).await,
    };
    let status = match answer {
        Ok(status) => status,
        Err(error) => {
            output::error(&error);
            return Ok(ExitCode::from(NOT_CONNECTED));
        }
    };
    let missing = missing(&status, &options.cluster);
    match options.output {
        Format::Json => output::line(serde_json::to_string_pretty(&status)?),
        Format::Text => show(&status, &missing),
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NOT_CONNECTED) })
}

/// What the edge says of the clusters asked for (none named: all).
async fn report(folder: &Path, asked: &[String]) -> anyhow::Result<EdgeStatus> {
    let health = DataDir::existing(folder)?.settings()?.health;
    let mut status = fetch::status(health)
        .await
        .with_context(|| format!("no answer from the edge at {health}; is `hawser up` running?"))?;
    if !asked.is_empty() {
        status.clusters.retain(|cluster| asked.contains(&cluster.name));
    }
    Ok(status)
}

/// Asks again and again until everything is connected or the time is up; the last answer.
async fn wait_for(folder: &Path, asked: &[String], wait: Duration) -> anyhow::Result<EdgeStatus> {
    let started = SystemClock.now();
    let mut progress = PROGRESS_EVERY;
    loop {
        let answer = report(folder, asked).await;
        let left = match &answer {
            Ok(status) => missing(status, asked).join("; "),
            Err(error) => format!("{error:#}"),
        };
        let waited = SystemClock.now().saturating_duration_since(started);
        if left.is_empty() || waited >= wait {
            return answer;
        }
        if waited >= progress {
            output::note(format_args!("after {} s: {left}", waited.as_secs()));
            progress = waited + PROGRESS_EVERY;
        }
        tokio::time::sleep(POLL_EVERY.min(wait - waited)).await;
    }
}

/// Of the clusters asked for, those that are not connected, with the reason as far as it is known.
fn missing(status: &EdgeStatus, asked: &[String]) -> Vec<String> {
    let unknown = asked
        .iter()
        .filter(|name| !status.clusters.iter().any(|cluster| cluster.name == **name))
        .map(|name| format!("{name}: there is no such cluster; bring it in with `hawser import {name}`"));
    let down = status.clusters.iter().filter(|cluster| !cluster.connected);
    down.map(|cluster| format!("{}: {}", cluster.name, why(cluster))).chain(unknown).collect()
}

fn why(cluster: &ClusterStatus) -> String {
    if cluster.problems.is_empty() { "no agent is connected".to_owned() } else { cluster.problems.join("; ") }
}

/// The report for people: results on standard output, what is missing on standard error.
fn show(status: &EdgeStatus, missing: &[String]) {
    output::line(format_args!("edge {}, version {}, at {}", status.edge_id, status.version, status.listen));
    if !status.audit.ready {
        output::note("the audit log cannot keep up: requests are refused until it does");
    }
    if status.audit.dropped > 0 {
        output::note(format_args!("{} audit events were lost", status.audit.dropped));
    }
    if status.clusters.is_empty() && missing.is_empty() {
        output::note("there is no cluster yet; bring one in with `hawser import NAME | kubectl apply -f -`");
    }
    if !status.clusters.is_empty() {
        let rows: Vec<Vec<String>> = status.clusters.iter().map(row).collect();
        output::table(&HEADER, &rows);
    }
    missing.iter().for_each(output::note);
    for cluster in status.clusters.iter().filter(|cluster| cluster.connected) {
        cluster.problems.iter().for_each(|problem| output::note(format_args!("{}: {problem}", cluster.name)));
    }
}

const HEADER: [&str; 8] = ["NAME", "STATUS", "KUBERNETES", "NODES", "RTT", "AGENTS", "LINKS", "IN FLIGHT"];

fn row(cluster: &ClusterStatus) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let draining = cluster.replicas.iter().filter(|replica| replica.draining).count();
    let agents = match draining {
        0 => cluster.replicas.len().to_string(),
        _ => format!("{} ({draining} draining)", cluster.replicas.len()),
    };
    let sum =
        |count: fn(&ReplicaStatus) -> usize| cluster.replicas.iter().map(count).sum::<usize>().to_string();
    vec![
        cluster.name.clone(),
        if cluster.connected { "connected" } else { "not connected" }.to_owned(),
        or_dash(cluster.kubernetes_version.clone()),
        or_dash(cluster.nodes.map(|nodes| nodes.to_string())),
        or_dash(cluster.rtt_ms.map(|rtt| format!("{rtt:.1} ms"))),
        agents,
        sum(|replica| replica.links),
        sum(|replica| replica.in_flight),
    ]
}

/// Exit code: something is not connected, or there is nobody to ask.
const NOT_CONNECTED: u8 = 3;
/// While waiting, the edge is asked this often.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// While waiting, the user is told this often what is missing.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
