//! What an agent finds out about its cluster: for the status the edge shows, and for enrolment.

use std::{rc::Rc, time::Duration};

use hawser_kube::clock::Clock;
use hawser_tunnel::wire::StatusV1;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::apiserver::{ApiServer, get, post};

/// What a cluster proves itself with.
pub(crate) struct ClusterProof {
    pub(crate) uid: String,
    pub(crate) issuer: String,
    pub(crate) jwks: String,
}

/// Reads who this cluster is.
///
/// # Errors
/// A sentence that says what the agent may not read.
pub(crate) async fn proof(server: &Rc<ApiServer>, clock: &dyn Clock) -> Result<ClusterProof, String> {
    let namespace = get(server, clock, "/api/v1/namespaces/kube-system").await?;
    let uid = namespace["metadata"]["uid"].as_str().ok_or("namespace kube-system has no uid")?.to_owned();
    let discovery = get(server, clock, "/.well-known/openid-configuration").await?;
    let issuer = discovery["issuer"].as_str().ok_or("the API server names no token issuer")?.to_owned();
    let jwks = get(server, clock, "/openid/v1/jwks").await?.to_string();
    Ok(ClusterProof { uid, issuer, jwks })
}

/// Looks at the cluster again and again; the newest state is in the channel.
pub(crate) async fn observe(
    server: Rc<ApiServer>,
    clock: std::sync::Arc<dyn Clock>,
    out: watch::Sender<StatusV1>,
) {
    loop {
        let status = look(&server, &*clock).await;
        let healthy = status.problems.is_empty();
        out.send_if_modified(|old| {
            let changed = *old != status;
            *old = status;
            changed
        });
        tokio::time::sleep(if healthy { LOOK_EVERY } else { LOOK_AGAIN }).await;
    }
}

/// One look.
pub(crate) async fn look(server: &Rc<ApiServer>, clock: &dyn Clock) -> StatusV1 {
    let mut problems = Vec::new();
    let mut ask = async |path: &str| match get(server, clock, path).await {
        Ok(answer) => answer,
        Err(problem) => {
            problems.push(problem);
            Value::Null
        }
    };
    let version = ask("/version").await;
    let nodes = ask("/api/v1/nodes?limit=1").await;
    if let Err(problem) = may_impersonate(server, clock).await {
        problems.push(problem);
    }
    let first = nodes["items"].as_array().map_or(0, Vec::len) as u64;
    let rest = nodes["metadata"]["remainingItemCount"].as_u64().unwrap_or(0);
    StatusV1 {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        kubernetes_version: version["gitVersion"].as_str().unwrap_or_default().to_owned(),
        nodes: u32::try_from(first + rest).unwrap_or(u32::MAX),
        problems,
    }
}

/// Without this right every request would be refused, and the refusal would name the agent instead of the person.
async fn may_impersonate(server: &Rc<ApiServer>, clock: &dyn Clock) -> Result<(), String> {
    let question = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "impersonate", "resource": "users"}},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = post(server, clock, path, &question).await?;
    if answer["status"]["allowed"] == true {
        return Ok(());
    }
    Err("the agent may not impersonate users: apply what `hawser import` prints again (ClusterRole hawser-agent)".to_owned())
}

/// Between two looks at a cluster that is well.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Between two looks at one that is not.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
