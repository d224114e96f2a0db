//! Answers: what was cut never looks whole, what is an answer passes word for word, and what is none is told as such.

use hawser_tunnel::wire::{ReplyV1, encode};

use crate::{
    client::{Client, bearer},
    edge::Edge,
    http2::{End, Http2},
    script::{ScriptedAgent, Step, answer, head, raw_head},
};

#[test]
fn an_answer_cut_short_never_looks_whole() {
    let edge = Edge::start("");
    let list = "/api/v1/secrets";
    let logs = "/api/v1/namespaces/default/pods/p/log?follow=true";
    let service = "/api/v1/namespaces/default/services/s/proxy/";
    let sized = [("content-type", "application/json"), ("content-length", "100")];
    let text = [("content-type", "text/plain")];
    for (path, headers, ends) in [
        (list, &sized[..], &[Step::Reset, Step::Close, Step::Finish][..]),
        (list, &sized[..1], &[Step::Reset, Step::Close]),
        (logs, &text, &[Step::Reset, Step::Close]),
        // Its body is framed, since trailers may follow it: only they end it.
        (service, &text, &[Step::Reset, Step::Close, Step::Finish]),
    ] {
        for end in ends {
            let part = if path == service { &b"\0\0\0\x04part"[..] } else { b"part" };
            let steps = vec![head(200, headers), Step::Send(part.to_vec()), Step::Wait, end.clone()];
            let cut = || {
                edge.counts("links 0");
                let steps = steps.clone();
                ScriptedAgent::connect(&edge, "one", move |_any| steps.clone())
            };
            let case = format!("{path} {headers:?} {end:?}");

            let agent = cut();
            let mut http2 = Http2::connect(&edge);
            http2.ask(1, "GET", path, &[("authorization", &format!("Bearer {}", edge.token()))]);
            assert_eq!(http2.data(1, 4), (b"part".to_vec(), None), "{case}");
            agent.go_on();
            assert_eq!(http2.rest(1), (String::new(), End::Reset), "{case}");
            drop(agent);

            for version in ["1.1", "1.0"] {
                let agent = cut();
                let mut client = Client::connect(&edge, "http/1.1").unwrap();
                client.send(format!(
                    "GET {path} HTTP/{version}\r\nHost: {}\r\n{}\r\n\r\n",
                    crate::edge::HOST,
                    bearer(&edge)
                ));
                let begun = client.up_to("part");
                assert!(begun.starts_with("HTTP/1.1 200 "), "{begun}");
                assert!(headers.len() > 1 || version == "1.0" || begun.contains("chunked"), "{begun}");
                agent.go_on();
                let (rest, _) = client.rest();
                assert!(rest.trim_end().is_empty(), "no last chunk: {case} {rest:?}");
                assert!(!client.ended_in_good_order(), "{case} HTTP/{version}");
            }
        }
    }
    // The same agent, when all goes well.
    let script = |_any: &_| answer(200, &[("content-type", "text/plain")], b"whole");
    edge.counts("links 0");
    let _agent = ScriptedAgent::connect(&edge, "one", script);
    let mut http2 = Http2::connect(&edge);
    http2.ask(1, "GET", list, &[("authorization", &format!("Bearer {}", edge.token()))]);
    assert_eq!(http2.rest(1), ("whole".to_owned(), End::Whole));
    let mut client = Client::connect(&edge, "http/1.1").unwrap();
    client.ask(&format!("GET {list}"), &["Connection: close".to_owned(), bearer(&edge)]);
    assert!(client.rest().0.ends_with("5\r\nwhole\r\n0\r\n\r\n"));
    assert!(client.ended_in_good_order());
}

#[test]
fn cve_2022_3172_a_redirect_is_not_passed_on() {
    let edge = Edge::start("");
    let _agent = ScriptedAgent::connect(&edge, "one", |request| {
        let status = request.target.rsplit('/').next().unwrap().parse().unwrap();
        answer(status, &[("location", "https://elsewhere.example.com/"), ("content-length", "0")], b"")
    });
    let ask = |path: &str| {
        let mut client = Client::connect(&edge, "http/1.1").unwrap();
        client.ask(&format!("GET {path}"), &[bearer(&edge)]);
        client.answer()
    };
    for status in [300, 301, 302, 303, 307, 308] {
        let (code, text) = ask(&format!("/apis/metrics.k8s.io/v1beta1/{status}"));
        check_status(&text, 502);
        assert!(code == 502 && !text.contains("elsewhere"), "{text}");
        // Below a proxy it is the backend's own.
        let (code, text) = ask(&format!("/api/v1/namespaces/default/services/s/proxy/{status}"));
        assert!(code == status && text.contains("\r\nLocation: https://elsewhere"), "{text}");
    }
}

