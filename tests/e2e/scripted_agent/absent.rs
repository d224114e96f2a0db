//! A cluster without an agent: who has just lost it waits a little, all others are told at once.

use std::{thread, time::Duration};

use crate::{
    answers::check_status,
    client::{Client, bearer, now},
    edge::Edge,
    script::{ScriptedAgent, answer},
};

/// As long as the edge of these tests waits for a cluster.
const WAIT: Duration = Duration::from_secs(4);
/// After that long without links, a cluster is not waited for.
const GONE: Duration = Duration::from_secs(10);

fn start() -> Edge {
    Edge::start(&format!("limits: {{routeWait: {}s}}", WAIT.as_secs()))
}

fn agent(edge: &Edge) -> ScriptedAgent {
    ScriptedAgent::connect(edge, "one", |_any| answer(200, &[("content-length", "2")], b"ok"))
}

/// A write, which is sent but not answered yet.
fn post(edge: &Edge) -> Client {
    let mut client = Client::connect(edge, "http/1.1").unwrap();
    client.ask("POST /api/v1/pods", &["Content-Length: 0".to_owned(), bearer(edge)]);
    client
}

/// It is refused, after the wait or without one; a client may come again by itself only where it is worth the time.
fn check_refused(edge: &Edge, waited: bool, why: &str) {
    let began = now();
    let (_, text) = post(edge).answer();
    let took = now() - began;
    check_status(&text, 503);
    assert!(text.contains(&format!("no agent is connected to this edge ({why}")), "{text}");
    assert_eq!(took >= WAIT, waited, "{took:?}: {text}");
    assert_eq!(text.contains("\r\nRetry-After: 1\r\n"), waited, "{text}");
    assert_eq!(text.contains("\"retryAfterSeconds\":1"), waited, "{text}");
}

#[test]
fn a_cluster_that_was_never_there_is_not_waited_for() {
    let edge = start();
    let why = "none was, since the edge started)";
    check_refused(&edge, true, why);
    thread::sleep(GONE - WAIT);
    check_refused(&edge, false, why);
}

#[test]
fn a_cluster_lost_a_moment_ago_is_waited_for() {
    let edge = start();
    // What is tested must not be the time after the edge's start.
    thread::sleep(GONE);
    drop(agent(&edge));
    edge.counts("links 0");
    let mut waiting = post(&edge);
    thread::sleep(WAIT / 4);
    let back = agent(&edge);
    assert_eq!(waiting.answer().0, 200, "the agent came back meanwhile");

    drop(back);
    edge.counts("links 0");
    check_refused(&edge, true, "last seen 20");
    thread::sleep(GONE - WAIT);
    check_refused(&edge, false, "last seen 20");
    assert_eq!(edge.logged("panicked"), 0);
}
