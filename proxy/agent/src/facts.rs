//! What an agent finds out about its cluster: for the status the edge shows, and for enrolment.

use std::{rc::Rc, time::Duration};

use hawser_kube::clock::Clock;
use hawser_tunnel::wire::StatusV1;
use serde_json::json;
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
    let version = get(server, clock, "/version").await;
    let nodes = get(server, clock, "/api/v1/nodes?limit=1").await;
    let impersonates = may_impersonate(server, clock).await;
    let problems = problems(&version, &nodes, &impersonates);
    let (version, nodes) = (version.unwrap_or_default(), nodes.unwrap_or_default());
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
async fn may_impersonate(server: &Rc<ApiServer>, clock: &dyn Clock) -> Result<bool, String> {
    let question = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "impersonate", "resource": "users"}},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = post(server, clock, path, &question).await?;
    Ok(answer["status"]["allowed"] == true)
}

/// What the operator of the cluster should know of these answers: what stops every request, or what merely is not known.
fn problems<T>(
    version: &Result<T, String>,
    nodes: &Result<T, String>,
    impersonates: &Result<bool, String>,
) -> Vec<String> {
    if let (Err(why), Err(_), Err(_)) = (version, nodes, impersonates) {
        return vec![format!("{STOPS_REQUESTS}the API server answers none of the agent's questions: {why}")];
    }
    let unknown = |what: &str, why: &String| format!("{what}: {why}");
    let impersonation = match impersonates {
        Ok(true) => None,
        Ok(false) => Some(format!(
            "{STOPS_REQUESTS}the agent may not impersonate users: apply what `hawser import` prints again (ClusterRole \
             hawser-agent and its binding)"
        )),
        Err(why) => Some(unknown("it is not known whether the agent may impersonate users", why)),
    };
    let version = version.as_ref().err().map(|why| unknown("the version of the cluster is not known", why));
    let nodes = nodes.as_ref().err().map(|why| unknown("the nodes cannot be counted", why));
    [impersonation, version, nodes].into_iter().flatten().collect()
}

/// How a problem begins that stops every request through the agent that reports it: then its cluster is not shown as
/// connected.
pub const STOPS_REQUESTS: &str = "no request can be carried: ";
/// Between two looks at a cluster that is well.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Between two looks at one that is not.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answers: (bool, bool, Option<bool>), wanted: &[&str]) {
        let answer = |ok: bool| if ok { Ok(()) } else { Err("no answer".to_owned()) };
        let (version, nodes, impersonates) = answers;
        let impersonates = impersonates.ok_or_else(|| "no answer".to_owned());
        let problems = problems(&answer(version), &answer(nodes), &impersonates);
        assert_eq!(problems.len(), wanted.len(), "{problems:?}");
        for (problem, wanted) in problems.iter().zip(wanted) {
            assert!(problem.starts_with(wanted), "{problem:?}: {wanted:?}");
        }
    }

    #[test]
    fn what_stops_every_request_is_told_from_what_is_not_known() {
        check((true, true, Some(true)), &[]);
        check((true, false, Some(true)), &["the nodes cannot be counted: no answer"]);
        check((false, true, Some(true)), &["the version of the cluster is not known: no answer"]);
        check((true, true, None), &["it is not known whether the agent may impersonate users: no answer"]);
        let refused = "no request can be carried: the agent may not impersonate users: apply";
        check((true, false, Some(false)), &[refused, "the nodes cannot be counted"]);
        check((false, false, None), &["no request can be carried: the API server answers none"]);
    }
}
