//! One exchange: both halves, cancellation, flow control, messages.

use std::time::Duration;

use bytes::Bytes;
use hawser_kube::close::CloseReason;
use hawser_tunnel::wire::{BodyDecoder, BodyEvent, ReplyV1, WireError};
use hawser_tunnel::{BodyReader, BodyWriter, LinkConfig, READ_BYTES_MAX, Stopped, StreamError};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{AT_ONCE, Pair, echo, echo_all, fields, read_all, read_exactly, request};

#[tokio::test]
async fn an_exchange_carries_request_marks_head_and_both_bodies() {
    let pair = Pair::new().await;
    let mut edge = pair.edge.open().await.unwrap();
    edge.send.send_request(&request()).await.unwrap();
    edge.send.write(Bytes::from_static(b"hello")).await.unwrap();
    edge.send.finish();

    let mut agent = pair.agent.accept().await.unwrap();
    assert_eq!(agent.recv.recv_request().await.unwrap(), request());
    agent.send.send_reply(&ReplyV1::Dispatched).await.unwrap();
    assert_eq!(read_all(&mut agent.recv).await.unwrap(), b"hello");
    let head = ReplyV1::Head { status: 201, headers: fields("x", "y"), end: false };
    agent.send.send_reply(&head).await.unwrap();
    agent.send.write(Bytes::from_static(b"world")).await.unwrap();
    agent.send.finish();

    assert_eq!(edge.recv.recv_reply().await.unwrap(), ReplyV1::Dispatched);
    assert_eq!(edge.recv.recv_reply().await.unwrap(), head);
    assert_eq!(read_all(&mut edge.recv).await.unwrap(), b"world");
    assert_eq!(edge.recv.read().await.unwrap(), None, "the end stays the end");
}

#[tokio::test]
async fn one_direction_ends_while_the_other_goes_on() {
    let pair = Pair::new().await;
    let (mut edge, mut agent) = pair.stream().await;
    edge.send.finish();
    assert_eq!(agent.recv.read().await.unwrap(), None);
    for _ in 0..3 {
        agent.send.write(Bytes::from_static(b"more")).await.unwrap();
        assert_eq!(read_exactly(&mut edge.recv, 4).await, b"more");
    }
    agent.send.finish();
    assert_eq!(edge.recv.read().await.unwrap(), None);
    assert_eq!(agent.send.stopped().await, Stopped::Delivered);
    assert_eq!(edge.send.write(Bytes::from_static(b"late")).await, Err(StreamError::Ended));
}

#[tokio::test]
async fn a_dropped_exchange_is_cancelled_on_the_far_side_at_once() {
    let pair = Pair::new().await;
    let (edge, mut agent) = pair.stream().await;
    drop(edge);
    let started = Instant::now();
    assert_eq!(agent.recv.read().await, Err(StreamError::Reset(CloseReason::ClientGone)));
    assert_eq!(agent.send.stopped().await, Stopped::Early(StreamError::Stopped(CloseReason::ClientGone)));
    assert!(started.elapsed() < AT_ONCE);
    let written = agent.send.write(Bytes::from_static(b"x")).await;
    assert_eq!(written, Err(StreamError::Stopped(CloseReason::ClientGone)));

    let (mut edge, agent) = pair.stream().await;
    drop(agent);
    assert_eq!(edge.recv.read().await, Err(StreamError::Reset(CloseReason::UpstreamGone)));
}

#[tokio::test]
async fn a_reason_crosses_in_either_direction() {
    let pair = Pair::new().await;
    for reason in [CloseReason::Revoked, CloseReason::LimitReached, CloseReason::Timeout] {
        let (mut edge, mut agent) = pair.stream().await;
        edge.send.reset(&reason);
        assert_eq!(agent.recv.read().await, Err(StreamError::Reset(reason.clone())));
        edge.recv.stop(&reason);
        let stopped = agent.send.stopped().await;
        assert_eq!(stopped, Stopped::Early(StreamError::Stopped(reason.clone())));

        let (mut edge, mut agent) = pair.stream().await;
        agent.send.reset(&reason);
        agent.recv.stop(&reason);
        assert_eq!(edge.recv.read().await, Err(StreamError::Reset(reason.clone())));
        let stopped = edge.send.stopped().await;
        assert_eq!(stopped, Stopped::Early(StreamError::Stopped(reason)));
    }
}

