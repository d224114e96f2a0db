//! What an operator or the composition root may choose here, and the constants that are not up for
//! choice.

use std::time::Duration;

/// Connections the kernel may queue per listener before the accept loop takes them. The kernel cuts
/// it to `net.core.somaxconn`; a full queue makes clients retry their SYN.
pub const LISTEN_BACKLOG: i32 = 4096;

/// Silence after which the kernel sends the first keepalive probe.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);

/// Time between two keepalive probes.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// Probes that may stay unanswered.
pub const KEEPALIVE_PROBES: u32 = 3;

/// How long sent bytes may stay without any sign of life from the peer; see
/// [`dead_peer`](crate::dead_peer).
pub const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);

/// A peer that vanished is noticed within this time, whether its connection was idle (keepalive) or
/// had bytes in flight ([`dead_peer`](crate::dead_peer)).
pub const DEAD_PEER_NOTICED_MAX: Duration = Duration::from_secs(30);

/// Receive and send buffer asked of the kernel for a UDP socket; it cuts them to
/// `net.core.{r,w}mem_max`. A QUIC endpoint carries every link of its worker through one socket.
pub const UDP_BUFFER_BYTES: usize = 4 << 20;

/// How many workers, and how they are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkersConfig {
    /// Number of worker threads; see [`cores`](crate::cores).
    pub count: usize,
    /// Bind worker `i` to the `i`-th core this process may use.
    pub pin: bool,
    /// Thread name prefix; the kernel shows 15 bytes of `<name>-<i>`.
    pub name: String,
}