#[test]
fn refusals_and_failures_of_the_api_server_pass_word_for_word() {
    const BUSY: &[u8] = b"Too many requests, please try again later.\n";
    const LEADER: &[u8] = br#"{"kind":"Status","message":"etcdserver: leader changed","code":500}"#;
    type Case = (u16, &'static [(&'static str, &'static str)], &'static [u8]);
    let cases: [Case; 6] = [
        (
            429,
            &[
                ("audit-id", "1"),
                ("content-type", "text/plain; charset=utf-8"),
                ("retry-after", "1"),
                ("x-kubernetes-pf-flowschema-uid", "f"),
                ("x-kubernetes-pf-prioritylevel-uid", "p"),
                ("content-length", "43"),
            ],
            BUSY,
        ),
        (429, &[("retry-after", "5"), ("retry-after", "7"), ("content-length", "0")], b""),
        (500, &[("content-type", "application/json"), ("content-length", "67")], LEADER),
        (
            503,
            &[("content-type", "application/vnd.kubernetes.protobuf"), ("content-length", "6")],
            b"k8s\0\xff\n",
        ),
        (
            504,
            &[("content-length", "1"), ("warning", "299 - \"a \\\"quoted\\\" one\""), ("x-odd", "")],
            b"\0",
        ),
        (599, &[("content-encoding", "gzip"), ("content-length", "3")], b"\x1f\x8b\x08"),
    ];
    let edge = Edge::start("");
    let agent = ScriptedAgent::connect(&edge, "one", move |request| {
        let number: usize = request.target.rsplit('/').next().unwrap().parse().unwrap();
        let (status, headers, body) = cases[number];
        answer(status, headers, body)
    });
    for (number, (status, headers, body)) in cases.iter().enumerate() {
        let path = format!("/api/v1/namespaces/default/configmaps/{number}");
        let mut client = Client::connect(&edge, "http/1.1").unwrap();
        client.ask(&format!("POST {path}"), &["Content-Length: 0".to_owned(), bearer(&edge)]);
        let mut bytes = Vec::new();
        while !bytes.ends_with(&[b"\r\n\r\n", *body].concat()) {
            bytes.extend(client.some());
        }
        let text = String::from_utf8_lossy(&bytes);
        let (got, _) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = got.lines();
        assert!(lines.next().unwrap().starts_with(&format!("HTTP/1.1 {status} ")), "{got}");
        let fields: Vec<_> =
            lines.map(|line| line.split_once(": ").unwrap()).map(|(n, v)| (n.to_lowercase(), v)).collect();
        let sent: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        assert_eq!(fields, sent, "{got}");

        let mut http2 = Http2::connect(&edge);
        http2.ask(1, "DELETE", &path, &[("authorization", &format!("Bearer {}", edge.token()))]);
        let (data, end) = http2.data(1, usize::MAX);
        assert_eq!((data.as_slice(), end), (*body, Some(End::Whole)));
    }
    assert_eq!(agent.took().len(), 2 * cases.len(), "none was sent again");
}

#[test]
fn what_is_no_answer_is_not_passed_on() {
    let edge = Edge::start("limits: {responseWait: 1s}");
    let good = [("content-type", "text/plain"), ("content-length", "4")];
    let with =
        |field: (&str, &str)| vec![head(200, &[good[0], field]), Step::Send(b"evil".to_vec()), Step::Finish];
    let of_status = |status| vec![head(status, &good), Step::Send(b"evil".to_vec()), Step::Finish];
    let end_with = |headers: &[(&str, &str)], more: &[u8]| {
        vec![Step::Send(raw_head(200, headers, true)), Step::Send(more.to_vec()), Step::Finish]
    };
    let dispatched = encode(&ReplyV1::Dispatched).unwrap().to_vec();
    let cases: Vec<(&str, Vec<Step>)> = vec![
        ("a name with a space", with(("x evil", "v"))),
        ("an empty name", with(("", "v"))),
        ("a name with a colon", with(("evil: v\r\nx", "v"))),
        ("a name that is a pseudo header", with((":evil", "v"))),
        ("CR LF in a value", with(("x", "v\r\nEvil: v"))),
        ("LF in a value", with(("x", "v\nEvil: v"))),
        ("NUL in a value", with(("x", "evil\0"))),
        ("a length that is no number", with(("content-length", "4evil"))),
        ("a negative length", with(("content-length", "-4"))),
        ("a length with a sign", with(("content-length", "+4"))),
        (
            "two lengths",
            vec![head(200, &[good[1], ("content-length", "40")]), Step::Send(b"evil".to_vec()), Step::Finish],
        ),
        ("a list of lengths", with(("content-length", "4, 40"))),
        ("status 0", of_status(0)),
        ("status 99", of_status(99)),
        ("status 1000", of_status(1000)),
        ("a continue that nobody waits for", of_status(100)),
        ("a switch that nobody asked for", of_status(101)),
        ("early hints", of_status(103)),
        ("a message of 4 GiB", vec![Step::Send(b"\xff\xff\xff\xff\0\x02evil".to_vec())]),
        ("a message of another kind", vec![Step::Send(b"\0\0\0\x06\0\x01evil".to_vec())]),
        ("half a message", vec![Step::Send(b"\0\0\0\x40\0\x02evil".to_vec()), Step::Finish]),
        ("marks without end", vec![Step::SendForEver(dispatched.repeat(1000))]),
        ("nothing at all", vec![Step::Finish]),
        (
            "a failure with an odd code",
            vec![Step::Say(ReplyV1::Failed {
                code: 200,
                message: "e v i l".to_owned(),
                maybe_delivered: false,
            })],
        ),
        ("more than was announced", vec![head(200, &good), Step::Send(b"good evil".to_vec()), Step::Finish]),
        ("a body behind the end", end_with(&[good[0]], b"evil")),
        ("an end before its length", end_with(&good, b"")),
    ];
    let served: Vec<_> = cases.iter().map(|(_, steps)| steps.clone()).collect();
    let _agent = ScriptedAgent::connect(&edge, "one", move |request| {
        match request.target.rsplit('/').next().unwrap().parse::<usize>() {
            Ok(number) => served[number].clone(),
            Err(_word) => answer(200, &[("content-length", "4")], b"well"),
        }
    });
    for (number, (case, _)) in cases.iter().enumerate() {
        let path = format!("/api/v1/namespaces/default/configmaps/{number}");
        let mut client = Client::connect(&edge, "http/1.1").unwrap();
        // A write: it is not sent again.
        client.ask(&format!("DELETE {path}"), &["Connection: close".to_owned(), bearer(&edge)]);
        let (text, _) = client.rest();
        check_harmless(case, &text);
        if text.starts_with("HTTP/1.1 200 ") && case != &"a body behind the end" {
            assert!(!client.ended_in_good_order(), "{case}: {text}");
        }

        let mut http2 = Http2::connect(&edge);
        http2.ask(1, "DELETE", &path, &[("authorization", &format!("Bearer {}", edge.token()))]);
        let (text, end) = http2.rest(1);
        if text.starts_with('{') {
            check_harmless(case, &format!("\r\n\r\n{text}"));
        } else if case != &"a body behind the end" {
            assert_eq!(end, End::Reset, "{case}: {text}");
        }

        let mut client = Client::connect(&edge, "http/1.1").unwrap();
        client.ask("GET /version", &[bearer(&edge)]);
        assert!(client.answer().1.ends_with("\r\n\r\nwell"), "the edge goes on after {case}");
    }
    assert!(!edge.log().contains("panicked"), "{}", edge.log());
}

