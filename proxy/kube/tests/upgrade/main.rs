//! Promise: what honest clients send upgrades, with the streams they asked for; everything else is refused
//! before a byte of a stream could be read.
//!
//! `fixtures/upgrade-heads.jsonl` holds the heads of real sessions (kubectl 1.22 to 1.37 and clients by hand)
//! with a kube-apiserver 1.37.2, and the subprotocol it chose.

mod answer;
mod bearer;

use hawser_kube::headers::sanitize_request;
use hawser_kube::upgrade::{Asked, Session, Transport, Upgrade, websocket_bearer};
use hawser_kube::{RequestAttributes, Status};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde::Deserialize;

const EXEC: &str = "/api/v1/namespaces/n/pods/p/exec?command=sh&stdin=true&stdout=true";
const FORWARD: &str = "/api/v1/namespaces/n/pods/p/portforward";
const PROXY: &str = "/api/v1/namespaces/n/services/web/proxy/ws";
const KEY: (&str, &str) = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
const ACCEPT: (&str, &str) = ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

#[derive(Deserialize)]
struct Sample {
    name: String,
    kind: String,
    upgrade: String,
    protocol: String,
    request: String,
    response: String,
}

fn samples() -> Vec<Sample> {
    include_str!("../fixtures/upgrade-heads.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a fixture line"))
        .collect()
}

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
    }
    headers
}

/// First line and fields of a captured head.
fn head(text: &str) -> (&str, HeaderMap) {
    let (first, rest) = text.split_once("\r\n").expect("a first line");
    let fields: Vec<_> = rest
        .split("\r\n")
        .filter(|line| !line.is_empty())
        .map(|line| line.split_once(':').expect("a field"))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    (first, map(&fields))
}

fn detect(method: &str, target: &str, fields: &[(&str, &str)]) -> Result<Option<Upgrade>, Status> {
    Upgrade::detect(method, &map(fields), &RequestAttributes::parse(method, target)?)
}

