//! A peer that vanished while bytes were on their way to it. Keepalive does not run then, and `TCP_USER_TIMEOUT` would also
//! end connections whose peer is alive and only does not read (Linux counts zero-window probes against it even when they
//! are answered): so the connection is asked for its last sign of life.

use std::{io, mem, os::fd::RawFd, time::Duration};

use crate::config::{KEEPALIVE_INTERVAL, UNACKNOWLEDGED_MAX};

/// Waits until the peer of the TCP socket `fd` has been silent for [`UNACKNOWLEDGED_MAX`] with bytes unacknowledged. To be
/// awaited only as long as the socket is open; never ends for one that is not TCP.
pub async fn dead_peer(fd: RawFd) {
    loop {
        tokio::time::sleep(KEEPALIVE_INTERVAL).await;
        match silence(fd) {
            Ok(silence) if silence >= UNACKNOWLEDGED_MAX => return,
            Ok(_) => {}
            Err(_) => return std::future::pending().await,
        }
    }
}

/// How long unacknowledged bytes have waited for any answer; zero when there are none.
fn silence(fd: RawFd) -> io::Result<Duration> {
    // SAFETY: tcp_info is plain integers, for which all zeroes is valid.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).map_err(io::Error::other)?;
    // SAFETY: `info` is writable for `length` bytes, and the kernel writes no more than that.
    let result = unsafe {
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let silent = Duration::from_millis(info.tcpi_last_ack_recv.into());
    Ok(if info.tcpi_unacked == 0 { Duration::ZERO } else { silent })
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        net::{TcpListener, TcpStream},
        os::fd::AsRawFd as _,
    };

    use super::*;

    #[test]
    fn a_peer_that_does_not_read_is_alive() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_server, _) = listener.accept().unwrap();
        client.set_nonblocking(true).unwrap();
        while client.write(&[0; 65_536]).is_ok() {}
        std::thread::sleep(Duration::from_secs(2));
        assert!(silence(client.as_raw_fd()).unwrap() < UNACKNOWLEDGED_MAX / 2);
    }

    #[test]
    fn what_is_no_tcp_socket_is_an_error() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(silence(socket.as_raw_fd()).is_err());
    }
}
