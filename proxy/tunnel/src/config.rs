//! How links behave. The defaults are what edges and agents run with; tests shorten the times.

use std::time::Duration;

/// Parameters of a connection, for the end that uses them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkConfig {
    /// A link without a packet from the far side for so long is lost. The smaller value of both ends
    /// counts.
    pub idle_timeout: Duration,
    /// Silence after which this end asks for a sign of life.
    pub keep_alive: Duration,
    /// Bytes the far side may send on one stream beyond what was read from it. Static for the life
    /// of a connection: 4 MiB carry 27 MB/s at 150 ms.
    pub stream_bytes_max: u32,
    /// Bytes on their way on all streams of a link that the far side has not acknowledged.
    pub unacknowledged_bytes_max: u32,
    /// Bytes that an accepted connection may send beyond what was read, all its streams together, until it is taken into
    /// service as a [`Link`](crate::Link).
    pub stranger_bytes_max: u32,
    /// Streams the far side may have open at first.
    pub peer_streams: u32,
    /// Up to how many that grows while they are in use.
    pub peer_streams_max: u32,
    /// How long [`Link::open`](crate::Link::open) waits for the far side to allow another stream.
    pub open_wait_max: Duration,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// Handshakes an [`Acceptor`](crate::Acceptor) runs at once; further attempts are refused. From half
    /// of it on, attempts must prove their address first, which takes one round trip more.
    pub handshakes_max: usize,
    /// Connections from one source whose far side has not shown yet who it is, their handshakes too; further attempts are
    /// refused. From the second on, attempts must prove their address first.
    pub strangers_per_source_max: usize,
}

impl LinkConfig {
    /// For the end that accepts links and opens the exchanges.
    #[must_use]
    pub const fn edge() -> Self {
        Self {
            idle_timeout: Duration::from_secs(8),
            keep_alive: Duration::from_secs(2),
            stream_bytes_max: 4 << 20,
            unacknowledged_bytes_max: 64 << 20,
            stranger_bytes_max: 256 << 10,
            peer_streams: 4,
            peer_streams_max: 4,
            open_wait_max: Duration::from_secs(2),
            handshake_timeout: Duration::from_secs(5),
            handshakes_max: 64,
            strangers_per_source_max: 16,
        }
    }

    /// For the end that dials and serves the exchanges.
    #[must_use]
    pub const fn agent() -> Self {
        Self { peer_streams: 256, peer_streams_max: 4096, ..Self::edge() }
    }

    pub(crate) fn transport(&self) -> quinn::TransportConfig {
        let mut transport = quinn::TransportConfig::default();
        transport
            .max_idle_timeout(quinn::IdleTimeout::try_from(self.idle_timeout).ok())
            .keep_alive_interval(Some(self.keep_alive))
            .stream_receive_window(self.stream_bytes_max.into())
            // A finite window for the whole connection would let one stream that nobody reads stall
            // all others.
            .receive_window(quinn::VarInt::MAX)
            .send_window(self.unacknowledged_bytes_max.into())
            .max_concurrent_bidi_streams(self.peer_streams.into())
            .max_concurrent_uni_streams(0_u32.into())
            .datagram_receive_buffer_size(None)
            .mtu_discovery_config(Some(quinn::MtuDiscoveryConfig::default()));
        transport
    }
}
