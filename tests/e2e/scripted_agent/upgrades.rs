//! Upgrades: what is refused is told in one short answer and is the end of its connection, and nothing behind it is heard.

use std::time::Duration;

use hawser_tests::ok;
use hawser_tunnel::wire::ReplyV1;

use crate::{
    answers::check_status,
    client::{Client, bearer, now},
    edge::{Edge, HOST, hawser},
    script::{ScriptedAgent, Step, answer, head},
};

/// Fields that ask for an exec over SPDY.
pub(crate) const SPDY: [&str; 3] =
    ["Connection: Upgrade", "Upgrade: SPDY/3.1", "X-Stream-Protocol-Version: v4.channel.k8s.io"];
/// Fields that grant it.
pub(crate) const SWITCH: [(&str, &str); 3] =
    [("connection", "Upgrade"), ("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v4.channel.k8s.io")];
pub(crate) const EXEC: &str = "/api/v1/namespaces/default/pods/p/exec?command=true&stdout=true";

/// Asks for an exec with these fields more.
fn exec(client: &mut Client, more: &[&str]) {
    let fields: Vec<String> = SPDY.iter().chain(more).map(|field| (*field).to_owned()).collect();
    client.ask(&format!("POST {EXEC}"), &fields);
}

/// One short answer of the edge's own with its length, and then the end.
fn check_refusal(client: &mut Client, code: u16) -> String {
    let (text, took) = client.rest();
    check_status(&text, code);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{text}");
    assert!(head.contains("\r\nContent-Type: application/json"), "{text}");
    assert!(head.contains("\r\nConnection: close"), "{text}");
    assert!(body.len() < 1024, "{text}");
    assert!(took < Duration::from_secs(3), "at once, not after {took:?}");
    text
}

#[test]
fn only_a_true_switch_is_passed_on() {
    let edge = Edge::start("");
    let cases: Vec<(u16, Vec<(&str, &str)>)> = [200, 204, 300, 301, 302, 303, 304, 307, 308]
        .map(|status| (status, vec![("location", "https://elsewhere.example.com/"), SWITCH[0], SWITCH[1]]))
        .into_iter()
        .chain([
            (100, SWITCH.to_vec()),
            (103, SWITCH.to_vec()),
            (101, SWITCH[..1].to_vec()),
            (101, SWITCH[..2].to_vec()),
            (101, vec![SWITCH[0], ("upgrade", "websocket"), SWITCH[2]]),
            (101, vec![SWITCH[0], SWITCH[1], ("x-stream-protocol-version", "v9.channel.k8s.io")]),
        ])
        .collect();
    for (status, headers) in cases {
        edge.counts("links 0");
        let head = head(status, &headers);
        let agent = ScriptedAgent::connect(&edge, "one", move |_any| {
            vec![Step::Say(ReplyV1::Dispatched), head.clone(), Step::Send(b"elsewhere".to_vec())]
        });
        let mut client = Client::connect(&edge, "http/1.1").unwrap();
        exec(&mut client, &[&bearer(&edge)]);
        let text = check_refusal(&mut client, 502);
        assert!(!text.contains("elsewhere"), "{status} {headers:?}: {text}");
        assert_eq!(agent.took().len(), 1);
    }
    edge.counts("links 0");
    let _agent = ScriptedAgent::connect(&edge, "one", |_any| vec![head(101, &SWITCH)]);
    let mut client = Client::connect(&edge, "http/1.1").unwrap();
    exec(&mut client, &[&bearer(&edge)]);
    assert!(client.up_to("Upgrade: SPDY/3.1").starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
}

#[test]
fn a_refused_upgrade_is_one_short_answer_and_the_end() {
    let edge = Edge::start("");
    let long = "x".repeat(3000);
    let _agent = ScriptedAgent::connect(&edge, "one", |_any| {
        let status = br#"{"kind":"Status","apiVersion":"v1","message":"pods \"p\" not found","code":404}"#;
        // As the API server does it over HTTP/2: without a length.
        answer(404, &[("content-type", "application/json")], status)
    });
    let bearer = bearer(&edge);
    for (more, code) in [(vec![], 401), (vec![&*bearer, "Impersonate-User: eve"], 403), (vec![&*bearer], 404)]
    {
        let mut client = Client::connect(&edge, "http/1.1").unwrap();
        exec(&mut client, &more);
        check_refusal(&mut client, code);
    }
    let mut client = Client::connect(&edge, "http/1.1").unwrap();
    let impersonated: Vec<_> =
        SPDY.map(str::to_owned).into_iter().chain([bearer, "Impersonate-User: eve".to_owned()]).collect();
    client.ask(
        &format!("POST /api/v1/namespaces/{long}/pods/{long}/exec?command=true&stdout=true"),
        &impersonated,
    );
    check_refusal(&mut client, 403);
}

#[test]
fn a_refusal_without_an_end_is_not_waited_for() {
    let edge = Edge::start("limits: {responseWait: 1s}");
    for (more, code) in [
        (Step::Wait, 504),
        (Step::Reset, 502),
        (Step::Close, 502),
        (Step::SendForEver(vec![b'x'; 1 << 16]), 502),
    ] {
        edge.counts("links 0");
        let steps = vec![head(404, &[("content-type", "text/plain")]), Step::Send(b"no such".to_vec()), more];
        let _agent = ScriptedAgent::connect(&edge, "one", move |_any| steps.clone());
        let mut client = Client::connect(&edge, "http/1.1").unwrap();
        exec(&mut client, &[&bearer(&edge)]);
        let text = check_refusal(&mut client, code);
        assert!(!text.contains("no such"), "{text}");
    }
}

#[test]
fn bytes_before_the_answer_to_an_upgrade_are_refused() {
    let edge = Edge::start("");
    let agent = ScriptedAgent::connect(&edge, "one", |_any| vec![Step::Say(ReplyV1::Dispatched), Step::Wait]);
    let fields = SPDY.join("\r\n");
    for early in ["\0", "GET /api/v1/secrets HTTP/1.1\r\n\r\n"] {
        let mut client = Client::connect(&edge, "http/1.1").unwrap();
        client.send(format!(
            "POST {EXEC} HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n{fields}\r\n\r\n{early}",
            bearer(&edge)
        ));
        check_refusal(&mut client, 400);
    }
    assert!(agent.took().is_empty());
}

/// A stream below a proxy that the client ends on its side, once it is open; and its answer so far.
fn half_ended(edge: &Edge) -> (Client, String) {
    let mut client = Client::connect(edge, "http/1.1").unwrap();
    let fields = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        &bearer(edge),
    ];
    client.ask("GET /api/v1/namespaces/default/services/s/proxy/stream", &fields.map(str::to_owned));
    let mut text = String::new();
    while !text.contains("\r\n\r\n") {
        text.push_str(std::str::from_utf8(&client.some()).unwrap());
    }
    assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
    client.finish();
    (client, text)
}

