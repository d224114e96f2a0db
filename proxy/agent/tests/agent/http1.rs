//! An API server that speaks HTTP/1.1 only: nobody notices.

use std::{cell::Cell, rc::Rc, time::Duration};

use bytes::Bytes;
use hawser_kube::close::CloseReason;
use hawser_tunnel::{
    RecvHalf, StreamError,
    wire::{BodyV1, ReplyV1},
};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{COOKIE, EXPECT},
};
use tokio::sync::Notify;

use super::{
    edge::{self, get, request},
    run,
    server::{Then, Visit},
};

const PODS: &str = "/api/v1/namespaces/default/pods";
const PROXY: &str = "/api/v1/namespaces/default/services/web/proxy/";

#[test]
fn a_get_and_another_on_the_same_connection() {
    let script = async |visit: &mut Visit| {
        let headers = &visit.head.headers;
        assert_eq!(headers["impersonate-user"], "hawser:alice@example.com");
        assert_eq!(headers["accept"], "application/json");
        assert!(!headers.contains_key("content-length") && !headers.contains_key("transfer-encoding"));
        visit.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5\r\nAudit-Id: 1\r\n\r\n").await;
        visit.say("5\r\nhello\r\n0\r\n\r\n").await;
        Then::Keep
    };
    run(script, async |edge, server| {
        for _ in 0..2 {
            let answer = edge.ask(&get(PODS), b"").await;
            assert_eq!(answer.dispatched, 1);
            assert_eq!(answer.header("audit-id").as_deref(), Some("1"));
            assert_eq!(answer.header("transfer-encoding"), None);
            assert_eq!(answer.header("keep-alive"), None);
            assert_eq!(answer.response(), (200, "hello".to_owned()));
        }
        let seen = server.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].connection, seen[1].connection);
    });
}

#[test]
fn a_server_that_closes_after_each_answer() {
    let script = async |visit: &mut Visit| {
        visit.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
        Then::Close
    };
    run(script, async |edge, server| {
        for _ in 0..3 {
            let answer = edge.ask(&get(PODS), b"").await;
            assert_eq!(answer.header("connection"), None);
            assert_eq!(answer.response(), (200, "ok".to_owned()));
        }
        let seen = server.seen();
        assert_eq!(seen.len(), 3);
        assert_ne!(seen[0].connection, seen[1].connection);
        assert_ne!(seen[1].connection, seen[2].connection);
    });
}

#[test]
fn a_post_with_a_length() {
    let script = async |visit: &mut Visit| {
        assert_eq!(visit.head.headers["content-length"], "5");
        let body = visit.body().await;
        visit.respond("201 Created", &String::from_utf8(body).unwrap()).await;
        Then::Keep
    };
    run(script, async |edge, server| {
        for _ in 0..2 {
            let answer = edge.ask(&request("POST", PODS, BodyV1::Length(5)), b"12345").await;
            assert_eq!(answer.response(), (201, "12345".to_owned()));
        }
        let seen = server.seen();
        assert_eq!(seen[0].connection, seen[1].connection, "kept after an upload");
    });
}

#[test]
fn a_post_without_a_body_says_so() {
    let script = async |visit: &mut Visit| {
        assert_eq!(visit.head.headers["content-length"], "0");
        visit.respond("201 Created", "").await;
        Then::Keep
    };
    run(script, async |edge, _server| {
        let answer = edge.ask(&request("POST", PODS, BodyV1::None), b"").await;
        assert_eq!(answer.response(), (201, String::new()));
    });
}

#[test]
fn an_upload_of_unknown_length_streams_in_chunks() {
    let arrived = Rc::new(Notify::new());
    let first = Rc::clone(&arrived);
    let script = async move |visit: &mut Visit| {
        assert_eq!(visit.head.headers["transfer-encoding"], "chunked");
        assert_eq!(visit.piece().await.unwrap(), "first");
        first.notify_one();
        assert_eq!(visit.body().await, b"second");
        visit.respond("200 OK", "taken").await;
        Then::Keep
    };
    run(script, async |edge, _server| {
        let mut stream = edge.open(&request("POST", PODS, BodyV1::Unknown)).await;
        stream.send.write(Bytes::from_static(b"first")).await.unwrap();
        arrived.notified().await;
        stream.send.write(Bytes::from_static(b"second")).await.unwrap();
        stream.send.finish();
        assert_eq!(edge::answer(stream.recv, false).await.response(), (200, "taken".to_owned()));
    });
}

#[test]
fn a_body_that_is_not_as_long_as_announced_is_no_second_request() {
    let script = async |visit: &mut Visit| {
        visit.closed().await;
        Then::Cut
    };
    run(script, async |edge, server| {
        let smuggled = b"12345POST /api/v1/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
        for body in [&smuggled[..], b"1234"] {
            let (code, _, maybe) = edge.ask(&request("POST", PODS, BodyV1::Length(5)), body).await.failure();
            assert_eq!((code, maybe), (502, true));
        }
        let targets: Vec<_> = server.seen().into_iter().map(|seen| seen.target).collect();
        assert_eq!(targets, [PODS, PODS]);
    });
}

