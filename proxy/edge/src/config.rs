//! What the edge can be told, and the limits it keeps from the first byte of a connection on.
//!
//! A connection takes the configuration of the moment at which it is accepted and lives under it to its end, so a
//! change is seen whole or not at all.

use std::{fmt, net::SocketAddr, ops::RangeInclusive, sync::Arc, time::Duration};

use arc_swap::ArcSwap;

/// How one edge runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// TCP (HTTPS) and UDP (QUIC) address of clients and agents alike. Fixed once the workers run.
    pub listen: SocketAddr,
    /// Names this edge in audit events and cluster status.
    pub edge_id: String,
    /// Addresses (`host:port`) agents are told to dial.
    pub advertise: Vec<String>,
    /// Lifetime of an agent's certificate.
    pub agent_certificate: Duration,
    /// Also write the `RequestReceived` stage to the audit log.
    pub audit_request_received: bool,
    /// How long running exchanges may go on after a drain began.
    pub drain_timeout: Duration,
    /// Bounds.
    pub limits: Limits,
}

/// The configuration in force. One writer replaces it whole; connections keep the one they started with.
#[derive(Clone)]
pub struct ConfigHandle(Arc<ArcSwap<Config>>);

impl ConfigHandle {
    /// Starts with this configuration.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(config)))
    }

    /// The configuration of this moment.
    #[must_use]
    pub fn current(&self) -> Arc<Config> {
        self.0.load_full()
    }

    /// Puts `next` in force for what begins from here on.
    pub fn publish(&self, next: Config) {
        self.0.store(Arc::new(next));
    }
}

/// Every bound of the edge that can be set. [`Limits::all`] says what each may be and what happens when it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Request line and headers, bytes.
    pub header_bytes_max: usize,
    /// Header fields.
    pub headers_max: usize,
    /// Concurrent streams of one HTTP/2 connection (SETTINGS_MAX_CONCURRENT_STREAMS).
    pub streams_max: u32,
    /// Open client connections in all.
    pub connections_max: usize,
    /// Open client connections of one source address.
    pub connections_per_source_max: usize,
    /// From accept to the end of the TLS handshake, and again for the HTTP/2 preface.
    pub handshake_timeout: Duration,
    /// From the first to the last byte of an HTTP/1.1 head.
    pub head_timeout: Duration,
    /// A connection on which nobody has proved who they are.
    pub unauthenticated_timeout: Duration,
    /// A signed-in connection without a request.
    pub idle_timeout: Duration,
    /// Between two pieces of a request body.
    pub body_wait: Duration,
    /// How long a request waits for a cluster that was connected seconds ago.
    pub route_wait: Duration,
    /// Until the head of the answer, for requests that are not long-running: above the API server's own 60 s.
    pub response_wait: Duration,
    /// Body bytes kept until the agent says that it has taken the request.
    pub replay_bytes_max: usize,
    /// A partial watch event is held back up to this size.
    pub watch_event_bytes_max: usize,
    /// What all clients together may leave untaken.
    pub stalled_bytes_max: usize,
    /// What the clients of one user may leave untaken.
    pub stalled_bytes_per_user_max: usize,
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
            watch_event_bytes_max: 256 * 1024,
            stalled_bytes_max: 1 << 30,
            stalled_bytes_per_user_max: 256 << 20,
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

    /// Every limit with its value, its range, and what happens at it: what files are checked against and what the
    /// configuration reference is made of.
    #[must_use]
    pub fn all(&self) -> Vec<Limit> {
        let Self {
            header_bytes_max,
            headers_max,
            streams_max,
            connections_max,
            connections_per_source_max,
            handshake_timeout,
            head_timeout,
            unauthenticated_timeout,
            idle_timeout,
            body_wait,
            route_wait,
            response_wait,
            replay_bytes_max,
            watch_event_bytes_max,
            stalled_bytes_max,
            stalled_bytes_per_user_max,
        } = self;
        vec![
            Limit::bytes("headerBytesMax", *header_bytes_max, 16 << 10..=16 << 20)
                .at("Request line and headers, in bytes", "431, and over HTTP/1.1 the connection is closed"),
            Limit::count("headersMax", *headers_max, 32..=1024)
                .at("Header fields of a request", "431, and over HTTP/1.1 the connection is closed"),
            Limit::count("streamsMax", *streams_max as usize, 100..=1000)
                .at("Requests at the same time on one HTTP/2 connection", "the client waits"),
            Limit::count("connectionsMax", *connections_max, 1..=1 << 24)
                .at("Open client connections in all", CLOSED_BEFORE_TLS),
            Limit::count("connectionsPerSourceMax", *connections_per_source_max, 1..=1 << 24)
                .at("Open client connections of one source address (IPv6: of one /64)", CLOSED_BEFORE_TLS),
            Limit::time("handshakeTimeout", *handshake_timeout, 100..=60_000).at(
                "For the TLS handshake, and again for the HTTP/2 preface",
                "closed; failed TLS handshakes are counted in `hawser_edge_failed_handshakes_total`",
            ),
            Limit::time("headTimeout", *head_timeout, 100..=120_000)
                .at("From the first to the last byte of an HTTP/1.1 request's head", "closed"),
            Limit::time("unauthenticatedTimeout", *unauthenticated_timeout, 100..=120_000)
                .at("On a connection until somebody has proved who they are", "closed"),
            Limit::time("idleTimeout", *idle_timeout, 1_000..=3_600_000)
                .at("On a signed-in connection without a request", "GOAWAY or closed"),
            Limit::time("bodyWait", *body_wait, 100..=3_600_000)
                .at("Between two pieces of a request's body, unless it is long-running", "408"),
            Limit::time("routeWait", *route_wait, 0..=30_000)
                .at("For a cluster that was connected seconds ago; for any other there is no wait", "503"),
            Limit::time("responseWait", *response_wait, 1_000..=3_600_000).at(
                "For the head of the answer, unless the request is long-running (the API server's own limit is 60s)",
                "504",
            ),
            Limit::bytes("replayBytesMax", *replay_bytes_max, 0..=16 << 20).at(
                "Body kept until the agent has taken the request, so that another agent can take it",
                "the upload waits for the agent",
            ),
            Limit::bytes("watchEventBytesMax", *watch_event_bytes_max, 4 << 10..=16 << 20).at(
                "Part of a watch event that is held back until the event is whole",
                "the event is passed on in pieces",
            ),
            Limit::bytes("stalledBytesMax", *stalled_bytes_max, 4 << 20..=1 << 40).at(
                "What has come for clients that do not take it, in steps of 4Mi for each answer that stands for a second",
                LONGEST_STALLED,
            ),
            Limit::bytes("stalledBytesPerUserMax", *stalled_bytes_per_user_max, 4 << 20..=1 << 40)
                .at("The same for one user", LONGEST_STALLED),
        ]
    }
}

