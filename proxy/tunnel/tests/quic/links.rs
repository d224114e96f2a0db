//! Links: how they come about, how they end, how many streams they carry.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hawser_kube::close::CloseReason;
use hawser_tunnel::wire::{ALPN_LINK, Class, Control, DrainV1, HelloV1, StatusV1};
use hawser_tunnel::{
    Acceptor, AcceptorConfig, Link, LinkConfig, LinkError, LinkIdentity, LinkLost, Stopped, StreamError,
};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{
    AT_ONCE, Pair, Relay, Tls, acceptor, any_port, dial_from, dial_to, echo_all, hub, read_all, shared_socket,
};

const IDLE: Duration = Duration::from_millis(600);

fn impatient(config: LinkConfig) -> LinkConfig {
    LinkConfig { idle_timeout: IDLE, keep_alive: IDLE / 4, ..config }
}

#[tokio::test]
async fn the_edge_sees_protocol_and_certificate_of_the_agent() {
    let pair = Pair::new().await;
    assert_eq!(pair.incoming.alpn, ALPN_LINK);
    assert_eq!(pair.incoming.peer_chain.len(), 1);
    assert_eq!(pair.incoming.remote_addr, pair.edge.remote_addr());
    assert!(pair.edge.rtt() > Duration::ZERO);
}

#[tokio::test]
async fn the_agents_own_stream_carries_control_messages() {
    let pair = Pair::new().await;
    let status = StatusV1 {
        agent_version: "1".into(),
        kubernetes_version: "v1.36.0".into(),
        nodes: 3,
        problems: vec![],
    };
    let hello = HelloV1 {
        cluster: "prod".into(),
        replica: "agent-0".into(),
        agent_version: "1".into(),
        kubernetes_version: String::new(),
        nodes: 0,
        class: Class::Bulk,
        capabilities: vec![],
        problems: vec![],
        extensions: vec![],
    };
    let sent = [Control::Hello(hello), Control::Status(status), Control::Drain(DrainV1)];
    let mut agent = pair.agent.open().await.unwrap();
    for (at, control) in sent.iter().enumerate() {
        agent.send.send_control(control).await.unwrap();
        if at == 1 {
            // A message that only a later version knows: kind 99, two bytes.
            agent.send.write(Bytes::from_static(&[0, 0, 0, 4, 0, 99, 1, 2])).await.unwrap();
        }
    }
    agent.send.finish();
    let mut edge = pair.edge.accept().await.unwrap();
    for control in sent {
        assert_eq!(edge.recv.recv_control().await.unwrap(), Some(control));
    }
    assert_eq!(edge.recv.recv_control().await.unwrap(), None);
}

#[tokio::test]
async fn a_link_that_falls_silent_is_lost_with_all_its_streams() {
    let tls = Tls::new();
    let mut acceptor = acceptor(&tls, impatient(LinkConfig::edge()));
    let relay = Relay::to(acceptor.local_addr().unwrap()).await;
    let (incoming, agent) =
        tokio::join!(acceptor.accept(), dial_to(relay.addr, &tls, impatient(LinkConfig::agent())));
    let (edge, agent) = (incoming.unwrap().connection, agent.unwrap());

    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = edge.open().await.unwrap();
        stream.send.write(Bytes::from_static(b"!")).await.unwrap();
        streams.push((stream, agent.accept().await.unwrap()));
    }
    sleep(2 * IDLE).await;
    assert!(edge.is_alive() && agent.is_alive(), "kept alive while the network works");

    relay.fall_silent();
    let started = Instant::now();
    assert_eq!(timeout(IDLE + AT_ONCE, edge.closed()).await.unwrap(), LinkLost::IdleTimeout);
    assert_eq!(timeout(IDLE + AT_ONCE, agent.closed()).await.unwrap(), LinkLost::IdleTimeout);
    for (edge, agent) in &mut streams {
        let lost = StreamError::LinkLost(LinkLost::IdleTimeout);
        assert_eq!(edge.recv.read().await, Err(lost.clone()));
        assert_eq!(edge.send.write(Bytes::from_static(b"x")).await, Err(lost.clone()));
        assert_eq!(edge.send.stopped().await, Stopped::Early(lost.clone()));
        assert_eq!(read_all(&mut agent.recv).await.unwrap_err(), lost);
    }
    assert!(started.elapsed() < IDLE + 2 * AT_ONCE);
    assert_eq!(edge.lost(), Some(LinkLost::IdleTimeout));
    assert_eq!(edge.open().await.unwrap_err(), LinkError::Lost(LinkLost::IdleTimeout));
}

