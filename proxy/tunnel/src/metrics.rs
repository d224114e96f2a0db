//! What the tunnel counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Datagrams that arrived at a worker other than the one that owns their link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HandoverStats {
    /// Handed to their owner.
    pub handed_over: u64,
    /// Dropped because the owner's ring was full; QUIC sends their contents again.
    pub ring_full: u64,
    /// Dropped because the owner is not running.
    pub owner_gone: u64,
}

#[derive(Debug, Default)]
pub(crate) struct HandoverCounters {
    pub(crate) handed_over: AtomicU64,
    pub(crate) ring_full: AtomicU64,
    pub(crate) owner_gone: AtomicU64,
}

impl HandoverCounters {
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> HandoverStats {
        HandoverStats {
            handed_over: self.handed_over.load(Ordering::Relaxed),
            ring_full: self.ring_full.load(Ordering::Relaxed),
            owner_gone: self.owner_gone.load(Ordering::Relaxed),
        }
    }
}
