//! Promise: a refusal looks like Kubernetes' own, so that kubectl, Helm and controllers handle it as such.

use hawser_kube::{RequestAttributes, Status};
use proptest::prelude::*;
use serde_json::Value;

fn text(status: &Status) -> String {
    String::from_utf8(status.to_json()).expect("UTF-8")
}

fn forbidden(method: &str, target: &str) -> Status {
    Status::forbidden(&RequestAttributes::parse(method, target).expect("a target"), "alice", "")
}

#[test]
fn denials_in_kubernetes_own_words() {
    let cases = [
        (
            "GET",
            "/api/v1/namespaces/n/pods/x",
            r#"pods "x" is forbidden: User "alice" cannot get resource "pods" in API group "" in the namespace "n""#,
        ),
        (
            "GET",
            "/api/v1/namespaces/n/pods",
            r#"pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace "n""#,
        ),
        (
            "GET",
            "/apis/apps/v1/deployments",
            r#"deployments.apps is forbidden: User "alice" cannot list resource "deployments" in API group "apps" at the cluster scope"#,
        ),
        (
            "GET",
            "/api/v1/namespaces/n/pods/x/exec?command=sh",
            r#"pods "x" is forbidden: User "alice" cannot create resource "pods/exec" in API group "" in the namespace "n""#,
        ),
        ("GET", "/metrics", r#"forbidden: User "alice" cannot get path "/metrics""#),
        (
            "GET",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/%3Cb%3E&",
            r#"clusterroles.rbac.authorization.k8s.io "<b>&" is forbidden: User "alice" cannot get resource "clusterroles" in API group "rbac.authorization.k8s.io" at the cluster scope"#,
        ),
    ];
    for (method, target, message) in cases {
        let status = forbidden(method, target);
        assert_eq!((status.code, status.reason), (403, "Forbidden"));
        assert_eq!(status.message, message);
    }
}

#[test]
fn a_user_name_cannot_become_markup_or_end_the_quotes() {
    let request = RequestAttributes::parse("GET", "/api/v1/pods").expect("a target");
    let status = Status::forbidden(&request, "<b>\"x\"\n\u{1}&", "denied by <policy>");
    let expected = "pods is forbidden: User \"&lt;b&gt;\\\"x\\\"\\n\\x01&amp;\" cannot list resource \"pods\" \
                    in API group \"\" at the cluster scope: denied by <policy>";
    assert_eq!(status.message, expected);
}

#[test]
fn the_body_is_what_go_writes() {
    assert_eq!(
        text(&forbidden("GET", "/apis/apps/v1/namespaces/n/deployments/web")),
        concat!(
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"deployments.apps "#,
            r#"\"web\" is forbidden: User \"alice\" cannot get resource \"deployments\" in API group \"apps\" "#,
            r#"in the namespace \"n\"","reason":"Forbidden","details":{"name":"web","group":"apps","#,
            r#""kind":"deployments"},"code":403}"#
        )
    );
    assert_eq!(
        text(&Status::unauthorized("Unauthorized")),
        concat!(
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","#,
            r#""reason":"Unauthorized","code":401}"#
        )
    );
    assert_eq!(
        text(&Status::service_unavailable("a<b>&\u{2028}", Some(1))),
        concat!(
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#,
            r#""message":"a\u003cb\u003e\u0026\u2028","reason":"ServiceUnavailable","#,
            r#""details":{"retryAfterSeconds":1},"code":503}"#
        )
    );
}

#[test]
fn codes_and_reasons() {
    let cases = [
        (Status::bad_request("m"), 400, "BadRequest"),
        (Status::unauthorized("m"), 401, "Unauthorized"),
        (Status::not_found("m"), 404, "NotFound"),
        (Status::method_not_allowed("m"), 405, "MethodNotAllowed"),
        (Status::conflict("m"), 409, "Conflict"),
        (Status::misdirected("m"), 421, ""),
        (Status::too_many_requests("m", 1), 429, "TooManyRequests"),
        (Status::header_fields_too_large("m"), 431, ""),
        (Status::internal("m"), 500, "InternalError"),
        (Status::bad_gateway("m"), 502, ""),
        (Status::service_unavailable("m", None), 503, "ServiceUnavailable"),
        (Status::gateway_timeout("m"), 504, "Timeout"),
        (Status::new(413, "m"), 413, "RequestEntityTooLarge"),
        (Status::new(505, "m"), 505, ""),
    ];
    for (status, code, reason) in cases {
        assert_eq!((status.code, status.reason), (code, reason));
        assert!(text(&status).contains(&format!("\"code\":{code}}}")));
    }
}

/// client-go sends again whatever was answered with one, writes too.
#[test]
fn only_undelivered_requests_invite_a_retry() {
    assert_eq!(Status::too_many_requests("m", 2).retry_after(), Some(2));
    assert_eq!(Status::service_unavailable("m", Some(1)).retry_after(), Some(1));
    for status in [
        Status::service_unavailable("m", None),
        Status::bad_gateway("m"),
        Status::gateway_timeout("m"),
        Status::internal("m"),
        forbidden("GET", "/api/v1/pods"),
    ] {
        assert_eq!(status.retry_after(), None);
    }
}

#[test]
fn a_body_that_fits_is_not_touched() {
    let status = Status::not_found("short");
    let whole = status.to_json();
    assert_eq!(status.to_json_max(whole.len() + 1), whole);
    let cut = status.to_json_max(whole.len());
    assert!(cut.len() < whole.len() && serde_json::from_slice::<Value>(&cut).is_ok());
}

#[test]
fn a_body_that_cannot_fit_is_the_bare_frame() {
    let bare = Status::not_found("long message").to_json_max(0);
    let value: Value = serde_json::from_slice(&bare).expect("JSON");
    assert_eq!((&value["code"], &value["message"]), (&404.into(), &Value::Null));
}

proptest! {
    #[test]
    fn a_shortened_body_is_json_below_its_bound(message in "\\PC{0,300}|[<>&\"\n]{0,300}", bytes_max in 130_usize..1500) {
        let body = Status::bad_request(message.clone()).to_json_max(bytes_max);
        prop_assert!(body.len() < bytes_max);
        let value: Value = serde_json::from_slice(&body).expect("JSON");
        let shown = value["message"].as_str().unwrap_or_default();
        prop_assert!(shown == message || message.starts_with(shown.trim_end_matches('…')));
        prop_assert!(shown == message || body.len() + 16 > bytes_max, "no shorter than needed");
    }

    #[test]
    fn details_go_before_the_frame_breaks(name in "[a-z]{0,900}", bytes_max in 130_usize..1100) {
        let status = forbidden("GET", &format!("/api/v1/namespaces/n/pods/{name}"));
        let body = status.to_json_max(bytes_max);
        prop_assert!(body.len() < bytes_max);
        let value: Value = serde_json::from_slice(&body).expect("JSON");
        prop_assert_eq!(&value["reason"], "Forbidden");
    }
}
