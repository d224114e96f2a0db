//! Counters of one store; whoever renders metrics reads a [`Counters`] now and then.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A reading of a store's counters, each since the store was opened in this process.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Transactions that changed something: one sync of the disk each.
    pub commits: u64,
    /// Changes made by this process; `changes / commits` is what group commit saves.
    pub changes: u64,
    /// Changes of other processes that were seen.
    pub foreign_changes: u64,
    /// Commands answered [`Busy`](crate::StoreError::Busy) because a queue was full.
    pub queue_full: u64,
    /// Watches ended with [`Lagged`](crate::StoreError::Lagged).
    pub watches_lagged: u64,
}

/// Written by the store's threads and handles.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) commits: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) foreign_changes: AtomicU64,
    pub(crate) queue_full: AtomicU64,
    pub(crate) watches_lagged: AtomicU64,
}

impl Metrics {
    pub(crate) fn read(&self) -> Counters {
        Counters {
            commits: self.commits.load(Relaxed),
            changes: self.changes.load(Relaxed),
            foreign_changes: self.foreign_changes.load(Relaxed),
            queue_full: self.queue_full.load(Relaxed),
            watches_lagged: self.watches_lagged.load(Relaxed),
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}
