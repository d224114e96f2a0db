//! A link whose packets arrive at another worker goes on.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hawser_tunnel::{Acceptor, AcceptorConfig, HandoverHub, LinkConfig};
use tokio::sync::watch;

use crate::support::{Relay, Tls, any_port, dial_to, echo_all, hub, read_exactly, shared_socket};

fn bind(worker: usize, addr: SocketAddr, tls: &Tls, hub: &HandoverHub) -> Acceptor {
    let config = AcceptorConfig {
        socket: shared_socket(addr),
        worker,
        tls: watch::channel(Arc::clone(&tls.server)).1,
        hub: hub.clone(),
        link: LinkConfig::edge(),
    };
    Acceptor::bind(config).unwrap()
}

/// The agent's source port changes in the middle of a request until its packets land on the other
/// worker.
#[tokio::test]
async fn a_request_survives_a_source_port_that_moves_to_another_worker() {
    const REBINDS_MAX: u8 = 32;
    const PIECE: usize = 50_000;
    let (tls, hub) = (Tls::new(), hub(2));
    let mut one = bind(0, any_port(), &tls, &hub);
    let addr = one.local_addr().unwrap();
    let mut other = bind(1, addr, &tls, &hub);
    let relay = Relay::to(addr).await;

    let accepted = async {
        tokio::select! {
            incoming = one.accept() => incoming,
            incoming = other.accept() => incoming,
        }
    };
    let (incoming, agent) = tokio::join!(accepted, dial_to(relay.addr, &tls, LinkConfig::agent()));
    let edge = incoming.unwrap().connection;
    let _agent = echo_all(agent.unwrap());
    let mut stream = edge.open().await.unwrap();
    let ports_before = edge.remote_addr();
    // The kernel picks the worker by the port, so that each change has an even chance.
    let moved = || hub.stats().handed_over > 0;
    for at in (0..REBINDS_MAX).take_while(|_| !moved()) {
        let piece = vec![at; PIECE];
        stream.send.write(Bytes::from(piece.clone())).await.unwrap();
        relay.rebind().await;
        assert_eq!(read_exactly(&mut stream.recv, PIECE).await, piece);
    }
    stream.send.write(Bytes::from_static(b"and on")).await.unwrap();
    assert_eq!(read_exactly(&mut stream.recv, 6).await, b"and on");
    stream.send.finish();
    assert_eq!(stream.recv.read().await.unwrap(), None);
    assert_ne!(edge.remote_addr(), ports_before);
    let stats = hub.stats();
    assert!(stats.handed_over > 0, "{stats:?}");
    assert_eq!(stats.owner_gone, 0);
}

/// What lands on the wrong worker while the right one is gone is dropped, and nobody else suffers.
#[tokio::test]
async fn a_worker_that_is_gone_leaves_the_others_working() {
    let (tls, hub) = (Tls::new(), hub(2));
    let mut one = bind(0, any_port(), &tls, &hub);
    let addr = one.local_addr().unwrap();
    drop(bind(1, addr, &tls, &hub));
    let (incoming, agent) = tokio::join!(one.accept(), dial_to(addr, &tls, LinkConfig::agent()));
    let _agent = echo_all(agent.unwrap());
    let mut stream = incoming.unwrap().connection.open().await.unwrap();
    stream.send.write(Bytes::from_static(b"hello")).await.unwrap();
    assert_eq!(read_exactly(&mut stream.recv, 5).await, b"hello");
}

#[tokio::test]
async fn a_worker_that_does_not_exist_cannot_bind() {
    let (tls, hub) = (Tls::new(), hub(2));
    let config = AcceptorConfig {
        socket: shared_socket(any_port()),
        worker: 2,
        tls: watch::channel(tls.server).1,
        hub,
        link: LinkConfig::edge(),
    };
    assert!(Acceptor::bind(config).is_err());
}