#[tokio::test]
async fn a_waiting_write_ends_when_the_far_side_stops() {
    let pair = Pair::new().await;
    let (mut edge, mut agent) = pair.stream().await;
    let write = edge.send.write(Bytes::from(vec![0; 16 << 20]));
    let stop = async {
        sleep(Duration::from_millis(50)).await;
        agent.recv.stop(&CloseReason::UpstreamGone);
    };
    let (written, ()) = tokio::join!(timeout(AT_ONCE, write), stop);
    assert_eq!(written.unwrap(), Err(StreamError::Stopped(CloseReason::UpstreamGone)));
}

#[tokio::test]
async fn a_refused_stream_says_that_nothing_was_looked_at() {
    let pair = Pair::new().await;
    let mut edge = pair.edge.open().await.unwrap();
    edge.send.send_request(&request()).await.unwrap();
    pair.agent.accept().await.unwrap().refuse();
    assert_eq!(edge.recv.recv_reply().await, Err(StreamError::Refused));
    assert_eq!(edge.send.stopped().await, Stopped::Early(StreamError::Refused));
}

#[tokio::test]
async fn small_packets_are_merged_into_large_reads() {
    let pair = Pair::new().await;
    let (mut edge, mut agent) = pair.stream().await;
    let total = 3 << 20; // fits the window, so that all of it is there before the first read
    edge.send.write(Bytes::from(vec![1; total])).await.unwrap();
    edge.send.finish();
    sleep(Duration::from_millis(300)).await;
    let (mut reads, mut read) = (0, 0);
    while let Some(bytes) = agent.recv.read().await.unwrap() {
        assert!(bytes.len() <= READ_BYTES_MAX);
        reads += 1;
        read += bytes.len();
    }
    assert_eq!(read, total);
    assert!(read / reads >= 32 << 10, "{} bytes per read", read / reads);
}

#[tokio::test]
async fn a_slow_reader_bounds_what_is_on_its_way() {
    const TOTAL: usize = 64 << 20;
    const PIECE: usize = 64 << 10;
    let pair = Pair::new().await;
    let (mut edge, mut agent) = pair.stream().await;
    let (progress, written) = tokio::sync::watch::channel(0);
    let writer = async move {
        for at in 0..TOTAL / PIECE {
            edge.send.write(Bytes::from(vec![u8::try_from(at % 251).unwrap(); PIECE])).await.unwrap();
            progress.send_replace((at + 1) * PIECE);
        }
        edge.send.finish();
        edge
    };
    let reader = async {
        let stream_bytes_max = LinkConfig::agent().stream_bytes_max as usize;
        let mut read = 0;
        loop {
            if read < 4 << 20 {
                sleep(Duration::from_millis(20)).await;
            }
            // Whole pieces only, so the reader may be ahead of it.
            let ahead = written.borrow().saturating_sub(read);
            assert!(ahead <= stream_bytes_max + READ_BYTES_MAX, "{ahead} bytes ahead of the reader");
            let Some(bytes) = agent.recv.read().await.unwrap() else { break };
            for (at, byte) in bytes.iter().enumerate() {
                assert_eq!(usize::from(*byte), (read + at) / PIECE % 251);
            }
            read += bytes.len();
        }
        assert_eq!(read, TOTAL);
    };
    let (_edge, ()) = tokio::join!(writer, reader);
}

#[tokio::test]
async fn a_stalled_stream_does_not_hold_up_others() {
    let pair = Pair::new().await;
    // Nobody reads these eight; each fills its window.
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let (mut edge, agent) = pair.stream().await;
        let write = timeout(Duration::from_millis(200), edge.send.write(Bytes::from(vec![0; 8 << 20])));
        assert!(write.await.is_err(), "the window is finite");
        stalled.push((edge, agent));
    }
    for _ in 0..20 {
        let (mut edge, agent) = pair.stream().await;
        let exchange = async {
            edge.send.write(Bytes::from(vec![7; 1 << 20])).await.unwrap();
            edge.send.finish();
            read_all(&mut edge.recv).await.unwrap()
        };
        let (echoed, answer) = tokio::join!(echo(agent), timeout(10 * AT_ONCE, exchange));
        echoed.unwrap();
        assert_eq!(answer.expect("not held up").len(), 1 << 20);
    }
}

#[tokio::test]
async fn a_read_that_is_given_up_loses_nothing() {
    let pair = Pair::new().await;
    let _agent = echo_all(pair.agent.clone());
    let mut edge = pair.edge.open().await.unwrap();
    let mut answer = Vec::new();
    for _ in 0..200 {
        edge.send.write(Bytes::from_static(b"0123456789")).await.unwrap();
        if let Ok(bytes) = timeout(Duration::from_micros(200), edge.recv.read()).await {
            answer.extend_from_slice(&bytes.unwrap().unwrap());
        }
    }
    edge.send.finish();
    answer.extend(read_all(&mut edge.recv).await.unwrap());
    assert_eq!(answer, b"0123456789".repeat(200));
}

