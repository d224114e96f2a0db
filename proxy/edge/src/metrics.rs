//! What the edge counts. Registered once; the exposition lives on the health listener.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// Labels of the exchange counter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ExchangeLabels {
    /// The cluster asked for.
    pub(crate) cluster: String,
    /// By the answer's status, or `Cut` when the response did not come to its end.
    pub(crate) outcome: Outcome,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Outcome {
    Informational,
    Success,
    Redirection,
    ClientError,
    ServerError,
    Cut,
}

/// The edge's counters and gauges.
pub struct Metrics {
    pub(crate) connections: Gauge,
    pub(crate) refused_connections: Counter,
    pub(crate) accept_errors: Counter,
    pub(crate) failed_handshakes: Counter,
    pub(crate) malformed_heads: Counter,
    pub(crate) live_exchanges: Gauge,
    pub(crate) exchanges: Family<ExchangeLabels, Counter>,
    pub(crate) seconds: Histogram,
    pub(crate) retries: Counter,
    pub(crate) cut_sessions: Counter,
    pub(crate) stalled_cuts: Counter,
    pub(crate) links: Gauge,
    pub(crate) refused_links: Counter,
}

impl Metrics {
    /// Creates and registers them.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            connections: Gauge::default(),
            refused_connections: Counter::default(),
            accept_errors: Counter::default(),
            failed_handshakes: Counter::default(),
            malformed_heads: Counter::default(),
            live_exchanges: Gauge::default(),
            exchanges: Family::default(),
            seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            retries: Counter::default(),
            cut_sessions: Counter::default(),
            stalled_cuts: Counter::default(),
            links: Gauge::default(),
            refused_links: Counter::default(),
        };
        let edge = registry.sub_registry_with_prefix("hawser_edge");
        edge.register("connections", "Open client connections", metrics.connections.clone());
        edge.register(
            "refused_connections",
            "Client connections closed before TLS because a budget was used up",
            metrics.refused_connections.clone(),
        );
        edge.register("accept_errors", "Failed accepts", metrics.accept_errors.clone());
        edge.register("failed_handshakes", "TLS handshakes not completed", metrics.failed_handshakes.clone());
        edge.register(
            "malformed_heads",
            "Request heads that could not be parsed",
            metrics.malformed_heads.clone(),
        );
        edge.register("live_exchanges", "Exchanges that run now", metrics.live_exchanges.clone());
        edge.register("exchanges", "Exchanges by cluster and outcome", metrics.exchanges.clone());
        edge.register("exchange_seconds", "From head to end of short exchanges", metrics.seconds.clone());
        edge.register("retries", "Exchanges moved to another link", metrics.retries.clone());
        edge.register("cut_sessions", "Upgraded sessions ended by the edge", metrics.cut_sessions.clone());
        edge.register(
            "stalled_cuts",
            "Exchanges cut because clients left too much untaken",
            metrics.stalled_cuts.clone(),
        );
        edge.register("links", "Connected links of agents", metrics.links.clone());
        edge.register(
            "refused_links",
            "Agents' connections that were refused",
            metrics.refused_links.clone(),
        );
        metrics
    }
}
