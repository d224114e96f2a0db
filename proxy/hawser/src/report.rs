//! What a running edge tells `hawser status`: every cluster of the store, with what its agents report.

use std::{net::SocketAddr, sync::Arc};

use futures_util::FutureExt as _;
use hawser_agent::STOPS_REQUESTS;
use hawser_edge::Shared;
use hawser_store::{ListOptions, Store};
use hawser_tunnel::ReplicaSnapshot;

use crate::{
    health::StatusSource,
    status::{AuditStatus, ClusterStatus, EdgeStatus, ReplicaStatus},
};

/// Makes the answer to `/status`.
pub(crate) fn source(store: Store, shared: Arc<Shared>, listen: SocketAddr) -> StatusSource {
    Box::new(move || {
        let (store, shared) = (store.clone(), Arc::clone(&shared));
        async move {
            let status = status(&store, &shared, listen).await;
            serde_json::to_vec(&status).unwrap_or_default()
        }
        .boxed()
    })
}

async fn status(store: &Store, shared: &Shared, listen: SocketAddr) -> EdgeStatus {
    let clusters = match store.list("Cluster", ListOptions::default()).await {
        Ok(list) => list.items.into_iter().map(|item| cluster(shared, item.key.name)).collect(),
        Err(error) => {
            tracing::warn!(%error, "the clusters cannot be listed");
            Vec::new()
        }
    };
    EdgeStatus {
        edge_id: shared.config.current().edge_id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        listen: listen.to_string(),
        audit: AuditStatus { dropped: shared.audit.dropped(), ready: shared.audit.ready() },
        clusters,
    }
}

fn cluster(shared: &Shared, name: String) -> ClusterStatus {
    if let Some(replicas) = shared.links.replicas(&name) {
        return with_links(name, replicas);
    }
    let absence = match shared.enrolment.refusals.of(&name) {
        Some((at, why)) => format!("its agent was refused at {at:.0}: {}", printable(&why)),
        None => "no agent is connected: see the logs of deployment hawser-agent in the cluster".to_owned(),
    };
    ClusterStatus { name, problems: vec![absence], ..ClusterStatus::default() }
}

fn with_links(name: String, replicas: Vec<ReplicaSnapshot>) -> ClusterStatus {
    let newest = replicas.iter().find(|replica| !replica.status.kubernetes_version.is_empty());
    let connected = replicas.iter().any(|replica| !replica.draining && !stopped(replica));
    let mut problems: Vec<String> = replicas.iter().flat_map(|it| problems(it, connected)).collect();
    problems.sort();
    problems.dedup();
    ClusterStatus {
        name,
        connected,
        kubernetes_version: newest.map(|replica| printable(&replica.status.kubernetes_version)),
        nodes: newest.map(|replica| replica.status.nodes).filter(|nodes| *nodes > 0),
        rtt_ms: replicas.iter().map(|replica| milliseconds(replica.rtt)).min_by(f64::total_cmp),
        replicas: replicas.into_iter().map(replica).collect(),
        problems,
    }
}

/// Whether every request through it fails.
fn stopped(replica: &ReplicaSnapshot) -> bool {
    replica.status.problems.iter().any(|problem| problem.starts_with(STOPS_REQUESTS))
}

/// What it reports; with its name where it is not the whole cluster that is stopped.
fn problems(replica: &ReplicaSnapshot, connected: bool) -> Vec<String> {
    let named = |problem: &String| {
        let text = printable(problem);
        if connected && problem.starts_with(STOPS_REQUESTS) {
            format!("agent {}: {text}", replica.replica)
        } else {
            text
        }
    };
    replica.status.problems.iter().map(named).collect()
}

fn replica(replica: ReplicaSnapshot) -> ReplicaStatus {
    ReplicaStatus {
        name: replica.replica.to_string(),
        links: replica.links,
        in_flight: replica.in_flight as usize,
        rtt_ms: Some(milliseconds(replica.rtt)),
        agent_version: printable(&replica.status.agent_version),
        draining: replica.draining,
    }
}

/// What an agent says goes to a terminal: it may write there, but not steer it.
fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use hawser_tunnel::wire::StatusV1;

    use super::*;

    fn replica(name: &str, draining: bool, problems: &[&str]) -> ReplicaSnapshot {
        ReplicaSnapshot {
            replica: name.into(),
            links: 2,
            draining,
            in_flight: 0,
            rtt: std::time::Duration::from_millis(1),
            capabilities: [].into(),
            status: Arc::new(StatusV1 {
                agent_version: "0.1.0".to_owned(),
                kubernetes_version: "v1.37.0".to_owned(),
                nodes: 0,
                problems: problems.iter().map(|problem| (*problem).to_owned()).collect(),
            }),
        }
    }

    fn check(replicas: Vec<ReplicaSnapshot>, connected: bool, problems: &[&str]) {
        let status = with_links("prod".to_owned(), replicas);
        assert_eq!((status.connected, status.nodes), (connected, None));
        assert_eq!(status.problems, problems);
    }

    #[test]
    fn a_cluster_is_connected_if_one_agent_can_carry_requests() {
        let (stopped, degraded) = ("no request can be carried: may not", "the nodes cannot be counted: why");
        let both = [degraded, stopped];
        check(vec![replica("a", false, &[])], true, &[]);
        check(vec![replica("a", true, &[])], false, &[]);
        check(vec![replica("a", false, &[degraded])], true, &[degraded]);
        check(vec![replica("a", false, &both), replica("b", false, &both)], false, &[stopped, degraded]);
        check(vec![replica("a", false, &[stopped]), replica("b", true, &[])], false, &[stopped]);
        check(
            vec![replica("a", false, &["\u{1b}[2J\rall is well"])],
            true,
            &["\u{fffd}[2J\u{fffd}all is well"],
        );
        let named = "agent a: no request can be carried: may not";
        check(vec![replica("a", false, &[stopped]), replica("b", false, &[])], true, &[named]);
    }
}
