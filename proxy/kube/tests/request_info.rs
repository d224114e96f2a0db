//! Promise: the edge judges a request by the same attributes as the API server, or refuses the target.
//!
//! `fixtures/request-info.jsonl` holds what the `RequestInfoFactory` of k8s.io/apiserver 0.37.2 says about
//! each target. Lines marked `honest` are such as clients send; the others must be refused.

use hawser_kube::Status;
use hawser_kube::request_info::{Action, BadTarget, RequestAttributes};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Row {
    method: String,
    target: String,
    honest: bool,
    is_resource: bool,
    path: String,
    verb: String,
    group: String,
    version: String,
    namespace: String,
    resource: String,
    subresource: String,
    name: String,
    field_selector: String,
    label_selector: String,
    forbidden: String,
}

fn rows() -> Vec<Row> {
    include_str!("fixtures/request-info.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a fixture line"))
        .collect()
}

fn parse(method: &str, target: &str) -> RequestAttributes {
    RequestAttributes::parse(method, target).expect(target)
}

#[test]
fn honest_requests_have_the_attributes_of_the_api_server() {
    for row in rows().iter().filter(|row| row.honest) {
        let got = parse(&row.method, &row.target);
        let at = format!("{} {}", row.method, row.target);
        assert_eq!(got.raw_target, row.target, "{at}");
        assert_eq!(got.is_resource, row.is_resource, "{at}");
        assert_eq!(got.verb, row.verb, "{at}");
        assert_eq!(got.api_group, row.group, "{at}");
        assert_eq!(got.api_version, row.version, "{at}");
        assert_eq!(got.namespace, row.namespace, "{at}");
        assert_eq!(got.resource, row.resource, "{at}");
        assert_eq!(got.subresource, row.subresource, "{at}");
        assert_eq!(got.name, row.name, "{at}");
        assert_eq!(got.field_selector.unwrap_or_default(), row.field_selector, "{at}");
        assert_eq!(got.label_selector.unwrap_or_default(), row.label_selector, "{at}");
        if !row.target.contains("/proxy/") {
            assert_eq!(got.path, row.path, "{at}");
        }
    }
}

#[test]
fn targets_with_two_readings_are_refused() {
    for row in rows().iter().filter(|row| !row.honest) {
        let got = RequestAttributes::parse(&row.method, &row.target);
        assert!(got.is_err(), "{} {}", row.method, row.target);
    }
}