/// One limit: what it is called in the configuration, what it is, and what it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Its name below `limits`.
    pub key: &'static str,
    /// What it is set to.
    pub value: Quantity,
    /// What it may be set to.
    pub range: RangeInclusive<Quantity>,
    /// What is bounded.
    pub what: &'static str,
    /// What happens when the bound is reached.
    pub reached: &'static str,
}

impl Limit {
    fn count(key: &'static str, value: usize, range: RangeInclusive<u64>) -> Self {
        Self::new(key, Quantity::Count(value as u64), range, Quantity::Count)
    }

    fn bytes(key: &'static str, value: usize, range: RangeInclusive<u64>) -> Self {
        Self::new(key, Quantity::Bytes(value as u64), range, Quantity::Bytes)
    }

    /// The range in milliseconds.
    fn time(key: &'static str, value: Duration, range: RangeInclusive<u64>) -> Self {
        Self::new(key, Quantity::Time(value), range, |ms| Quantity::Time(Duration::from_millis(ms)))
    }

    fn new(
        key: &'static str,
        value: Quantity,
        range: RangeInclusive<u64>,
        unit: fn(u64) -> Quantity,
    ) -> Self {
        let range = unit(*range.start())..=unit(*range.end());
        Self { key, value, range, what: "", reached: "" }
    }

    fn at(self, what: &'static str, reached: &'static str) -> Self {
        Self { what, reached, ..self }
    }
}

/// A number with its unit; displayed as it can be written in a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum Quantity {
    /// So many of something.
    Count(u64),
    /// Bytes.
    Bytes(u64),
    /// A time.
    Time(Duration),
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, units) = match self {
            Self::Count(number) => return write!(f, "{number}"),
            Self::Bytes(bytes) => (u128::from(*bytes), BYTE_UNITS),
            Self::Time(time) => (time.as_millis(), TIME_UNITS),
        };
        let whole = |(size, _): &&(u128, &str)| number >= *size && number % size == 0;
        match units.iter().find(whole) {
            Some((size, name)) => write!(f, "{}{name}", number / size),
            None => f.write_str(if matches!(self, Self::Time(_)) { "0s" } else { "0" }),
        }
    }
}

/// From the largest down; the last one divides everything.
const BYTE_UNITS: &[(u128, &str)] =
    &[(1 << 40, "Ti"), (1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki"), (1, "")];
const TIME_UNITS: &[(u128, &str)] =
    &[(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
const LONGEST_STALLED: &str =
    "the answer that stands longest is cut; counted in `hawser_edge_stalled_cuts_total`";
const CLOSED_BEFORE_TLS: &str = "closed before TLS; counted in `hawser_edge_refused_connections_total`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_their_ranges() {
        for limit in Limits::default().all() {
            assert!(limit.range.contains(&limit.value), "{limit:?}");
        }
    }

    #[test]
    fn quantities_read_as_they_are_written() {
        let time = |ms| Quantity::Time(Duration::from_millis(ms)).to_string();
        assert_eq!(
            [time(0), time(100), time(90_000), time(120_000), time(3_600_000)],
            ["0s", "100ms", "90s", "2m", "1h"]
        );
        let bytes = |bytes| Quantity::Bytes(bytes).to_string();
        assert_eq!(
            [bytes(0), bytes(1000), bytes(64 << 10), bytes(100 << 20)],
            ["0", "1000", "64Ki", "100Mi"]
        );
        assert_eq!(Quantity::Count(20_000).to_string(), "20000");
    }

    #[test]
    fn who_took_a_configuration_keeps_it() {
        let config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 8443)),
            edge_id: "edge".to_owned(),
            advertise: Vec::new(),
            agent_certificate: Duration::from_secs(3600),
            audit_request_received: false,
            drain_timeout: Duration::from_secs(30),
            limits: Limits::default(),
        };
        let handle = ConfigHandle::new(config.clone());
        let taken = handle.current();
        handle.publish(Config { limits: Limits { headers_max: 32, ..Limits::default() }, ..config });
        assert_eq!((taken.limits.headers_max, handle.current().limits.headers_max), (256, 32));
    }
}
