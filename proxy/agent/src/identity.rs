//! As whom a request reaches the API server. Judged here once more, whatever the edge says: an agent may impersonate any
//! user (RBAC knows no prefixes), so a request without a user, as `system:…`, or as somebody who does not carry the
//! cluster's prefix would be a way to become the cluster.

use hawser_kube::{impersonation::Identity, status::Status};
use hawser_tunnel::wire::RequestV1;
use http::{HeaderMap, HeaderValue};

/// Takes the request's headers as the API server gets them, identity last.
///
/// # Errors
/// A 403 or 400 that names what was wrong; nothing was sent.
pub(crate) fn headers(
    request: &mut RequestV1,
    user_prefix: &str,
    authorization: HeaderValue,
) -> Result<HeaderMap, Status> {
    let mut headers = std::mem::take(&mut request.headers);
    let identity = Identity {
        user: request.user.clone(),
        groups: request.groups.clone(),
        uid: None,
        extra: request.extra.clone(),
    };
    judge(&identity, user_prefix)?;
    headers.insert(http::header::AUTHORIZATION, authorization);
    identity.apply(&mut headers).map_err(|error| refused(&error.to_string()))?;
    Ok(headers)
}

fn judge(identity: &Identity, user_prefix: &str) -> Result<(), Status> {
    let reserved = |name: &str| name.starts_with("system:");
    if reserved(&identity.user)
        || !identity.user.starts_with(user_prefix)
        || identity.user.len() == user_prefix.len()
    {
        return Err(refused(&format!("user {:?} does not begin with {user_prefix:?}", identity.user)));
    }
    match identity.groups.iter().find(|group| reserved(group)) {
        Some(group) => Err(refused(&format!("group {group:?} is the cluster's own"))),
        None => Ok(()),
    }
}

fn refused(why: &str) -> Status {
    Status {
        code: 403,
        reason: "Forbidden",
        message: format!("the agent in the cluster refuses this identity: {why}"),
        details: None,
    }
}

#[cfg(test)]
mod tests {
    use hawser_tunnel::wire::BodyV1;
    use http::HeaderName;

    use super::*;

    fn request(user: &str, groups: &[&str], headers: &[(&'static str, &'static str)]) -> RequestV1 {
        RequestV1 {
            exchange: [0; 16],
            method: "GET".to_owned(),
            target: "/api/v1/pods".to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect(),
            user: user.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            extra: Vec::new(),
            upgrade: false,
            body: BodyV1::None,
            trailers: false,
            extensions: Vec::new(),
        }
    }

    fn check(user: &str, groups: &[&str], allowed: bool) {
        let token = HeaderValue::from_static("Bearer agent");
        let outcome =
            headers(&mut request(user, groups, &[("accept", "application/json")]), "hawser:", token);
        assert_eq!(outcome.is_ok(), allowed, "{user} {groups:?}");
    }

    #[test]
    fn only_prefixed_people_and_no_group_of_the_cluster() {
        check("hawser:alice@example.com", &["hawser:view"], true);
        check("", &["hawser:view"], false);
        check("hawser:", &[], false);
        check("alice", &[], false);
        check("system:kube-controller-manager", &[], false);
        check("hawser:alice", &["system:masters"], false);
        check("hawser:alice", &["hawser:view", "system:nodes"], false);
    }

    #[test]
    fn identity_headers_in_the_stream_are_refused_not_merged() {
        let token = HeaderValue::from_static("Bearer agent");
        let mut sneaky = request("hawser:alice", &[], &[("impersonate-group", "system:masters")]);
        assert!(headers(&mut sneaky, "hawser:", token).is_err());
    }

    #[test]
    fn the_agents_token_replaces_whatever_came() {
        let token = HeaderValue::from_static("Bearer agent");
        let sent = headers(
            &mut request("hawser:alice", &["g"], &[("authorization", "Bearer user")]),
            "hawser:",
            token,
        );
        let sent = sent.unwrap();
        assert_eq!(sent.get_all("authorization").iter().collect::<Vec<_>>(), ["Bearer agent"]);
        assert_eq!(sent["impersonate-user"], "hawser:alice");
        assert_eq!(sent["impersonate-group"], "g");
    }
}