#[test]
fn denials_are_worded_as_by_the_api_server() {
    let mut compared = 0;
    for row in rows().iter().filter(|row| row.honest) {
        let request = parse(&row.method, &row.target);
        if request.policy_verb() != request.verb || request.path != row.path {
            continue; // worded with the verb that was judged
        }
        let status = Status::forbidden(&request, "hawser:alice@example.com", "no policy grants it");
        assert_eq!(status.message, row.forbidden, "{} {}", row.method, row.target);
        compared += 1;
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn each_oddity_has_its_own_reason() {
    let cases = [
        ("*", BadTarget::NotOriginForm),
        ("", BadTarget::NotOriginForm),
        ("host:443", BadTarget::NotOriginForm),
        ("https://host/api", BadTarget::NotOriginForm),
        ("//", BadTarget::EmptySegment),
        ("/api/v1//pods", BadTarget::EmptySegment),
        ("/api/v1/namespaces/../secrets", BadTarget::DotSegment),
        ("/api/v1/pods/a%2fb", BadTarget::Escape),
        ("/api/v1/pods/%41", BadTarget::Escape),
        ("/api/v1/pods/%4", BadTarget::Escape),
        ("/api/v1/pods/a;b", BadTarget::Byte(b';')),
        ("/api/v1/pods/a\\b", BadTarget::Byte(b'\\')),
        ("/api/v1/pods?a=#", BadTarget::Byte(b'#')),
        ("/api/v1/pods/a b", BadTarget::Byte(b' ')),
        ("/api/v1/pods/\u{e9}", BadTarget::Byte(0xc3)),
        ("/api/v1/watch", BadTarget::NoResource),
        ("/api/v1/proxy/nodes/n", BadTarget::LegacyProxy),
    ];
    for (target, expected) in cases {
        assert_eq!(RequestAttributes::parse("GET", target), Err(expected), "{target}");
        assert_eq!(Status::from(expected).code, 400);
    }
}

#[test]
fn a_proxy_tail_is_opaque_but_not_for_bytes_that_break_a_request_line() {
    for tail in ["", "/", "//", "/../..", "/%2e%2e%2f", "/;a", "/%zz", "/a\\b|\"<>^`{}", "/?a=b;c&%zz=%"] {
        let target = format!("/api/v1/namespaces/shop/services/web/proxy{tail}");
        let request = parse("GET", &target);
        assert_eq!(request.action(), Action::ServiceProxy, "{target}");
        assert_eq!((request.name.as_str(), request.raw_target.as_str()), ("web", target.as_str()));
    }
    for tail in ["/a b", "/a\u{7f}", "/a\r\nX: y", "/#", "/\u{e9}"] {
        let target = format!("/api/v1/namespaces/shop/services/web/proxy{tail}");
        assert!(matches!(RequestAttributes::parse("GET", &target), Err(BadTarget::Byte(_))), "{target}");
    }
}

#[test]
fn what_acts_inside_a_workload_is_create_whatever_the_method() {
    let cases = [
        ("/api/v1/namespaces/shop/pods/p/exec", Action::Exec),
        ("/api/v1/namespaces/shop/pods/p/attach", Action::Attach),
        ("/api/v1/namespaces/shop/pods/p/portforward", Action::PortForward),
        ("/api/v1/namespaces/shop/pods/p/proxy/x", Action::PodProxy),
        ("/api/v1/namespaces/shop/services/https:s:443/proxy/x", Action::ServiceProxy),
        ("/api/v1/nodes/n/proxy/exec/shop/p/c", Action::NodeProxy),
        ("/api/v1/namespaces/shop/pods/p/ephemeralcontainers", Action::EphemeralContainers),
        ("/apis/cluster.example.io/v1/clusters/c/proxy/x", Action::Other),
    ];
    for (target, action) in cases {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let request = parse(method, target);
            assert_eq!(request.action(), action, "{target}");
            assert_eq!(request.policy_verb(), "create", "{method} {target}");
            assert!(!request.is_safe(), "{method} {target}");
            assert!(!request.is_discovery(), "{target}");
        }
    }
    assert_eq!(parse("GET", "/api/v1/namespaces/shop/pods/p/log").policy_verb(), "get");
    assert_eq!(parse("OPTIONS", "/api/v1/namespaces/shop/pods/p").policy_verb(), "");
    assert_eq!(parse("GET", "/apis/apps/v1/namespaces/shop/pods/p/exec").action(), Action::Other);
}

#[test]
fn which_requests_run_long_and_which_are_bulk() {
    let cases = [
        ("/api/v1/pods", false, false),
        ("/api/v1/pods?watch=1", true, false),
        ("/api/v1/watch/pods", true, false),
        ("/api/v1/namespaces/shop/pods/p/log", true, true),
        ("/api/v1/namespaces/shop/pods/p/exec", true, true),
        ("/api/v1/namespaces/shop/pods/p/portforward", true, true),
        ("/api/v1/nodes/n/proxy/metrics", true, true),
        ("/api/v1/namespaces/shop/pods/p/status", false, false),
        ("/debug/pprof/profile", true, false),
        ("/version", false, false),
    ];
    for (target, long_running, bulk) in cases {
        let request = parse("GET", target);
        assert_eq!((request.is_long_running(), request.is_bulk()), (long_running, bulk), "{target}");
    }
}

#[test]
fn discovery_is_what_clients_read_first() {
    for target in
        ["/api", "/api/v1", "/apis", "/apis/apps/v1", "/version", "/openapi/v3", "/readyz/ping", "/livez"]
    {
        assert!(parse("GET", target).is_discovery(), "{target}");
        assert!(parse("HEAD", target).is_discovery(), "{target}");
        assert!(!parse("POST", target).is_discovery(), "{target}");
    }
    for target in
        ["/", "/apix", "/versions", "/metrics", "/logs/", "/api/v1/pods", "/apis/apps/v1/deployments"]
    {
        assert!(!parse("GET", target).is_discovery(), "{target}");
    }
}

#[test]
fn self_reviews_are_asked_about_oneself_only() {
    for target in [
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        "/apis/authorization.k8s.io/v1beta1/selfsubjectrulesreviews",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews?pretty=true",
    ] {
        assert!(parse("POST", target).is_self_review(), "{target}");
        assert!(!parse("GET", target).is_self_review(), "{target}");
    }
    for target in [
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        "/apis/authorization.k8s.io/v1/namespaces/shop/selfsubjectaccessreviews",
        "/apis/authentication.k8s.io/v1/selfsubjectaccessreviews",
        "/apis/example.com/v1/selfsubjectreviews",
    ] {
        assert!(!parse("POST", target).is_self_review(), "{target}");
    }
}

#[test]
fn a_dry_run_is_only_believed_where_the_target_decides() {
    let pods = "/api/v1/namespaces/shop/pods";
    let cases = [
        ("POST", format!("{pods}?dryRun=All"), true),
        ("PATCH", format!("{pods}/p?dryRun=All&dryRun=All"), true),
        ("PUT", format!("{pods}/p/status?dryRun=All"), true),
        ("POST", format!("{pods}?dryRun="), false),
        ("POST", format!("{pods}?dryRun=all"), false),
        ("POST", format!("{pods}?dryRun=All&dryRun=x"), false),
        ("POST", format!("{pods}?dryRun=All;x"), false),
        ("DELETE", format!("{pods}/p?dryRun=All"), false), // the body decides
        ("POST", format!("{pods}/p/exec?dryRun=All"), false),
        ("POST", format!("{pods}/p/proxy/?dryRun=All"), false),
        ("POST", "/api/v1/namespaces/shop/serviceaccounts/a/token?dryRun=All".to_owned(), false),
        ("POST", "/metrics?dryRun=All".to_owned(), false),
    ];
    for (method, target, expected) in cases {
        assert_eq!(parse(method, &target).dry_run, expected, "{method} {target}");
    }
}

#[test]
fn only_logs_are_followed() {
    assert!(parse("GET", "/api/v1/namespaces/shop/pods/p/log?follow=true").follow);
    assert!(!parse("GET", "/api/v1/namespaces/shop/pods/p/log?follow=false").follow);
    assert!(!parse("GET", "/api/v1/namespaces/shop/pods/p?follow=true").follow);
}

/// Newer Go drops a query of more than 10,000 pairs whole: a selector among them would narrow our decision and
/// not the server's answer.
#[test]
fn a_query_that_go_would_drop_is_refused() {
    let padding = "a&".repeat(10_000);
    let target = format!("/api/v1/secrets?{padding}fieldSelector=metadata.name%3Dmine");
    assert_eq!(RequestAttributes::parse("GET", &target), Err(BadTarget::TooManyParameters));
    let tail = format!("/api/v1/namespaces/shop/services/web/proxy/?{padding}");
    assert!(RequestAttributes::parse("GET", &tail).is_ok_and(|request| request.is_proxy()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_target_panics_and_none_is_changed(method in "[A-Za-z]{0,8}", target in "\\PC{0,60}") {
        let target = format!("/{target}");
        if let Ok(request) = RequestAttributes::parse(&method, &target) {
            prop_assert_eq!(request.raw_target, target);
        }
    }

    #[test]
    fn pieces_of_real_paths_never_panic(pieces in proptest::collection::vec(
        prop::sample::select(vec!["/", "api", "apis", "/api/v1", "/apis/apps/v1", "/namespaces", "/n", "/pods",
            "/nodes", "/p", "/proxy", "/watch", "/exec", "/..", "/%2e", "%3A", "%", ";", "?", "&", "=",
            "watch", "fieldSelector=metadata.name%3Dx", "true", "//", "\\", "#"]), 0..14)) {
        let target = pieces.concat();
        if let Ok(request) = RequestAttributes::parse("GET", &target) {
            prop_assert!(!request.is_resource || !request.resource.is_empty());
            if !request.is_proxy() {
                let mut segments = request.path.trim_matches('/').split('/');
                prop_assert!(request.path == "/" || segments.all(|segment| !["", ".", ".."].contains(&segment)));
            }
        }
    }
}
