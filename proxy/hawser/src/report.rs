//! What a running edge tells `hawser status`: every cluster of the store, with what its agents report.

use std::{net::SocketAddr, sync::Arc};

use futures_util::FutureExt as _;
use hawser_edge::Shared;
use hawser_store::{ListOptions, Store};
use hawser_tunnel::{ClusterSnapshot, ReplicaSnapshot};

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
    let Some(ClusterSnapshot { connected, replicas, .. }) = shared.links.cluster(&name) else {
        let absence = match shared.enrolment.refusals.of(&name) {
            Some((at, why)) => format!("its agent was refused at {at:.0}: {why}"),
            None => {
                "no agent is connected: see the logs of deployment hawser-agent in the cluster".to_owned()
            }
        };
        return ClusterStatus { name, problems: vec![absence], ..ClusterStatus::default() };
    };
    let newest = replicas.iter().find(|replica| !replica.status.kubernetes_version.is_empty());
    let mut problems: Vec<String> =
        replicas.iter().flat_map(|replica| replica.status.problems.iter().cloned()).collect();
    problems.sort();
    problems.dedup();
    ClusterStatus {
        name,
        connected,
        kubernetes_version: newest.map(|replica| replica.status.kubernetes_version.clone()),
        nodes: newest.map(|replica| replica.status.nodes),
        rtt_ms: replicas.iter().map(|replica| milliseconds(replica.rtt)).min_by(f64::total_cmp),
        replicas: replicas.into_iter().map(replica).collect(),
        problems,
    }
}

fn replica(replica: ReplicaSnapshot) -> ReplicaStatus {
    ReplicaStatus {
        name: replica.replica.to_string(),
        links: replica.links,
        in_flight: replica.in_flight as usize,
        rtt_ms: Some(milliseconds(replica.rtt)),
        agent_version: replica.status.agent_version.clone(),
        draining: replica.draining,
    }
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