fn spdy(protocols: &[&'static str]) -> Vec<(&'static str, &'static str)> {
    let mut fields = vec![("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("Content-Length", "0")];
    fields.extend(protocols.iter().map(|protocol| ("X-Stream-Protocol-Version", *protocol)));
    fields
}

fn websocket(protocols: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut fields =
        vec![("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), KEY];
    if !protocols.is_empty() {
        fields.push(("Sec-WebSocket-Protocol", protocols));
    }
    fields
}

fn upgrade(method: &str, target: &str, fields: &[(&str, &str)]) -> Upgrade {
    detect(method, target, fields).expect("legal").expect("an upgrade")
}

fn check_refused(method: &str, target: &str, fields: &[(&str, &str)], code: u16) {
    let refused = detect(method, target, fields).map(|upgrade| upgrade.is_some()).expect_err("refused");
    assert_eq!(refused.code, code, "{method} {target} {fields:?}: {}", refused.message);
}

#[test]
fn every_real_session_upgrades_and_its_answer_is_taken() {
    for sample in samples() {
        let (line, headers) = head(&sample.request);
        let (method, target) = line.trim_end_matches(" HTTP/1.1").split_once(' ').expect("a request line");
        let request = RequestAttributes::parse(method, target).expect("a legal target");
        let upgrade = Upgrade::detect(method, &headers, &request)
            .unwrap_or_else(|refused| panic!("{}: {}", sample.name, refused.message))
            .expect("an upgrade");
        let session = match sample.kind.as_str() {
            "exec" => Session::Exec,
            "attach" => Session::Attach,
            "portforward" => Session::PortForward,
            "logs" => Session::Log,
            "watch" => Session::Watch,
            other => panic!("{other}"),
        };
        assert_eq!(upgrade.session, session, "{}", sample.name);
        assert!(upgrade.transport.token().eq_ignore_ascii_case(&sample.upgrade), "{}", sample.name);

        let mut sent_on = headers.clone();
        sanitize_request(&mut sent_on, request.is_proxy()).expect("a legal header");
        upgrade.forward_headers(&mut sent_on);
        // The agent reads the edge's header by the same rules and finds the same upgrade.
        let again = Upgrade::detect(method, &sent_on, &request).expect("legal");
        assert_eq!(again.as_ref(), Some(&upgrade), "{}", sample.name);

        let (line, answer) = head(&sample.response);
        assert!(line.starts_with("HTTP/1.1 101 "));
        assert_eq!(upgrade.check_response(101, &answer), Ok(sample.protocol), "{}", sample.name);
        let mut to_client = answer.clone();
        upgrade.response_headers(&mut to_client);
        assert_eq!(to_client, answer, "{}: the head of the answer is unchanged", sample.name);
    }
}

#[test]
fn what_is_sent_on_is_written_anew() {
    let mut fields = spdy(&["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"]);
    fields.push(("Accept", "x"));
    let mut headers = map(&fields);
    upgrade("POST", EXEC, &fields).forward_headers(&mut headers);
    assert_eq!(
        headers,
        map(&[
            ("Content-Length", "0"),
            ("Accept", "x"),
            ("Connection", "Upgrade"),
            ("Upgrade", "SPDY/3.1"),
            ("X-Stream-Protocol-Version", "v4.channel.k8s.io"),
        ])
    );

    let mut fields = websocket("junk, v5.channel.k8s.io,v4.channel.k8s.io");
    fields[0].1 = "keep-alive, Upgrade";
    fields.push(("Sec-WebSocket-Extensions", "permessage-deflate"));
    let mut headers = map(&fields);
    upgrade("GET", EXEC, &fields).forward_headers(&mut headers);
    assert_eq!(
        headers,
        map(&[
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            KEY,
            ("Sec-WebSocket-Protocol", "v5.channel.k8s.io, v4.channel.k8s.io"),
        ])
    );
}

#[test]
fn ordinary_requests_are_no_upgrades() {
    for fields in
        [&[][..], &[("Connection", "keep-alive")], &[("Connection", "close"), ("Upgrade", "websocket")]]
    {
        assert_eq!(detect("GET", EXEC, fields), Ok(None));
    }
}

#[test]
fn options_of_an_exec_as_the_api_server_reads_them() {
    let target = "/api/v1/namespaces/n/pods/p/exec?command=sh&command=-c&command=echo+%22a%22&command=\
                  &container=main&container=other&stdin=yes&stdout&stderr=0&tty=false&tty=true&command=a;b";
    let upgrade = upgrade("POST", target, &spdy(&["v4.channel.k8s.io"]));
    assert_eq!(upgrade.command, ["sh", "-c", "echo \"a\"", ""]);
    assert_eq!(upgrade.container.as_deref(), Some("main"));
    assert_eq!(upgrade.asked, Asked { stdin: true, stdout: true, ..Asked::default() });
}

#[test]
fn an_attach_has_no_command() {
    let target = "/api/v1/namespaces/n/pods/p/attach?command=sh&stdout=true&tty=true&container=";
    let upgrade = upgrade("POST", target, &spdy(&["v4.channel.k8s.io"]));
    assert_eq!((upgrade.command.len(), upgrade.container), (0, None));
    assert_eq!(upgrade.asked, Asked { stdout: true, tty: true, ..Asked::default() });
}

#[test]
fn port_forwards_name_their_ports_only_in_the_old_form() {
    let tunnel = websocket("SPDY/3.1+portforward.k8s.io, v4.channel.k8s.io");
    let old = format!("{FORWARD}?ports=80&ports=81,82");
    assert_eq!(upgrade("GET", FORWARD, &tunnel).asked.ports, 0);
    assert_eq!(upgrade("GET", &old, &websocket("v4.channel.k8s.io")).asked.ports, 3);
    assert_eq!(upgrade("GET", &old, &websocket("")).asked.ports, 3);
    assert_eq!(upgrade("POST", &old, &spdy(&["portforward.k8s.io"])).asked.ports, 0);
    check_refused("GET", FORWARD, &websocket("v4.channel.k8s.io"), 400);
    check_refused("GET", &format!("{FORWARD}?ports=http"), &websocket(""), 400);
}

#[test]
fn behind_a_proxy_any_protocol_may_be_spoken() {
    let raw = upgrade("GET", PROXY, &websocket("graphql-ws, v2.some/thing"));
    assert_eq!((raw.session, raw.transport), (Session::Raw, Transport::WebSocket));
    let base = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ACCEPT];
    assert_eq!(raw.check_response(101, &map(&base)), Ok(String::new()));
    let chosen = [base.as_slice(), &[("Sec-WebSocket-Protocol", "graphql-ws")]].concat();
    assert_eq!(raw.check_response(101, &map(&chosen)), Ok("graphql-ws".to_owned()));
    check_refused("GET", PROXY, &spdy(&["v4.channel.k8s.io"]), 400);
    let node = "/api/v1/nodes/n/proxy/exec/ns/p/c?command=id";
    assert_eq!(upgrade("GET", node, &websocket("v4.channel.k8s.io")).session, Session::Raw);
}

/// The server reads it as the first bytes of the stream: a whole exec fits into it.
#[test]
fn an_upgrade_with_a_body_is_refused() {
    for field in [
        ("Content-Length", "5"),
        ("Content-Length", "00"),
        ("Transfer-Encoding", "chunked"),
        ("Expect", "100-continue"),
    ] {
        let mut fields = spdy(&["v4.channel.k8s.io"]);
        fields.push(field);
        check_refused("POST", EXEC, &fields, 400);
    }
}

#[test]
fn odd_upgrade_values_are_refused() {
    for value in
        ["x-spdy/3.1-y", "SPDY/3.1, websocket", "SPDY/3", "SPDY/2", "h2c", "", "websocket,", "WebSockets"]
    {
        let mut fields = spdy(&["v4.channel.k8s.io"]);
        fields[1].1 = value;
        check_refused("POST", EXEC, &fields, 400);
    }
    for connection in [
        "x-upgrade",
        "upgrade, close",
        "upgrade, impersonate-user",
        "upgrade h2c",
        "upgrade, http2-settings",
        "upgrades",
    ] {
        let mut fields = spdy(&["v4.channel.k8s.io"]);
        fields[0].1 = connection;
        check_refused("POST", EXEC, &fields, 400);
    }
    let mut fields = spdy(&["v4.channel.k8s.io"]);
    fields.push(("Upgrade", "websocket"));
    check_refused("POST", EXEC, &fields, 400);
    check_refused("POST", EXEC, &[("Connection", "Upgrade")], 400);
    let mut fields = spdy(&["v4.channel.k8s.io"]);
    (fields[0].1, fields[1].1) = ("UPGRADE", "spdy/3.1");
    assert_eq!(upgrade("POST", EXEC, &fields).transport, Transport::Spdy);
}

#[test]
fn wrong_methods_are_refused() {
    for method in ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "post"] {
        check_refused(method, EXEC, &spdy(&["v4.channel.k8s.io"]), 405);
    }
    for method in ["POST", "HEAD", "PUT"] {
        check_refused(method, EXEC, &websocket("v5.channel.k8s.io"), 405);
        check_refused(method, PROXY, &websocket(""), 405);
    }
}

#[test]
fn paths_that_do_not_upgrade_are_refused() {
    for target in [
        "/version",
        "/api/v1/namespaces/n/pods",
        "/api/v1/namespaces/n/pods/p",
        "/api/v1/namespaces/n/pods/p/ephemeralcontainers",
        "/api/v1/pods/p/exec",
        "/api/v1/watch/namespaces/n/pods/p/exec",
        "/apis/apps/v1/namespaces/n/pods/p/exec",
        "/apis/apps/v1/namespaces/n/deployments/d/log",
    ] {
        check_refused("GET", target, &websocket("v5.channel.k8s.io"), 400);
        check_refused("GET", target, &spdy(&["v4.channel.k8s.io"]), 400);
    }
    check_refused("GET", "/api/v1/pods?watch=1", &spdy(&["v4.channel.k8s.io"]), 400);
    assert_eq!(upgrade("GET", "/api/v1/pods?watch=1", &websocket("any")).session, Session::Watch);
    assert_eq!(upgrade("GET", "/api/v1/watch/pods", &websocket("")).session, Session::Watch);
}

#[test]
fn clients_without_a_common_protocol_are_refused() {
    check_refused("POST", EXEC, &spdy(&[]), 400);
    check_refused("POST", EXEC, &spdy(&["v5.channel.k8s.io"]), 400);
    check_refused("POST", EXEC, &spdy(&["v3.channel.k8s.io", "v2.channel.k8s.io"]), 400);
    check_refused("POST", EXEC, &spdy(&["xv4.channel.k8s.io"]), 400);
    check_refused("POST", FORWARD, &spdy(&["v4.channel.k8s.io"]), 400);
    check_refused("GET", EXEC, &websocket("v3.channel.k8s.io, v2.channel.k8s.io"), 400);
    check_refused("GET", FORWARD, &websocket("v5.channel.k8s.io"), 400);
    upgrade("POST", EXEC, &spdy(&["v5.channel.k8s.io, v4.channel.k8s.io"]));
}

#[test]
fn broken_websocket_handshakes_are_refused() {
    let without = |name: &str| {
        let mut fields = websocket("v5.channel.k8s.io");
        fields.retain(|(field, _)| *field != name);
        fields
    };
    let with = |field| [without(""), vec![field]].concat();
    for fields in [
        without("Sec-WebSocket-Key"),
        without("Sec-WebSocket-Version"),
        with(KEY),
        with(("Sec-WebSocket-Version", "8")),
        with(("Sec-WebSocket-Protocol", "v4.channel.k8s.io")),
        [without("Sec-WebSocket-Key"), vec![("Sec-WebSocket-Key", "c2hvcnQ=")]].concat(),
        [without("Sec-WebSocket-Key"), vec![("Sec-WebSocket-Key", "not base64")]].concat(),
        [without("Sec-WebSocket-Version"), vec![("Sec-WebSocket-Version", "12")]].concat(),
        websocket("v5.channel.k8s.io, v5.channel.k8s.io"),
        websocket("v5.channel.k8s.io, a b"),
        websocket("v5.channel.k8s.io, \u{e9}"),
    ] {
        check_refused("GET", EXEC, &fields, 400);
    }
}

proptest! {
    #[test]
    fn what_goes_on_has_one_reading(
        connection in "(upgrade|Upgrade|keep-alive|close|x|,| ){0,4}",
        value in r"(websocket|SPDY/3\.1|h2c|,| ){0,3}",
        protocols in r"(v5\.channel\.k8s\.io|v4\.channel\.k8s\.io|channel\.k8s\.io|junk|,| |base64url\.bearer\.authorization\.k8s\.io\.eA){0,5}",
        method in prop::sample::select(vec!["GET", "POST", "PUT"]),
        target in prop::sample::select(vec![EXEC, FORWARD, PROXY, "/api/v1/pods?watch=1", "/version"]),
    ) {
        let fields = [("Connection", &*connection), ("Upgrade", &*value), ("Sec-WebSocket-Version", "13"), KEY,
            ("Sec-WebSocket-Protocol", &*protocols), ("X-Stream-Protocol-Version", &*protocols)];
        if let Ok(Some(upgrade)) = detect(method, target, &fields) {
            let mut headers = map(&fields);
            upgrade.forward_headers(&mut headers);
            prop_assert_eq!(&headers["connection"], "Upgrade");
            prop_assert_eq!(&headers["upgrade"], upgrade.transport.token());
            prop_assert_eq!(websocket_bearer(&headers), Ok(None));
            let opaque = matches!(upgrade.session, Session::Watch | Session::Raw);
            let sent_on = format!("{headers:?}");
            prop_assert!(opaque || !sent_on.contains("junk"));
        }
    }
}