/// What answers it. Key and answer are those of RFC 6455, 1.3.
const WEBSOCKET: [(&str, &str); 3] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
];

#[test]
fn who_has_said_all_still_hears_the_rest() {
    let edge = Edge::start("");
    let pause = || Step::Pause(Duration::from_secs(3));
    let talking = vec![
        head(101, &WEBSOCKET),
        pause(),
        Step::Send(b"slow".to_vec()),
        pause(),
        Step::Send(b" but ".to_vec()),
        pause(),
        Step::Send(b"sure".to_vec()),
        Step::Finish,
    ];
    let silent = vec![head(101, &WEBSOCKET), Step::Send(b"slow".to_vec()), Step::Wait];
    for (steps, heard) in [(talking, "slow but sure"), (silent, "slow")] {
        edge.counts("links 0");
        let _agent = ScriptedAgent::connect(&edge, "one", move |_any| steps.clone());
        let (mut client, mut text) = half_ended(&edge);
        text.push_str(&client.rest().0);
        assert_eq!(text.split_once("\r\n\r\n").unwrap().1, heard);
        edge.counts("live_exchanges 0");
    }
}

#[test]
fn who_has_said_all_and_may_no_longer_hears_no_more() {
    let edge = Edge::start("");
    let _agent = ScriptedAgent::connect(&edge, "one", |_any| {
        let word = [Step::Pause(Duration::from_secs(1)), Step::Send(b"word ".to_vec())];
        [head(101, &WEBSOCKET)].into_iter().chain(word.into_iter().cycle().take(200)).collect()
    });
    let (mut client, _head) = half_ended(&edge);
    assert_eq!(client.some(), b"word ");
    let data = edge.folder.path().join("data");
    let _withdrawn = ok(hawser(&["delete", "accesspolicy", "everything", "--data-dir"]).arg(data));
    edge.counts("live_exchanges 0");
    let _last_words = client.rest();
}

#[test]
fn a_request_behind_a_refused_upgrade_is_never_heard() {
    // CVE-2018-1002105: it would go on as if it had been judged.
    let edge = Edge::start("");
    let agent = ScriptedAgent::connect(&edge, "one", |request| {
        if !request.upgrade {
            return answer(200, &[("content-length", "4")], b"evil");
        }
        let mut steps = vec![Step::Say(ReplyV1::Dispatched), Step::Wait];
        steps.extend(answer(
            404,
            &[("content-type", "application/json")],
            br#"{"kind":"Status","code":404}"#,
        ));
        steps.remove(2);
        steps
    });
    let mut client = Client::connect(&edge, "http/1.1").unwrap();
    exec(&mut client, &[&bearer(&edge)]);
    let began = now();
    while agent.took().is_empty() {
        assert!(now() - began < Duration::from_secs(10), "the agent is asked");
        std::thread::sleep(Duration::from_millis(10));
    }
    client.ask("GET /api/v1/secrets", &[bearer(&edge)]);
    // Time for it to be read ahead.
    std::thread::sleep(Duration::from_millis(200));
    agent.go_on();
    check_refusal(&mut client, 404);
    assert_eq!(agent.took().len(), 1);
}
