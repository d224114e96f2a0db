//! Promise: nothing a client writes into its header says who it is, and nothing removes what we set.

use hawser_kube::headers::{sanitize_request, sanitize_response, sanitize_trailers};
use hawser_kube::impersonation::Identity;
use hawser_kube::upgrade::{Session, Upgrade};
use hawser_kube::{RequestAttributes, Status};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"))
        })
        .fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
}

fn sanitized(fields: &[(&str, &str)]) -> Result<HeaderMap, Status> {
    let mut headers = map(fields);
    sanitize_request(&mut headers, false).map(|()| headers)
}

fn alice() -> Identity {
    Identity {
        user: "hawser:alice".to_owned(),
        groups: vec!["hawser:view".to_owned()],
        ..Identity::default()
    }
}

/// As the agent does it: sanitise what came, then set ours, then nothing.
fn forwarded(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = sanitized(fields).expect("a legal header");
    alice().apply(&mut headers).expect("a clean identity");
    headers
}

fn check_is_alice(headers: &HeaderMap) {
    let mut ours: Vec<_> =
        headers.iter().filter(|(name, _)| name.as_str().starts_with("impersonate")).collect();
    ours.sort_by_key(|(name, _)| name.as_str());
    let ours: Vec<_> = ours.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(ours, [("impersonate-group", &b"hawser:view"[..]), ("impersonate-user", b"hawser:alice")]);
}

/// Rancher let a client name the proxy's own headers in `Connection`, whose hop-by-hop pass then removed them:
/// the request ran as the proxy. capsule-proxy (issue 188) and Apache httpd (CVE-2022-31813) did the same.
#[test]
fn ghsa_pvxj_25m6_7vqr_connection_nominates_our_headers() {
    for connection in [
        &["Impersonate-User, Impersonate-Group"][..],
        &["impersonate-user", "IMPERSONATE-GROUP", "close"],
        &["close,Impersonate-User ,\tImpersonate-Group,,"],
        &["keep-alive, authorization, x-forwarded-for, impersonate-user, impersonate-group"],
    ] {
        let mut fields: Vec<_> = connection.iter().map(|value| ("Connection", *value)).collect();
        fields.push(("Impersonate-User", "system:admin"));
        fields.push(("Impersonate-Group", "system:masters"));
        check_is_alice(&forwarded(&fields));
    }
}

/// Envoy (issue 44525) skipped that pass for upgrades.
#[test]
fn envoy_44525_the_same_on_an_upgrade() {
    let target = "/api/v1/namespaces/n/pods/p/exec?command=sh";
    let request = RequestAttributes::parse("POST", target).expect("legal");
    let fields = [
        ("Connection", "Upgrade, Impersonate-User"),
        ("Upgrade", "SPDY/3.1"),
        ("X-Stream-Protocol-Version", "v4.channel.k8s.io"),
    ];
    let refused = Upgrade::detect("POST", &map(&fields), &request).expect_err("an odd Connection");
    assert_eq!(refused.code, 400);

    let mut fields = fields;
    fields[0].1 = "Upgrade";
    let mut headers = map(&fields);
    let upgrade = Upgrade::detect("POST", &headers, &request).expect("legal").expect("an upgrade");
    assert_eq!(upgrade.session, Session::Exec);
    sanitize_request(&mut headers, request.is_proxy()).expect("legal");
    upgrade.forward_headers(&mut headers);
    alice().apply(&mut headers).expect("a clean identity");
    check_is_alice(&headers);
    assert_eq!(headers["connection"], "Upgrade");
}

/// Puma took `X_Forwarded_For` for `X-Forwarded-For` (CVE-2024-45614): what hides behind `_` is an attempt.
#[test]
fn cve_2024_45614_underscores_stand_for_dashes() {
    for name in [
        "Impersonate_User",
        "impersonate_extra_x",
        "X_Remote_User",
        "x_forwarded-for",
        "Audit_Id",
        "X_Real_IP",
    ] {
        let refused = sanitized(&[(name, "x")]).expect_err(name);
        assert_eq!((refused.code, refused.reason), (400, "BadRequest"), "{name}");
    }
    assert!(sanitized(&[("my_header", "x")]).expect("legal").is_empty());
}

#[test]
fn identity_headers_of_the_client_are_gone() {
    for name in [
        "Impersonate-User",
        "Impersonate-Group",
        "Impersonate-Uid",
        "Impersonate-Extra-Scopes",
        "Impersonate-Not-Invented-Yet",
        "X-Remote-User",
        "X-Remote-Group",
        "X-Remote-Uid",
        "X-Remote-Extra-A",
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Client-Cert",
        "Forwarded",
        "X-Real-Ip",
        "Audit-ID",
        "X-HTTP-Method-Override",
        "X-Original-Forwarded-For",
    ] {
        assert!(sanitized(&[(name, "x"), (name, "y")]).expect("legal").is_empty(), "{name}");
    }
}

