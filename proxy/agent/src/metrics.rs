//! What the agent counts, and whether it is ready.

use std::sync::atomic::{AtomicU32, Ordering};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// The agent's counters.
pub struct Metrics {
    pub(crate) links: Gauge,
    pub(crate) exchanges: Counter,
    pub(crate) live_exchanges: Gauge,
    pub(crate) replays: Counter,
    pub(crate) token_refusals: Counter,
    general_links: AtomicU32,
}

impl Metrics {
    /// Creates and registers them.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            links: Gauge::default(),
            exchanges: Counter::default(),
            live_exchanges: Gauge::default(),
            replays: Counter::default(),
            token_refusals: Counter::default(),
            general_links: AtomicU32::new(0),
        };
        let agent = registry.sub_registry_with_prefix("hawser_agent");
        agent.register("links", "Links to edges", metrics.links.clone());
        agent.register("exchanges", "Exchanges taken", metrics.exchanges.clone());
        agent.register("live_exchanges", "Exchanges that run now", metrics.live_exchanges.clone());
        agent.register(
            "replays",
            "Requests sent again that the API server had not processed",
            metrics.replays.clone(),
        );
        agent.register(
            "token_refusals",
            "Answers 401 of the API server to the agent's own token",
            metrics.token_refusals.clone(),
        );
        metrics
    }

    /// Can requests reach this agent?
    #[must_use]
    pub fn ready(&self) -> bool {
        self.general_links.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn link_up(&self, general: bool) {
        self.links.inc();
        self.general_links.fetch_add(u32::from(general), Ordering::Relaxed);
    }

    pub(crate) fn link_down(&self, general: bool) {
        self.links.dec();
        self.general_links.fetch_sub(u32::from(general), Ordering::Relaxed);
    }
}