#[tokio::test]
async fn framed_bodies_carry_trailers() {
    let pair = Pair::new().await;
    let (mut edge, mut agent) = pair.stream().await;
    let body = Bytes::from(vec![5; 300_000]);
    let trailers = fields("grpc-status", "0");
    let send = async {
        edge.send.write_framed(body.clone()).await.unwrap();
        edge.send.write_framed(Bytes::new()).await.unwrap();
        edge.send.write_framed(Bytes::from_static(b"end")).await.unwrap();
        edge.send.finish_framed(&trailers).await.unwrap();
    };
    let receive = async {
        let (mut decoder, mut got) = (BodyDecoder::default(), Vec::new());
        loop {
            match agent.recv.read_framed(&mut decoder).await.unwrap() {
                BodyEvent::Data(bytes) => got.extend_from_slice(&bytes),
                BodyEvent::End(fields) => return (got, fields),
            }
        }
    };
    let ((), (got, ended)) = tokio::join!(send, receive);
    assert_eq!(got, [&body[..], b"end"].concat());
    assert_eq!(ended, trailers);
    assert_eq!(agent.recv.read().await.unwrap(), None);
}

#[tokio::test]
async fn bodies_are_read_and_written_the_same_framed_or_raw() {
    let pair = Pair::new().await;
    for framed in [false, true] {
        let (mut edge, agent) = pair.stream().await;
        let trailers = fields("grpc-status", "0");
        let send = async {
            let mut body = BodyWriter::new(&mut edge.send, framed);
            body.write(Bytes::from_static(b"hello ")).await.unwrap();
            body.write(Bytes::from(vec![b'x'; 200_000])).await.unwrap();
            body.finish(&trailers).await.unwrap();
        };
        let receive = async {
            let mut body = BodyReader::new(agent.recv, framed);
            let mut len = 0;
            while let Some(bytes) = body.read().await.unwrap() {
                len += bytes.len();
            }
            assert_eq!(body.read().await.unwrap(), None, "the end stays the end");
            (len, body.take_trailers())
        };
        let ((), (len, got)) = tokio::join!(send, receive);
        assert_eq!(len, 200_006);
        assert_eq!(got, if framed { trailers } else { http::HeaderMap::new() });
        assert_eq!(edge.send.stopped().await, Stopped::Delivered, "framed: {framed}");
    }
}

#[tokio::test]
async fn a_body_or_message_that_stops_halfway_is_truncated() {
    let pair = Pair::new().await;
    let (mut edge, mut agent) = pair.stream().await;
    edge.send.write_framed(Bytes::from_static(b"half")).await.unwrap();
    edge.send.finish();
    let mut decoder = BodyDecoder::default();
    let data = agent.recv.read_framed(&mut decoder).await.unwrap();
    assert_eq!(data, BodyEvent::Data(Bytes::from_static(b"half")));
    assert_eq!(agent.recv.read_framed(&mut decoder).await, Err(StreamError::Truncated));

    let (mut edge, mut agent) = pair.stream().await;
    edge.send.write(Bytes::from_static(&[0, 0, 0, 9, 0])).await.unwrap();
    edge.send.finish();
    assert_eq!(agent.recv.recv_control().await, Err(StreamError::Truncated));
}

#[tokio::test]
async fn the_wrong_message_is_an_error_of_the_stream_only() {
    let pair = Pair::new().await;
    let (mut edge, mut agent) = pair.stream().await;
    edge.send.send_reply(&ReplyV1::Dispatched).await.unwrap();
    let got = agent.recv.recv_request().await;
    assert_eq!(got, Err(StreamError::Wire(WireError::Unexpected { got: 2, expected: 1 })));
    assert!(pair.edge.is_alive());
}

#[tokio::test]
async fn a_message_may_come_in_any_pieces() {
    let pair = Pair::new().await;
    let (mut edge, mut agent) = pair.stream().await;
    let message = hawser_tunnel::wire::encode(&request()).unwrap();
    let send = async {
        for byte in message.chunks(1) {
            edge.send.write(Bytes::copy_from_slice(byte)).await.unwrap();
            tokio::task::yield_now().await;
        }
        edge.send.write(Bytes::from_static(b"body")).await.unwrap();
    };
    let ((), got) = tokio::join!(send, agent.recv.recv_request());
    assert_eq!(got.unwrap(), request());
    assert_eq!(read_exactly(&mut agent.recv, 4).await, b"body");
}