#[test]
fn what_belongs_to_the_agents_connection_stays_there() {
    let edge = Edge::start("");
    let fields = [
        ("connection", "x-evil, close"),
        ("x-evil", "v"),
        ("keep-alive", "evil"),
        ("proxy-connection", "evil"),
        ("transfer-encoding", "evil, chunked"),
        ("upgrade", "evil"),
        ("content-length", "4"),
    ];
    let _agent = ScriptedAgent::connect(&edge, "one", move |_any| answer(200, &fields, b"good"));
    let mut client = Client::connect(&edge, "http/1.1").unwrap();
    for _again in 0..2 {
        let (_, text) = client.signed_in(&edge);
        assert_eq!(text, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
    }
    let mut http2 = Http2::connect(&edge);
    http2.ask(1, "GET", "/api/v1/pods", &[("authorization", &format!("Bearer {}", edge.token()))]);
    assert_eq!(http2.rest(1), ("good".to_owned(), End::Whole));
}

#[test]
fn an_answer_without_a_body_has_none() {
    let edge = Edge::start("");
    let _agent = ScriptedAgent::connect(&edge, "one", |request| {
        let status = request.target.rsplit('/').next().unwrap().parse().unwrap();
        vec![head(status, &[("x-head", "whole")]), Step::SendForEver(vec![b'x'; 1 << 16])]
    });
    let mut client = Client::connect(&edge, "http/1.1").unwrap();
    for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304)] {
        let path = format!("/api/v1/namespaces/default/configmaps/{status}");
        client.ask(&format!("{method} {path}"), &[bearer(&edge)]);
        let text = client.up_to("X-Head: whole");
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "the same connection goes on: {text}");

        let mut http2 = Http2::connect(&edge);
        http2.ask(1, method, &path, &[("authorization", &format!("Bearer {}", edge.token()))]);
        assert_eq!(http2.rest(1), (String::new(), End::Whole));
    }
}

/// A Status about an answer that cannot be used, or an answer that carries nothing of what it must not.
fn check_harmless(case: &str, text: &str) {
    assert!(!text.to_lowercase().contains("evil"), "{case}: {text}");
    let starts = ["HTTP/1.1 502 ", "HTTP/1.1 503 ", "HTTP/1.1 504 ", "HTTP/1.1 200 ", "\r\n\r\n"];
    assert!(starts.iter().any(|start| text.starts_with(start)), "{case}: {text}");
    if let Some((_, body)) = text.split_once("\r\n\r\n{") {
        let status: serde_json::Value = serde_json::from_str(&format!("{{{body}")).unwrap();
        let code = status["code"].as_u64().unwrap();
        assert!(status["kind"] == "Status" && (502..=504).contains(&code), "{case}: {text}");
    }
}

/// The answer is one of the edge's own, with this code.
pub(crate) fn check_status(text: &str, code: u16) {
    assert!(text.starts_with(&format!("HTTP/1.1 {code} ")), "{text}");
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let status: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&status["kind"], &status["code"]), (&"Status".into(), &code.into()), "{text}");
}
