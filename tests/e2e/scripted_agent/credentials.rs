//! Who asks, and which cluster: what one credential or name says must not be said otherwise by another.

use std::{fs, process::Command, time::Duration};

use hawser_tests::{ok, until};

use crate::{
    answers::check_status,
    client::{Client, bearer},
    edge::{Edge, HOST, hawser},
    http2::{End, Http2},
    script::{ScriptedAgent, answer, head},
    upgrades::{EXEC, SPDY, SWITCH},
};

/// Another cluster of the same edge.
const OTHER: &str = "other.hawser.internal";

fn agent(edge: &Edge) -> ScriptedAgent {
    ScriptedAgent::connect(edge, "one", |_any| answer(200, &[("content-length", "2")], b"ok"))
}

/// The code of the answer to this field, on a connection of its own.
fn code(edge: &Edge, field: &str) -> u16 {
    let mut client = Client::connect(edge, "http/1.1").unwrap();
    client.ask("GET /api/v1/pods", &[field.to_owned()]);
    client.answer().0
}

/// The answer to a request with the person's certificate and this field, and its code.
fn with_certificate(edge: &Edge, field: &str) -> String {
    let certificate = edge.folder.path().join("bob.pem");
    fs::write(&certificate, edge.certificate()).unwrap();
    let args = ["--cert", certificate.to_str().unwrap(), "-H", field];
    edge.curl(&edge.keys().join("serving-ca.pem"), "/api/v1/pods", &args).stdout
}

#[test]
fn a_connection_to_one_cluster_never_leads_to_another() {
    let edge = Edge::start("");
    let agent = agent(&edge);
    let mut client = Client::connect(&edge, "http/1.1").unwrap();
    let ask = |host: &str| format!("GET /api/v1/pods HTTP/1.1\r\nHost: {host}\r\n{}\r\n\r\n", bearer(&edge));
    for (host, code) in [(HOST, 200), (OTHER, 421), (HOST, 200)] {
        client.send(ask(host));
        let (got, text) = client.answer();
        assert_eq!(got, code, "{host}: {text}");
    }

    let mut http2 = Http2::connect(&edge);
    let token = format!("Bearer {}", edge.token());
    for (stream, authority, code) in [(1, HOST, 200), (3, OTHER, 421), (5, HOST, 200)] {
        http2.ask_at(authority, stream, "GET", "/api/v1/pods", &[("authorization", &token)]);
        let (text, end) = http2.rest(stream);
        assert_eq!(end, End::Whole);
        assert!(
            if code == 200 { text == "ok" } else { text.contains("\"code\":421") },
            "{authority}: {text}"
        );
    }
    assert_eq!(agent.took().len(), 4);
}

#[test]
fn basic_authentication_is_refused() {
    let edge = Edge::start("");
    let agent = agent(&edge);
    for field in
        ["Authorization: Basic Ym9iOmJvYg==", "Authorization: basic", "Authorization: Negotiate YQ=="]
    {
        assert_eq!(code(&edge, field), 401, "{field}");
    }
    // Nor do a token or a certificate make up for it.
    let basic = "Authorization: Basic Ym9iOmJvYg==";
    assert_eq!(code(&edge, &format!("{basic}\r\n{}", bearer(&edge))), 401);
    assert!(with_certificate(&edge, basic).ends_with("401"));
    assert!(agent.took().is_empty());
}

#[test]
fn the_bearer_scheme_has_any_case_and_a_token() {
    let edge = Edge::start("");
    let agent = agent(&edge);
    let token = edge.token();
    for scheme in ["bearer", "BEARER", "BeArEr"] {
        assert_eq!(code(&edge, &format!("Authorization: {scheme} {token}")), 200, "{scheme}");
    }
    assert_eq!(agent.took().len(), 3);
    for request in agent.took() {
        assert!(!request.headers.contains_key("authorization"), "{request:?}");
    }
    for none in ["Bearer", "Bearer ", "bearer\t", "", &token, "Bearer hwt_", "Bearer x"] {
        assert_eq!(code(&edge, &format!("Authorization: {none}")), 401, "{none:?}");
    }
    assert_eq!(agent.took().len(), 3);
    assert_eq!(with_certificate(&edge, "Authorization: Bearer "), "ok\n200", "no token beside it");
    assert!(with_certificate(&edge, "Authorization: Bearer x").ends_with("401"));
}