#[tokio::test]
async fn closing_tells_the_far_side_why() {
    let pair = Pair::new().await;
    let (mut edge, mut agent) = pair.stream().await;
    pair.edge.close(CloseReason::Revoked);
    pair.edge.close(CloseReason::Drain);
    let closed = LinkLost::Closed(CloseReason::Revoked);
    assert_eq!(timeout(AT_ONCE, pair.agent.closed()).await.unwrap(), closed);
    assert_eq!(agent.recv.read().await, Err(StreamError::LinkLost(closed.clone())));
    assert_eq!(pair.agent.accept().await.unwrap_err(), LinkError::Lost(closed));
    let closed_here = LinkLost::ClosedHere(CloseReason::Revoked);
    assert_eq!(edge.recv.read().await, Err(StreamError::LinkLost(closed_here.clone())));
    assert_eq!(pair.edge.lost(), Some(closed_here));
}

#[tokio::test]
async fn an_endpoint_closes_all_its_links_and_takes_no_more() {
    let mut pair = Pair::new().await;
    let addr = pair.acceptor.local_addr().unwrap();
    let ((), lost) = tokio::join!(pair.acceptor.close(&CloseReason::Shutdown), pair.agent.closed());
    assert_eq!(lost, LinkLost::Closed(CloseReason::Shutdown));
    assert!(pair.acceptor.accept().await.is_none());
    let short = LinkConfig { handshake_timeout: AT_ONCE, ..LinkConfig::agent() };
    assert!(matches!(dial_to(addr, &Tls::new(), short).await, Err(LinkError::Handshake(_))));
}

#[tokio::test]
async fn a_link_ends_with_its_last_holder() {
    let pair = Pair::new().await;
    let Pair { edge, agent, incoming, acceptor: _acceptor } = pair;
    drop(incoming);
    drop(edge);
    assert_eq!(timeout(AT_ONCE, agent.closed()).await.unwrap(), LinkLost::Closed(CloseReason::LinkLost));
}

#[tokio::test]
async fn handshakes_fail_in_time_and_say_why() {
    let short = LinkConfig { handshake_timeout: AT_ONCE, ..LinkConfig::agent() };
    // Nobody answers.
    let silent = shared_socket(any_port());
    let tls = Tls::new();
    let refused =
        timeout(3 * AT_ONCE, dial_to(silent.local_addr().unwrap(), &tls, short.clone())).await.unwrap();
    assert!(matches!(&refused, Err(LinkError::Handshake(why)) if why.contains("no answer")), "{refused:?}");

    let mut acceptor = acceptor(&tls, LinkConfig::edge());
    let addr = acceptor.local_addr().unwrap();
    let strangers = [(Tls::with_client_alpn(b"other/1"), "protocol"), (Tls::new(), "certificate")];
    let attempts = async {
        for (stranger, why) in &strangers {
            let refused = dial_to(addr, stranger, short.clone()).await;
            assert!(matches!(refused, Err(LinkError::Handshake(_))), "{why}: {refused:?}");
        }
        dial_to(addr, &tls, short).await.unwrap()
    };
    let (accepted, _agent) = tokio::join!(acceptor.accept(), attempts);
    assert!(accepted.unwrap().connection.is_alive());
}

/// Three that cannot be reached at their address knock first; who can be, at the same address, must find room.
async fn reached_beside_the_unreachable(edge: LinkConfig) {
    let tls = Tls::new();
    let mut acceptor = acceptor(&tls, edge);
    let addr = acceptor.local_addr().unwrap();
    let relay = Relay::to(addr).await;
    relay.swallow_answers_after(0);
    let short = LinkConfig { handshake_timeout: 2 * AT_ONCE, ..LinkConfig::agent() };
    let unreachable = || dial_to(relay.addr, &tls, short.clone());
    let reachable = async {
        sleep(AT_ONCE / 2).await;
        dial_to(addr, &tls, short.clone()).await
    };
    let ((one, other, third, reachable), _incoming) = tokio::join!(
        async { tokio::join!(unreachable(), unreachable(), unreachable(), reachable) },
        acceptor.accept(),
    );
    for outcome in [one, other, third] {
        assert!(matches!(outcome, Err(LinkError::Handshake(_))), "{outcome:?}");
    }
    assert!(reachable.expect("there was room").is_alive());
}

