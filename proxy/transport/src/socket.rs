//! Listeners, UDP sockets and the options of TCP connections: the only place that sets any.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::config::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES, LISTEN_BACKLOG, UDP_BUFFER_BYTES};

/// Listens for TCP connections; `[::]` takes IPv4 as well.
///
/// With `reuse_port` several workers may listen on the same address and the kernel spreads
/// connections over them. Accepted connections inherit what [`tune`] sets.
///
/// # Errors
/// Those of the operating system, with the address in the message. Must be called inside a runtime.
pub fn listen_tcp(addr: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    listen(addr, reuse_port, None).map_err(|e| at("listen on", addr, &e))
}

/// Like [`listen_tcp`], for connections that arrive through one network device only: a wildcard
/// listener on `lo` serves every loopback address without being reachable from outside.
///
/// # Errors
/// As [`listen_tcp`]; also where the device does not exist.
pub fn listen_tcp_on_device(addr: SocketAddr, reuse_port: bool, device: &str) -> io::Result<TcpListener> {
    listen(addr, reuse_port, Some(device)).map_err(|e| at(&format!("listen on {device}"), addr, &e))
}

/// Binds a UDP socket for QUIC, non-blocking, with large buffers; `[::]` takes IPv4 as well.
///
/// # Errors
/// Those of the operating system, with the address in the message.
pub fn bind_udp(addr: SocketAddr, reuse_port: bool) -> io::Result<UdpSocket> {
    udp(addr, reuse_port).map_err(|e| at("bind UDP", addr, &e))
}

/// Sets the options of a connection: no Nagle delay, and a dead peer is noticed within
/// [`DEAD_PEER_NOTICED_MAX`](crate::DEAD_PEER_NOTICED_MAX). Needed for connections we dial.
///
/// # Errors
/// Those of the operating system: the connection is gone already.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    set_options(&SockRef::from(stream))
}

fn listen(addr: SocketAddr, reuse_port: bool, device: Option<&str>) -> io::Result<TcpListener> {
    let socket = open(addr, Type::STREAM, Protocol::TCP)?;
    // A restarted process takes the address over while old connections are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    if let Some(device) = device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    // Linux copies these to each accepted socket: set once here, they cost no system call there.
    set_options(&SockRef::from(&socket))?;
    socket.bind(&addr.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn udp(addr: SocketAddr, reuse_port: bool) -> io::Result<UdpSocket> {
    let socket = open(addr, Type::DGRAM, Protocol::UDP)?;
    socket.set_reuse_port(reuse_port)?;
    socket.set_recv_buffer_size(UDP_BUFFER_BYTES)?;
    socket.set_send_buffer_size(UDP_BUFFER_BYTES)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn open(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if addr.is_ipv6() {
        // The system default (`net.ipv6.bindv6only`) must not decide whether IPv4 clients get in.
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    Ok(socket)
}

fn set_options(socket: &SockRef<'_>) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_nodelay(true)
}

fn at(what: &str, addr: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {addr}: {error}"))
}