#[test]
fn certificate_and_token_of_two_people_are_refused() {
    let edge = Edge::start("");
    let agent = agent(&edge);
    let data = edge.folder.path().join("data");
    let kubeconfig = edge.folder.path().join("eve.kubeconfig");
    let args = ["kubeconfig", "eve@example.com", "--token", "--output", kubeconfig.to_str().unwrap()];
    let _made = ok(hawser(&args).arg("--data-dir").arg(&data));
    let eves = fs::read_to_string(kubeconfig).unwrap();
    let eves = eves.lines().find_map(|line| line.trim().strip_prefix("token: ")).unwrap();
    let eves = format!("Authorization: Bearer {}", eves.trim_matches(['"', '\'']));
    until("her token is known", Duration::from_secs(10), || code(&edge, &eves) == 403);

    assert_eq!(with_certificate(&edge, "Accept: */*"), "ok\n200");
    assert_eq!(with_certificate(&edge, &bearer(&edge)), "ok\n200");
    let text = with_certificate(&edge, &eves);
    assert!(text.ends_with("401") && text.contains("eve@example.com"), "{text}");
    assert_eq!(agent.took().len(), 2);
}

#[test]
fn a_token_opens_upgrades_too() {
    let edge = Edge::start("");
    let agent = ScriptedAgent::connect(&edge, "one", |_any| vec![head(101, &SWITCH)]);
    let mut client = Client::connect(&edge, "http/1.1").unwrap();
    let mut fields = SPDY.map(str::to_owned).to_vec();
    fields.push(bearer(&edge));
    client.ask(&format!("POST {EXEC}"), &fields);
    assert!(client.up_to("Upgrade: SPDY/3.1").starts_with("HTTP/1.1 101 "));
    let took = agent.took();
    assert!(took[0].upgrade && took[0].user == "hawser:bob@example.com", "{took:?}");
}

#[test]
fn a_browsers_bearer_protocol_is_its_credential_and_stays_here() {
    let edge = Edge::start("");
    let agent = ScriptedAgent::connect(&edge, "one", |_any| answer(404, &[("content-length", "2")], b"ok"));
    let encoded = ok(Command::new("sh").args([
        "-c",
        "printf %s \"$0\" | basenc -w0 --base64url | tr -d =",
        &edge.token(),
    ]));
    let bearer = format!("base64url.bearer.authorization.k8s.io.{encoded}");
    let ask = |path: &str, protocols: &str| {
        let mut client = Client::connect(&edge, "http/1.1").unwrap();
        let fields = [
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            &format!("Sec-WebSocket-Protocol: {protocols}"),
        ];
        client.ask(&format!("GET {path}"), &fields.map(str::to_owned));
        client.answer()
    };
    // Below a proxy the protocols are the backend's own, and nobody else sorts them.
    for path in [EXEC, "/api/v1/namespaces/default/services/s/proxy/"] {
        for protocols in [format!("{bearer}, v5.channel.k8s.io"), format!("v5.channel.k8s.io, {bearer}")] {
            let (code, text) = ask(path, &protocols);
            assert_eq!(code, 404, "the agent was asked: {text}");
        }
    }
    for request in agent.took() {
        assert_eq!(request.user, "hawser:bob@example.com");
        let offered: Vec<_> = request.headers.get_all("sec-websocket-protocol").iter().collect();
        assert_eq!(offered, ["v5.channel.k8s.io"]);
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        assert!(request.headers.values().all(|value| !text(value).contains(&encoded)));
    }
    for (protocols, why) in [
        (bearer.clone(), "with another websocket protocol"),
        (format!("{bearer}, {bearer}x, v5.channel.k8s.io"), "more than one bearer token"),
        ("base64url.bearer.authorization.k8s.io.eA, v5.channel.k8s.io".to_owned(), "not one of Hawser's"),
    ] {
        let (_, text) = ask(EXEC, &protocols);
        check_status(&text, 401);
        assert!(text.contains(why), "{text}");
    }
    assert_eq!(agent.took().len(), 4);
}

#[test]
fn a_stranger_over_http2_is_seen_off_after_its_401() {
    let edge = Edge::start("");
    let agent = agent(&edge);
    let mut http2 = Http2::connect(&edge);
    http2.ask(1, "GET", "/api/v1/pods", &[]);
    let (mut goodbye, mut answered) = (false, false);
    while !goodbye || !answered {
        let frame = http2.frame().expect("a goodbye, before the end");
        // The first goodbye announces the one that counts.
        goodbye |= frame.goodbye() == Some(1);
        answered |= frame.stream == 1 && frame.ends_stream();
    }
    let token = format!("Bearer {}", edge.token());
    http2.ask(3, "GET", "/api/v1/pods", &[("authorization", &token)]);
    while let Some(frame) = http2.frame() {
        assert_ne!(frame.stream, 3, "{frame:?}");
    }
    edge.counts("connections 0");
    assert!(agent.took().is_empty());

    // Somebody known who once sends a wrong token keeps the connection.
    let mut http2 = Http2::connect(&edge);
    for (stream, token, code) in [(1, &*token, "ok"), (3, "Bearer x", "\"code\":401"), (5, &*token, "ok")] {
        http2.ask(stream, "GET", "/api/v1/pods", &[("authorization", token)]);
        assert!(http2.rest(stream).0.contains(code), "{stream}");
    }
}
