//! Sockets: what the options promise, seen from the accepted connection.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hawser_transport::{
    DEAD_PEER_NOTICED_MAX, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES, UNACKNOWLEDGED_MAX,
    bind_udp, listen_tcp, listen_tcp_on_device, tune,
};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn assert_tuned(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    assert!(socket.tcp_nodelay().unwrap());
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
    // It would end connections whose peer is alive and only does not read.
    assert_eq!(socket.tcp_user_timeout().unwrap(), None);
}

#[test]
fn a_dead_peer_is_noticed_in_time_idle_or_not() {
    assert!(KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_PROBES <= DEAD_PEER_NOTICED_MAX);
    assert!(UNACKNOWLEDGED_MAX + KEEPALIVE_INTERVAL <= DEAD_PEER_NOTICED_MAX);
    assert!(DEAD_PEER_NOTICED_MAX <= Duration::from_secs(30));
}

#[tokio::test]
async fn accepted_connections_inherit_the_options() {
    let listener = listen_tcp(ANY_PORT, false).unwrap();
    let (client, accepted) =
        tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    assert_tuned(&accepted.unwrap().0);
    let client = client.unwrap();
    tune(&client).unwrap();
    assert_tuned(&client);
}

#[tokio::test]
async fn workers_share_a_port_and_all_get_connections() {
    let one = listen_tcp(ANY_PORT, true).unwrap();
    let addr = one.local_addr().unwrap();
    let other = listen_tcp(addr, true).unwrap();
    let mut accepted = [0; 2];
    let mut clients = Vec::new();
    for _ in 0..64 {
        clients.push(TcpStream::connect(addr).await.unwrap());
        tokio::select! {
            result = one.accept() => { result.unwrap(); accepted[0] += 1; }
            result = other.accept() => { result.unwrap(); accepted[1] += 1; }
        }
    }
    assert!(accepted.iter().all(|&count| count > 0), "{accepted:?}");
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_the_address() {
    let listener = listen_tcp(ANY_PORT, false).unwrap();
    let addr = listener.local_addr().unwrap();
    let error = listen_tcp(addr, false).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
    let socket = bind_udp(ANY_PORT, false).unwrap();
    let error = bind_udp(socket.local_addr().unwrap(), false).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn the_ipv6_wildcard_takes_ipv4_too() {
    let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
    let listener = listen_tcp(any, true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for local in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let (client, accepted) = tokio::join!(TcpStream::connect((local, port)), listener.accept());
        client.and(accepted).unwrap();
    }
    let udp = bind_udp(any, true).unwrap();
    let sender = bind_udp(ANY_PORT, false).unwrap();
    let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), udp.local_addr().unwrap().port());
    sender.send_to(b"hello", to).unwrap();
    let udp = tokio::net::UdpSocket::from_std(udp).unwrap();
    let mut buf = [0; 16];
    assert_eq!(udp.recv(&mut buf).await.unwrap(), 5);
}

#[tokio::test]
async fn a_wildcard_listener_on_loopback_tells_the_local_addresses_apart() {
    let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let listener = listen_tcp_on_device(any, true, "lo").unwrap();
    let port = listener.local_addr().unwrap().port();
    for local in [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 10, 0, 7)] {
        let (client, accepted) = tokio::join!(TcpStream::connect((local, port)), listener.accept());
        client.unwrap().write_all(b"x").await.unwrap();
        let mut accepted = accepted.unwrap().0;
        assert_eq!(accepted.local_addr().unwrap().ip(), local);
        assert_eq!(accepted.read_u8().await.unwrap(), b'x');
    }
    let error = listen_tcp_on_device(any, true, "no-such-device").unwrap_err();
    assert!(error.to_string().contains("no-such-device"), "{error}");
}
