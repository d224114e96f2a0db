//! At most once: what may have been carried out is not sent again, neither by the edge nor, for a `Retry-After`, by the
//! client; what certainly was not goes to another link.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hawser_tests::until;
use hawser_tunnel::wire::ReplyV1;

use crate::{
    answers::check_status,
    client::{Client, bearer},
    edge::Edge,
    script::{ScriptedAgent, Step, answer},
};

const POST: &str = "POST /api/v1/namespaces/default/configmaps";
const GET: &str = "GET /api/v1/namespaces/default/configmaps";
const EXEC: &str = "POST /api/v1/namespaces/default/pods/p/exec?command=true&stdout=true";

/// Sends a request to an edge with two agents. The first of them to be asked does `first`, whoever is asked later answers
/// 200. Gives the answer and how often the agents got the request.
fn ask_two(line: &str, first: &[Step]) -> (String, usize) {
    ask(line, first, 1)
}

/// As [`ask_two`], but so many times something else than an answer.
fn ask(line: &str, instead: &[Step], times: usize) -> (String, usize) {
    let edge = Edge::start("limits: {routeWait: 1s}");
    let asked = Arc::new(AtomicUsize::new(0));
    let agents = ["one", "two"].map(|replica| {
        let (asked, instead) = (Arc::clone(&asked), instead.to_vec());
        ScriptedAgent::connect(&edge, replica, move |_any| {
            if asked.fetch_add(1, Ordering::Relaxed) < times {
                return instead.clone();
            }
            answer(200, &[("content-length", "2")], b"ok")
        })
    });
    edge.counts("links 4");
    let mut fields = vec![bearer(&edge)];
    match line {
        POST => fields.push("Content-Length: 4\r\nX-Body: follows".to_owned()),
        EXEC => fields.extend(crate::upgrades::SPDY.map(str::to_owned)),
        _ => {}
    }
    let mut client = Client::connect(&edge, "http/1.1").unwrap();
    client.ask(line, &fields);
    if line == POST {
        client.send("body");
    }
    let (_, text) = client.answer();
    let took: usize = agents.iter().map(|agent| agent.took().len()).sum();
    assert_eq!(took, asked.load(Ordering::Relaxed));
    (text, took)
}

fn dispatched() -> Step {
    Step::Say(ReplyV1::Dispatched)
}

fn refused(code: u16) -> Step {
    Step::Say(ReplyV1::Refused { code, message: "not today".to_owned() })
}

fn failed(maybe_delivered: bool) -> Step {
    Step::Say(ReplyV1::Failed { code: 503, message: "gone".to_owned(), maybe_delivered })
}

#[test]
fn what_may_have_been_carried_out_is_not_sent_again() {
    for line in [POST, EXEC] {
        for steps in [
            vec![dispatched(), Step::Close],
            vec![dispatched(), Step::Reset],
            vec![dispatched(), Step::Finish],
            vec![dispatched(), failed(true)],
            // A refusal is not believed of an agent that has said before that the request went on.
            vec![dispatched(), refused(503)],
            // Nor is silence.
            vec![Step::Close],
            vec![Step::Reset],
            vec![failed(true)],
        ] {
            let (text, took) = ask_two(line, &steps);
            assert_eq!(took, 1, "{line} {steps:?}: {text}");
            // Nobody repeats an upgrade, so the agent's own word is passed on.
            let told = line == EXEC && matches!(steps.last(), Some(Step::Say(ReplyV1::Failed { .. })));
            check_status(&text, if told { 503 } else { 502 });
            assert!(!text.to_lowercase().contains("retry"), "{line} {steps:?}: {text}");
        }
    }
}

#[test]
fn what_no_agent_took_goes_to_another() {
    for line in [POST, GET, EXEC] {
        for steps in [vec![Step::Refuse], vec![refused(503)]] {
            let (text, took) = ask_two(line, &steps);
            let good = if line == EXEC { "HTTP/1.1 502 " } else { "HTTP/1.1 200 " };
            assert!(text.starts_with(good), "{line} {steps:?}: {text}");
            assert_eq!(took, 2, "{line} {steps:?}");
        }
        // Where nobody takes it, the client may come again by itself.
        let (text, took) = ask(line, &[Step::Refuse], usize::MAX);
        check_status(&text, 503);
        assert_eq!(took, 4, "{line}: {text}");
        assert!(
            text.contains("\r\nRetry-After: 1\r\n") && text.contains("\"retryAfterSeconds\":1"),
            "{text}"
        );
    }
}

#[test]
fn what_is_kept_for_another_agent_has_a_bound() {
    const BODY: usize = 256 << 10;
    const KEPT: usize = 64 << 10;
    /// A piece of the body that was read in one go may go beyond.
    const PIECE: usize = 64 << 10;
    for dispatches in [false, true] {
        let edge = Edge::start("limits: {replayBytesMax: 64Ki}");
        let mut steps = vec![Step::Receive, Step::Wait];
        if dispatches {
            steps.insert(0, dispatched());
        }
        steps.push(refused(503));
        let first = ScriptedAgent::connect(&edge, "one", move |_any| steps.clone());
        edge.counts("links 2");
        let mut client = Client::connect(&edge, "http/1.1").unwrap();
        client.ask(POST, &[bearer(&edge), format!("Content-Length: {BODY}")]);
        client.send(vec![b'x'; BODY]);
        until("the first agent has read", Duration::from_secs(20), || first.received().is_some());
        let sent = first.received().unwrap();
        if dispatches {
            assert_eq!(sent, BODY, "nothing holds it back");
        } else {
            assert!((KEPT..=KEPT + PIECE).contains(&sent), "{sent}");
        }
        let second = ScriptedAgent::connect(&edge, "two", |_any| {
            let mut steps = vec![dispatched(), Step::Receive];
            steps.extend(answer(200, &[("content-length", "2")], b"ok").split_off(1));
            steps
        });
        edge.counts("links 4");
        first.go_on();
        let (code, text) = client.answer();
        if dispatches {
            assert_eq!((code, second.received()), (502, None), "{text}");
        } else {
            assert_eq!((code, second.received()), (200, Some(BODY)), "{text}");
        }
    }
}

#[test]
fn a_read_without_an_answer_goes_again_once() {
    for steps in [
        vec![dispatched(), Step::Close],
        vec![dispatched(), Step::Reset],
        vec![Step::Close],
        vec![dispatched(), failed(true)],
    ] {
        let (text, took) = ask_two(GET, &steps);
        assert!(text.starts_with("HTTP/1.1 200 "), "{steps:?}: {text}");
        assert_eq!(took, 2, "{steps:?}");

        let (text, took) = ask(GET, &steps, usize::MAX);
        check_status(&text, 503);
        assert_eq!(took, 2, "{steps:?}");
        assert!(text.contains("\r\nRetry-After: 1\r\n"), "the client may read again by itself: {text}");
    }
    // What the agent says was not carried out is answered as it says.
    let (text, took) = ask_two(GET, &[failed(false)]);
    check_status(&text, 503);
    assert_eq!(took, 1);
}