#[tokio::test]
async fn who_cannot_be_reached_takes_no_more_than_half_the_room() {
    let edge = LinkConfig { handshake_timeout: 4 * AT_ONCE, handshakes_max: 2, ..LinkConfig::edge() };
    reached_beside_the_unreachable(edge).await;
}

#[tokio::test]
async fn forged_addresses_do_not_use_up_the_share_of_their_holder() {
    let edge = LinkConfig { strangers_per_source_max: 2, ..LinkConfig::edge() };
    reached_beside_the_unreachable(edge).await;
}

#[tokio::test]
async fn beyond_the_room_for_handshakes_all_are_refused_until_it_is_free() {
    let tls = Tls::new();
    let edge = LinkConfig { handshake_timeout: 3 * AT_ONCE, handshakes_max: 2, ..LinkConfig::edge() };
    let mut acceptor = acceptor(&tls, edge);
    let addr = acceptor.local_addr().unwrap();
    let short = LinkConfig { handshake_timeout: 2 * AT_ONCE, ..LinkConfig::agent() };
    let stuck = async |answers| {
        let relay = Relay::to(addr).await;
        relay.swallow_answers_after(answers);
        assert!(dial_to(relay.addr, &tls, short.clone()).await.is_err());
    };
    let dialling = async {
        // One takes half the room, one proves its address before it falls silent and takes the rest.
        tokio::join!(stuck(0), stuck(1), async {
            sleep(AT_ONCE).await;
            let refused = timeout(AT_ONCE, dial_to(addr, &tls, short.clone())).await.expect("at once");
            assert!(
                matches!(&refused, Err(LinkError::Handshake(why)) if why.contains("refused")),
                "{refused:?}"
            );
        });
        sleep(2 * AT_ONCE).await;
        dial_to(addr, &tls, short.clone()).await
    };
    let (agent, incoming) = tokio::join!(dialling, acceptor.accept());
    assert!(agent.unwrap().is_alive() && incoming.unwrap().connection.is_alive());
}

#[tokio::test]
async fn strangers_of_one_source_leave_room_for_others() {
    let tls = Tls::new();
    let mut acceptor = acceptor(&tls, LinkConfig { strangers_per_source_max: 2, ..LinkConfig::edge() });
    let addr = acceptor.local_addr().unwrap();
    let short = LinkConfig { handshake_timeout: 2 * AT_ONCE, ..LinkConfig::agent() };
    let dial = |from: &'static str| dial_from(from.parse().unwrap(), addr, &tls, short.clone());
    let mut strangers = Vec::new();
    for _ in 0..2 {
        let (incoming, agent) = tokio::join!(acceptor.accept(), dial("127.0.0.1:0"));
        strangers.push((incoming.unwrap(), agent.unwrap()));
    }
    let (incoming, other) = tokio::join!(acceptor.accept(), dial("127.0.0.2:0"));
    assert_eq!(incoming.unwrap().remote_addr.ip().to_string(), "127.0.0.2");
    assert!(other.unwrap().is_alive());
    let refused = tokio::select! {
        refused = dial("127.0.0.1:0") => refused,
        taken = acceptor.accept() => panic!("taken: {taken:?}"),
    };
    assert!(matches!(&refused, Err(LinkError::Handshake(why)) if why.contains("refused")), "{refused:?}");
    let (known, _agent) = strangers.remove(0);
    drop(known.place);
    let (incoming, agent) = tokio::join!(acceptor.accept(), dial("127.0.0.1:0"));
    assert!(incoming.unwrap().connection.is_alive() && agent.unwrap().is_alive());
    assert!(known.connection.is_alive(), "who is known stays");
}

