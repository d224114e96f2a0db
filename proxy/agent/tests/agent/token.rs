//! The API server's 401 is about the agent's own token and never reaches a client; that of a proxied service does.

use hawser_tunnel::wire::{BodyV1, ReplyV1};
use http::{
    HeaderValue,
    header::{CONNECTION, UPGRADE},
};

use super::{
    edge::{Answer, get, request},
    run,
    server::{Server, Then, UNAUTHORIZED, Visit},
};

const PODS: &str = "/api/v1/namespaces/default/pods";
const PROXY: &str = "/api/v1/namespaces/default/services/web/proxy/";
const EXEC: &str = "/api/v1/namespaces/default/pods/p/exec?command=sh";

/// Answers everything but what ends in `401`.
async fn script(visit: &mut Visit) -> Then {
    let body = visit.body().await;
    if visit.head.target.ends_with("401") {
        visit.respond("401 Unauthorized", UNAUTHORIZED).await;
    } else if visit.head.headers.contains_key("upgrade") {
        visit.respond("400 Bad Request", "no upgrade").await;
    } else {
        visit.respond("200 OK", &format!("{} bytes", body.len())).await;
    }
    Then::Keep
}

/// The token that the agent knows is good no longer; another stands in its file.
fn rotate(server: &Server) {
    server.accepted.replace("second".to_owned());
    server.write_token("second");
}

fn upgrade(target: &str) -> hawser_tunnel::wire::RequestV1 {
    let mut request = get(target);
    request.upgrade = true;
    request.trailers = false;
    request.headers.extend(
        [(CONNECTION, "Upgrade"), (UPGRADE, "websocket")]
            .map(|(name, value)| (name, HeaderValue::from_static(value))),
    );
    request
}

fn refused(answer: Answer) {
    let (code, message, maybe_delivered) = answer.failure();
    assert_eq!((code, maybe_delivered), (502, false));
    assert!(message.contains("refuses the agent's own credentials"), "{message}");
}

#[test]
fn a_rotated_token_is_read_and_the_request_sent_again() {
    for (method, target, body) in [("GET", PODS, 0), ("POST", PODS, 1 << 20), ("POST", PROXY, 5)] {
        run(script, async |edge, server| {
            rotate(&server);
            let length = if body == 0 { BodyV1::None } else { BodyV1::Length(body as u64) };
            let answer = edge.ask(&request(method, target, length), &vec![b'x'; body]).await;
            assert_eq!(answer.dispatched, 1);
            assert_eq!(answer.response(), (200, format!("{body} bytes")));
            assert_eq!(server.seen().len(), 2, "{method} {target}");
        });
    }
}

#[test]
fn a_rotated_token_is_read_for_an_upgrade_too() {
    for target in [EXEC, PROXY] {
        run(script, async |edge, server| {
            rotate(&server);
            let answer = edge.ask(&upgrade(target), b"").await;
            assert_eq!(answer.response(), (400, "no upgrade".to_owned()));
            assert_eq!(server.seen().len(), 2, "{target}");
        });
    }
}

#[test]
fn a_token_that_stays_refused_is_not_the_clients_401() {
    for request in [get(PODS), get(PROXY), upgrade(EXEC), upgrade(PROXY)] {
        run(script, async |edge, server| {
            server.accepted.replace("another".to_owned());
            refused(edge.ask(&request, b"").await);
            assert_eq!(server.seen().len(), 2, "once more, not for ever");
        });
    }
}

#[test]
fn a_body_too_long_to_be_kept_is_not_sent_again() {
    run(script, async |edge, server| {
        rotate(&server);
        let body = vec![b'x'; 4 << 20];
        refused(edge.ask(&request("POST", PODS, BodyV1::Length(4 << 20)), &body).await);
        assert_eq!(server.seen().len(), 1);
    });
}

#[test]
fn a_proxied_401_passes_as_it_is() {
    for request in [get(&format!("{PROXY}401")), upgrade(&format!("{PROXY}401"))] {
        run(script, async |edge, server| {
            let answer = edge.ask(&request, b"").await;
            assert!(matches!(answer.reply, Ok(ReplyV1::Head { status: 401, .. })), "{:?}", answer.reply);
            assert_eq!(answer.response(), (401, UNAUTHORIZED.to_owned()));
            assert_eq!(server.seen().len(), 1);
        });
    }
}

#[test]
fn an_unproxied_401_never_passes() {
    run(script, async |edge, _server| refused(edge.ask(&get(&format!("{PODS}?401")), b"").await));
}
