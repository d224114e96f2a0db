//! The installation's keys as they are at this moment. They are replaced whole, and count for connections made from
//! then on.

use std::sync::Arc;

use arc_swap::ArcSwap;
use hawser_identity::Authorities;

/// Where connections find the authorities, and where the next ones are published.
#[derive(Clone)]
pub struct Keys(Arc<ArcSwap<Authorities>>);

impl Keys {
    /// Starts with these.
    #[must_use]
    pub fn new(authorities: Arc<Authorities>) -> Self {
        Self(Arc::new(ArcSwap::new(authorities)))
    }

    /// The authorities of this moment.
    #[must_use]
    pub fn current(&self) -> Arc<Authorities> {
        self.0.load_full()
    }

    /// Puts `next` in force.
    pub fn publish(&self, next: Arc<Authorities>) {
        self.0.store(next);
    }
}
