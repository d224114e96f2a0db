//! What the edge can be told, and the limits it keeps from the first byte of a connection on.

use std::{net::SocketAddr, time::Duration};

/// How one edge runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// TCP (HTTPS) and UDP (QUIC) address of clients and agents alike.
    pub listen: SocketAddr,
    /// Names this edge in audit events and cluster status.
    pub edge_id: String,
    /// Addresses (`host:port`) agents are told to dial.
    pub advertise: Vec<String>,
    /// Lifetime of an agent's certificate.
    pub agent_certificate: Duration,
    /// Also write the `RequestReceived` stage to the audit log.
    pub audit_request_received: bool,
    /// Bounds.
    pub limits: Limits,
}

/// Every bound of the edge. Reaching one has a named outcome; see ARCHITECTURE.md, "Queues and bounds".
#[derive(Debug, Clone)]
pub struct Limits {
    /// Request line and headers, bytes; beyond: 431.
    pub header_bytes_max: usize,
    /// Header fields; beyond: 431.
    pub headers_max: usize,
    /// Concurrent streams of one HTTP/2 connection (SETTINGS_MAX_CONCURRENT_STREAMS).
    pub streams_max: u32,
    /// Open client connections in all; beyond: closed before TLS.
    pub connections_max: usize,
    /// Open client connections of one source address; beyond: closed before TLS.
    pub connections_per_source_max: usize,
    /// From accept to the end of the TLS and HTTP/2 handshakes.
    pub handshake_timeout: Duration,
    /// From the first to the last byte of an HTTP/1.1 head.
    pub head_timeout: Duration,
    /// A connection on which nobody has proved who they are.
    pub unauthenticated_timeout: Duration,
    /// A signed-in connection without a request.
    pub idle_timeout: Duration,
    /// Between two pieces of a request body.
    pub body_wait: Duration,
    /// How long a request waits for its cluster to connect.
    pub route_wait: Duration,
    /// Until the head of the answer, for requests that are not long-running: above the API server's own 60 s.
    pub response_wait: Duration,
    /// Body bytes kept until the agent says that it has taken the request.
    pub replay_bytes_max: usize,
    /// How long running exchanges may go on after a drain began.
    pub drain_timeout: Duration,
    /// A partial watch event is held back up to this size.
    pub watch_event_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes_max: 1 << 20,
            headers_max: 256,
            streams_max: 100,
            connections_max: 20_000,
            connections_per_source_max: 2_000,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(32),
            unauthenticated_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(90),
            body_wait: Duration::from_secs(60),
            route_wait: Duration::from_secs(5),
            response_wait: Duration::from_secs(70),
            replay_bytes_max: 64 * 1024,
            drain_timeout: Duration::from_secs(30),
            watch_event_bytes_max: 256 * 1024,
        }
    }
}

impl Limits {
    /// The same bounds in the words of the HTTP/1.1 parser.
    pub(crate) fn http1(&self) -> hawser_http1::Limits {
        hawser_http1::Limits {
            head_bytes_max: self.header_bytes_max,
            headers_max: self.headers_max,
            ..hawser_http1::Limits::default()
        }
    }

    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// The first key out of its range, with the range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let range = |key, got: u128, low: u128, high: u128| {
            if (low..=high).contains(&got) { Ok(()) } else { Err(ConfigError { key, got, low, high }) }
        };
        let ms = |key, value: Duration, low, high| range(key, value.as_millis(), low, high);
        range("header_bytes_max", self.header_bytes_max as u128, 16 << 10, 16 << 20)?;
        range("headers_max", self.headers_max as u128, 32, 1024)?;
        range("streams_max", u128::from(self.streams_max), 100, 1000)?;
        range("connections_max", self.connections_max as u128, 1, 1 << 24)?;
        range("connections_per_source_max", self.connections_per_source_max as u128, 1, 1 << 24)?;
        ms("handshake_timeout", self.handshake_timeout, 100, 60_000)?;
        ms("head_timeout", self.head_timeout, 100, 120_000)?;
        ms("unauthenticated_timeout", self.unauthenticated_timeout, 100, 120_000)?;
        ms("idle_timeout", self.idle_timeout, 1_000, 3_600_000)?;
        ms("body_wait", self.body_wait, 100, 3_600_000)?;
        ms("route_wait", self.route_wait, 0, 30_000)?;
        ms("response_wait", self.response_wait, 1_000, 3_600_000)?;
        range("replay_bytes_max", self.replay_bytes_max as u128, 0, 16 << 20)?;
        ms("drain_timeout", self.drain_timeout, 0, 3_600_000)?;
        range("watch_event_bytes_max", self.watch_event_bytes_max as u128, 4 << 10, 16 << 20)
    }
}

/// A value out of its range.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("limits.{key}: {got} is not between {low} and {high} (durations in ms, sizes in bytes)")]
pub struct ConfigError {
    key: &'static str,
    got: u128,
    low: u128,
    high: u128,
}
