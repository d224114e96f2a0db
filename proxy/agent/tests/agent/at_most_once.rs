//! An idle connection that the server closes just before a request: what changes nothing is asked again, what may have been
//! carried out is not.

use std::{cell::Cell, rc::Rc, time::Duration};

use hawser_tunnel::wire::BodyV1;

use super::{
    edge::{get, request},
    run,
    server::{Then, Visit},
};

const PODS: &str = "/api/v1/namespaces/default/pods";

/// Closes a connection that was kept as soon as a request comes on it.
async fn closes_kept(visit: &mut Visit) -> Then {
    if visit.head.target.ends_with("first") {
        visit.respond("200 OK", "first").await;
        return Then::Keep;
    }
    if visit.kept {
        return Then::Close;
    }
    let _body = visit.body().await;
    visit.respond("200 OK", "second").await;
    Then::Keep
}

#[test]
fn a_get_is_asked_again_on_a_new_connection() {
    run(closes_kept, async |edge, server| {
        for method in ["GET", "HEAD"] {
            let _first = edge.ask(&get(&format!("{PODS}?first")), b"").await;
            let answer = edge.ask(&request(method, PODS, BodyV1::None), b"").await;
            assert_eq!(answer.dispatched, 1);
            let body = if method == "GET" { "second" } else { "" };
            if method == "GET" {
                assert_eq!(answer.response(), (200, body.to_owned()));
            }
            let seen: Vec<_> =
                server.seen().into_iter().filter(|one| one.method == method && one.target == PODS).collect();
            assert_eq!(seen.len(), 2, "{seen:?}");
            assert!(seen[0].connection < seen[1].connection, "a new one");
        }
    });
}

#[test]
fn a_write_is_not_asked_again() {
    run(closes_kept, async |edge, server| {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let _first = edge.ask(&get(&format!("{PODS}?first")), b"").await;
            let answer = edge.ask(&request(method, PODS, BodyV1::Length(2)), b"{}").await;
            assert_eq!(answer.dispatched, 1);
            let (code, _, maybe_delivered) = answer.failure();
            assert_eq!((code, maybe_delivered), (502, true), "{method}");
            assert_eq!(server.seen().iter().filter(|seen| seen.method == method).count(), 1, "{method}");
        }
    });
}

#[test]
fn a_proxied_get_is_not_asked_again() {
    run(closes_kept, async |edge, server| {
        let target = "/api/v1/namespaces/default/services/web/proxy/buy";
        let _first = edge.ask(&get(&format!("{PODS}?first")), b"").await;
        let (code, _, maybe_delivered) = edge.ask(&get(target), b"").await.failure();
        assert_eq!((code, maybe_delivered), (502, true));
        assert_eq!(server.seen().iter().filter(|seen| seen.target == target).count(), 1);
    });
}

#[test]
fn a_get_whose_answer_had_begun_is_not_asked_again() {
    let script = async |visit: &mut Visit| {
        visit.say("HTTP/1.1 20").await;
        Then::Close
    };
    run(script, async |edge, server| {
        let (code, _, maybe_delivered) = edge.ask(&get(PODS), b"").await.failure();
        assert_eq!((code, maybe_delivered), (502, true));
        assert_eq!(server.seen().len(), 1);
    });
}

#[test]
fn a_write_takes_no_connection_that_was_seen_to_close() {
    let closing = Rc::new(Cell::new(false));
    let closed = Rc::clone(&closing);
    let script = async move |visit: &mut Visit| {
        let _body = visit.body().await;
        visit.respond("200 OK", "done").await;
        if closing.replace(false) { Then::Close } else { Then::Keep }
    };
    run(script, async |edge, server| {
        for _ in 0..5 {
            closed.set(true);
            let _closes_behind_it = edge.ask(&get(PODS), b"").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            let answer = edge.ask(&request("POST", PODS, BodyV1::Length(2)), b"{}").await;
            assert_eq!(answer.response(), (200, "done".to_owned()));
        }
        assert_eq!(server.seen().len(), 10);
    });
}