#[test]
fn a_big_download_waits_for_its_reader_and_is_whole() {
    const PIECE: usize = 64 << 10;
    const PIECES: usize = 1024;
    let written = Rc::new(Cell::new(0));
    let counter = Rc::clone(&written);
    let script = async move |visit: &mut Visit| {
        visit.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PIECE * PIECES)).await;
        for piece in 0..PIECES {
            assert!(visit.say(vec![u8::try_from(piece % 251).unwrap(); PIECE]).await);
            counter.set(counter.get() + PIECE);
        }
        Then::Keep
    };
    run(script, async |edge, _server| {
        let stream = edge.open(&get(&format!("{PODS}/p/log"))).await;
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if written.get() == before && before > 0 {
                break;
            }
            before = written.get();
        }
        assert!(before < PIECE * PIECES / 2, "{before} bytes were read for nobody");
        let body = edge::answer(stream.recv, false).await.body.unwrap();
        assert_eq!(body.len(), PIECE * PIECES);
        assert!(
            body.chunks(PIECE)
                .enumerate()
                .all(|(at, piece)| piece.iter().all(|&b| usize::from(b) == at % 251))
        );
    });
}

#[test]
fn a_watch_passes_each_event_at_once() {
    let next = Rc::new(Notify::new());
    let wanted = Rc::clone(&next);
    let script = async move |visit: &mut Visit| {
        visit.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for event in 0..3 {
            wanted.notified().await;
            visit.say(format!("7\r\nevent {event}\r\n")).await;
        }
        visit.say("0\r\n\r\n").await;
        Then::Keep
    };
    run(script, async |edge, _server| {
        let mut stream = edge.open(&get(&format!("{PODS}?watch=true"))).await;
        let head = head(&mut stream.recv).await;
        assert!(matches!(head, ReplyV1::Head { status: 200, end: false, .. }), "{head:?}");
        for event in 0..3 {
            next.notify_one();
            assert_eq!(stream.recv.read().await.unwrap().unwrap(), format!("event {event}"));
        }
        assert_eq!(stream.recv.read().await.unwrap(), None);
    });
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let script = async |visit: &mut Visit| {
        let answer = match visit.head.target.rsplit('=').next() {
            Some("204") => "HTTP/1.1 204 No Content\r\n\r\n",
            Some("304") => "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"1\"\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        };
        visit.say(answer).await;
        Then::Keep
    };
    run(script, async |edge, server| {
        for (method, code) in [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 200)] {
            let answer = edge.ask(&request(method, &format!("{PODS}?code={code}"), BodyV1::None), b"").await;
            assert!(matches!(answer.reply, Ok(ReplyV1::Head { status, end: true, .. }) if status == code));
            let length = if code == 204 { None } else { Some("5") };
            assert_eq!(answer.header("content-length").as_deref(), length, "{method} {code}");
        }
        let seen = server.seen();
        assert!(seen.iter().all(|one| one.connection == seen[0].connection), "kept: {seen:?}");
    });
}

#[test]
fn interim_answers_stay_on_the_connection() {
    let script = async |visit: &mut Visit| {
        assert!(!visit.head.headers.contains_key("expect"), "nobody waits for it");
        visit.say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
        let body = visit.body().await;
        visit.respond("200 OK", &String::from_utf8(body).unwrap()).await;
        Then::Keep
    };
    run(script, async |edge, _server| {
        let mut request = request("PUT", PODS, BodyV1::Length(5));
        request.headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        let answer = edge.ask(&request, b"12345").await;
        assert_eq!(answer.header("link"), None);
        assert_eq!(answer.response(), (200, "12345".to_owned()));
    });
}

#[test]
fn an_early_refusal_of_an_upload_arrives() {
    let script = async |visit: &mut Visit| {
        let _first = visit.piece().await;
        visit.say("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno!").await;
        visit.closed().await;
        Then::Cut
    };
    run(script, async |edge, _server| {
        let mut stream = edge.open(&request("POST", PODS, BodyV1::Unknown)).await;
        stream.send.write(Bytes::from_static(b"the first of many")).await.unwrap();
        assert_eq!(edge::answer(stream.recv, false).await.response(), (413, "no!".to_owned()));
    });
}

#[test]
fn trailers_of_proxied_bodies_survive_both_ways() {
    let script = async |visit: &mut Visit| {
        assert_eq!(visit.body().await, b"up");
        assert_eq!(visit.trailers()["x-sum"], "1");
        visit
            .say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndown\r\n0\r\nX-Sum: 2\r\n\r\n")
            .await;
        Then::Keep
    };
    run(script, async |edge, _server| {
        let trailers =
            HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("1"))]);
        let answer = edge.ask_with(&request("POST", PROXY, BodyV1::Unknown), b"up", trailers).await;
        assert_eq!((answer.trailers.len(), &answer.trailers["x-sum"]), (1, &HeaderValue::from_static("2")));
        assert_eq!(answer.response(), (200, "down".to_owned()));
    });
}

