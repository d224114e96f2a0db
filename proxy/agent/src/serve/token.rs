//! Whose a 401 is. A person's credential never reaches the API server, so its 401 is always about the agent's own token
//! and never for the client, which would ask the person to sign in again. What is proxied has 401s of its own, which are.

use std::rc::Rc;

use hawser_kube::request_info::RequestAttributes;
use hawser_tunnel::wire::RequestV1;
use http::HeaderValue;

use crate::{apiserver::accepts, connect::Agent};

/// Is a 401 in answer to `request` about the `token` it was sent with? Then the token is read anew.
///
/// Below `*/proxy` nothing in the answer tells for certain: what is proxied may be an API server, too. There the API
/// server is asked again, with the same token, in the agent's own name.
pub(super) async fn token_refused(agent: &Rc<Agent>, request: &RequestV1, token: HeaderValue) -> bool {
    let attributes = RequestAttributes::parse(&request.method, &request.target);
    let proxied = attributes.is_ok_and(|request| request.is_proxy());
    if proxied && Box::pin(accepts(&agent.server, token)).await.unwrap_or(true) {
        return false;
    }
    agent.metrics.token_refusals.inc();
    agent.server.distrust_token();
    true
}

/// For the client, where a fresh token does not help either.
pub(super) const TOKEN_REFUSED: &str = "the API server refuses the agent's own credentials (its ServiceAccount token), \
     not yours; `hawser status` on the edge says more";