#[tokio::test]
async fn streams_are_limited_and_the_limit_frees_up() {
    let agent = LinkConfig { peer_streams: 2, peer_streams_max: 2, ..LinkConfig::agent() };
    let edge = LinkConfig { open_wait_max: Duration::from_millis(100), ..LinkConfig::edge() };
    let pair = Pair::with(edge, agent).await;
    let one = pair.stream().await;
    let _other = pair.stream().await;
    assert_eq!(pair.edge.open().await.unwrap_err(), LinkError::StreamLimit);
    assert!(pair.edge.is_alive());
    drop(one);
    let _third = timeout(AT_ONCE, pair.stream()).await.expect("room again");
}

#[tokio::test]
async fn an_agent_may_open_four_streams() {
    let agent = LinkConfig { open_wait_max: Duration::from_millis(100), ..LinkConfig::agent() };
    let pair = Pair::with(LinkConfig::edge(), agent).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(pair.agent.open().await.unwrap());
    }
    assert_eq!(pair.agent.open().await.unwrap_err(), LinkError::StreamLimit);
}

#[tokio::test]
async fn the_limit_grows_with_use_up_to_its_bound() {
    let agent = LinkConfig { peer_streams: 4, peer_streams_max: 16, ..LinkConfig::agent() };
    let edge = LinkConfig { open_wait_max: Duration::from_millis(300), ..LinkConfig::edge() };
    let pair = Pair::with(edge, agent).await;
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(pair.stream().await);
    }
    assert_eq!(pair.edge.open().await.unwrap_err(), LinkError::StreamLimit);
}

#[tokio::test]
async fn hundreds_of_exchanges_share_a_link() {
    let pair = Pair::new().await;
    let _agent = echo_all(pair.agent.clone());
    let mut exchanges = tokio::task::JoinSet::new();
    for at in 0..1000_u32 {
        let edge = pair.edge.clone();
        exchanges.spawn(async move {
            let mut stream = edge.open().await.unwrap();
            let sent = at.to_be_bytes().repeat(100);
            stream.send.write(Bytes::from(sent.clone())).await.unwrap();
            stream.send.finish();
            assert_eq!(read_all(&mut stream.recv).await.unwrap(), sent);
        });
    }
    while let Some(done) = exchanges.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn new_tls_counts_for_new_links() {
    let (before, after) = (Tls::new(), Tls::new());
    let (renew, tls) = watch::channel(Arc::clone(&before.server));
    let socket = shared_socket(any_port());
    let config = AcceptorConfig { socket, worker: 0, tls, hub: hub(1), link: LinkConfig::edge() };
    let mut acceptor = Acceptor::bind(config).unwrap();
    let addr = acceptor.local_addr().unwrap();
    let (dialled, first) = tokio::join!(dial_to(addr, &before, LinkConfig::agent()), acceptor.accept());
    let (dialled, _first) = (dialled.unwrap(), first.unwrap());

    renew.send_replace(Arc::clone(&after.server));
    let (renewed, _second) = tokio::join!(dial_to(addr, &after, LinkConfig::agent()), acceptor.accept());
    assert!(renewed.is_ok(), "{renewed:?}");
    let refused = tokio::select! {
        refused = dial_to(addr, &before, LinkConfig::agent()) => refused,
        _none = acceptor.accept() => panic!("the old authority is not trusted"),
    };
    assert!(matches!(refused, Err(LinkError::Handshake(_))), "{refused:?}");
    assert!(timeout(AT_ONCE, dialled.closed()).await.is_err(), "links that are there go on");
}

#[tokio::test]
async fn a_stranger_cannot_fill_the_memory_of_the_edge() {
    let (tls, one_stream) = (Tls::new(), Bytes::from(vec![0; 1 << 20]));
    let mut acceptor = acceptor(&tls, LinkConfig::edge());
    let addr = acceptor.local_addr().unwrap();
    let (agent, incoming) = tokio::join!(dial_to(addr, &tls, LinkConfig::agent()), acceptor.accept());
    let (agent, incoming) = (agent.unwrap(), incoming.unwrap());
    let mut stream = agent.open().await.unwrap();
    let mut written = pin!(stream.send.write(one_stream));
    assert!(timeout(AT_ONCE, &mut written).await.is_err(), "nobody knows who this is");

    let identity =
        LinkIdentity { cluster: "demo".into(), replica: "one".into(), class: Class::General, worker: 0 };
    let _in_service = Link::new(incoming.connection, identity);
    assert_eq!(timeout(AT_ONCE, written).await, Ok(Ok(())));
}