#[test]
fn cookies_of_an_http2_client_become_one_field() {
    let script = async |visit: &mut Visit| {
        let cookies: Vec<_> = visit.head.headers.get_all("cookie").iter().cloned().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
        visit.respond("200 OK", "").await;
        Then::Keep
    };
    run(script, async |edge, _server| {
        let mut request = get(PROXY);
        request.headers.extend(["a=1", "b=2"].map(|value| (COOKIE, HeaderValue::from_static(value))));
        assert_eq!(edge.ask(&request, b"").await.response(), (200, String::new()));
    });
}

#[test]
fn cancelling_closes_the_connection() {
    let (begun, closed) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
    let (begins, closes) = (Rc::clone(&begun), Rc::clone(&closed));
    let script = async move |visit: &mut Visit| {
        begins.notify_one();
        if visit.head.target.ends_with("watch=true") {
            visit.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nevent\r\n").await;
        }
        visit.closed().await;
        closes.notify_one();
        Then::Cut
    };
    run(script, async |edge, _server| {
        let mut watch = edge.open(&get(&format!("{PODS}?watch=true"))).await;
        begun.notified().await;
        let _head = head(&mut watch.recv).await;
        assert_eq!(watch.recv.read().await.unwrap().unwrap(), "event");
        watch.recv.stop(&CloseReason::ClientGone);
        closed.notified().await;
        for unanswered in [get(PODS), request("POST", PODS, BodyV1::Unknown)] {
            let mut stream = edge.open(&unanswered).await;
            begun.notified().await;
            stream.recv.stop(&CloseReason::ClientGone);
            closed.notified().await;
        }
    });
}

#[test]
fn an_answer_cut_short_is_never_whole() {
    let script = async |visit: &mut Visit| {
        let (answer, then) = match visit.head.target.rsplit('=').next() {
            Some("length") => ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", Then::Close),
            Some("chunk") => ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello", Then::Close),
            Some("last") => {
                ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Then::Close)
            }
            Some("cut") => ("HTTP/1.1 200 OK\r\n\r\nhello", Then::Cut),
            Some("odd") => (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
                Then::Keep,
            ),
            _ => ("HTTP/1.1 200 OK\r\n\r\nhello", Then::Close),
        };
        visit.say(answer).await;
        then
    };
    run(script, async |edge, _server| {
        for how in ["length", "chunk", "last", "cut", "odd"] {
            let answer = edge.ask(&get(&format!("{PODS}?how={how}")), b"").await;
            // A reset may overtake what was sent before it.
            let end = answer.reply.and(answer.body);
            assert!(matches!(end, Err(StreamError::Reset(_))), "{how}: {end:?}");
        }
        let whole = edge.ask(&get(&format!("{PODS}?how=whole")), b"").await;
        assert_eq!(whole.response(), (200, "hello".to_owned()), "ended by the server itself");
    });
}

#[test]
fn there_are_only_so_many_connections() {
    const CONNECTIONS_MAX: usize = 256;
    let script = async |visit: &mut Visit| {
        if visit.head.target == PODS {
            visit.respond("200 OK", "free").await;
            return Then::Keep;
        }
        visit.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nevent\r\n").await;
        visit.closed().await;
        Then::Cut
    };
    run(script, async |edge, server| {
        let mut watches = Vec::new();
        let refused = loop {
            let mut stream = edge.open(&get(&format!("{PODS}?watch=true"))).await;
            let reply = head(&mut stream.recv).await;
            if !matches!(reply, ReplyV1::Head { .. }) {
                break reply;
            }
            watches.push(stream);
            assert!(watches.len() <= CONNECTIONS_MAX);
        };
        assert!(matches!(refused, ReplyV1::Refused { code: 503, .. }), "{refused:?}");
        assert_eq!(watches.len(), CONNECTIONS_MAX);
        assert_eq!(server.open.get(), CONNECTIONS_MAX);
        drop(watches.pop());
        while server.open.get() == CONNECTIONS_MAX {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(edge.ask(&get(PODS), b"").await.response(), (200, "free".to_owned()));
    });
}

#[test]
fn the_server_may_change_what_it_speaks() {
    let script = async |visit: &mut Visit| {
        visit.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 8\r\n\r\nHTTP/1.1").await;
        Then::Close
    };
    run(script, async |edge, server| {
        let http1 = [b"http/1.1".to_vec()];
        let both = [b"h2".to_vec(), b"http/1.1".to_vec()];
        for (alpn, spoken) in [
            (&http1[..], "HTTP/1.1"),
            (&[], "HTTP/1.1"),
            (&both, "HTTP/2"),
            (&http1, "HTTP/1.1"),
            (&both, "HTTP/2"),
        ] {
            server.alpn.replace(alpn.to_vec());
            // Connections that are there are still good and are used up first: each carries one more request.
            let mut last = String::new();
            for _ in 0..5 {
                let (status, body) = edge.ask(&get(PODS), b"").await.response();
                assert_eq!(status, 200);
                last = body;
            }
            assert_eq!(last, spoken);
        }
    });
}

/// The reply that ends the waiting.
async fn head(recv: &mut RecvHalf) -> ReplyV1 {
    loop {
        let reply = recv.recv_reply().await.unwrap();
        if reply != ReplyV1::Dispatched {
            return reply;
        }
    }
}