#[test]
fn hop_by_hop_and_handshake_headers_of_the_client_are_gone() {
    for name in [
        "Keep-Alive",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "HTTP2-Settings",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "X-Stream-Protocol-Version",
    ] {
        assert!(sanitized(&[(name, "x")]).expect("legal").is_empty(), "{name}");
    }
    assert!(sanitized(&[("Connection", "close, x-mine"), ("X-Mine", "1")]).expect("legal").is_empty());
}

#[test]
fn everything_else_passes_byte_for_byte() {
    let fields = [
        ("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),
        ("Accept-Encoding", "gzip"),
        ("Content-Type", "application/apply-patch+yaml"),
        ("Content-Length", "12"),
        ("User-Agent", "kubectl/v1.37.2 (linux/amd64) kubernetes/$Format"),
        ("Kubectl-Command", "kubectl apply"),
        ("If-None-Match", "\"A\""),
        ("Range", "bytes=0-1"),
        ("Origin", "https://127.0.0.1"),
        ("X-Custom", "a"),
        ("X-Custom", "b\u{e9}"),
    ];
    assert_eq!(sanitized(&fields).expect("legal"), map(&fields));
}

#[test]
fn cookies_are_for_workloads_only() {
    let mut headers = map(&[("Cookie", "grafana_session=1")]);
    sanitize_request(&mut headers, true).expect("legal");
    assert_eq!(headers, map(&[("Cookie", "grafana_session=1")]));
    sanitize_request(&mut headers, false).expect("legal");
    assert!(headers.is_empty());
}

#[test]
fn a_connection_header_that_attacks_the_framing_is_refused() {
    for connection in ["content-length", "close, Host", "a b", "a;b", "\u{e9}"] {
        let refused =
            sanitized(&[("Connection", connection), ("Content-Length", "3")]).expect_err(connection);
        assert_eq!(refused.code, 400, "{connection}");
    }
}

#[test]
fn answers_lose_their_connection_and_nothing_else() {
    let kept = [
        ("Audit-Id", "1"),
        ("X-Kubernetes-Pf-Flowschema-Uid", "2"),
        ("Warning", "299 - \"old\""),
        ("Warning", "299 - \"older\""),
        ("Cache-Control", "no-cache, private"),
        ("Content-Type", "application/json;stream=watch"),
        ("Retry-After", "1"),
        ("Location", "/x"),
        ("Set-Cookie", "a=1"),
        ("WWW-Authenticate", "Basic realm=\"backend\""),
        ("Trailer", "Grpc-Status"),
        ("my_header", "x"),
    ];
    let mut fields = kept.to_vec();
    fields.extend([
        ("Connection", "close, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "close"),
        ("Proxy-Authenticate", "Basic"),
        ("TE", "trailers"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "h2c"),
    ]);
    let mut headers = map(&fields);
    sanitize_response(&mut headers);
    assert_eq!(headers, map(&kept));
}

#[test]
fn an_unreadable_connection_of_an_answer_goes_too() {
    let mut headers = map(&[("Connection", "a b, x-hop"), ("Content-Type", "text/plain")]);
    sanitize_response(&mut headers);
    assert_eq!(headers, map(&[("Content-Type", "text/plain")]));
}

#[test]
fn trailers_cannot_say_what_a_head_must() {
    let kept = [("Grpc-Status", "0"), ("Grpc-Message", "ok"), ("X-Checksum", "1")];
    let mut fields = kept.to_vec();
    fields.extend([
        ("Content-Length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("Host", "x"),
        ("Authorization", "Bearer x"),
        ("Impersonate-User", "x"),
        ("Impersonate_User", "x"),
        ("Set-Cookie", "a=1"),
        ("Retry-After", "1"),
        ("Trailer", "x"),
        ("Connection", "close"),
    ]);
    let mut trailers = map(&fields);
    sanitize_trailers(&mut trailers);
    assert_eq!(trailers, map(&kept));
}

proptest! {
    #[test]
    fn whatever_comes_the_cluster_sees_alice(fields in proptest::collection::vec((
        prop::sample::select(vec!["connection", "impersonate-user", "impersonate-group", "impersonate-extra-a",
            "x-remote-user", "authorization", "upgrade", "te", "accept"]),
        "[ ,]{0,2}(close|impersonate-user|Impersonate-Group|impersonate-extra-a|accept|x){0,1}[ ,]{0,2}(impersonate-user){0,1}"), 0..8)) {
        let mut headers = HeaderMap::new();
        for (name, value) in &fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("ASCII"));
        }
        if sanitize_request(&mut headers, false).is_ok() {
            alice().apply(&mut headers).expect("nothing left over");
            check_is_alice(&headers);
        }
    }
}
