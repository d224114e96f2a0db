//! The table in force: read by every request without a lock, replaced whole by one writer at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use crate::table::Table;

/// A table held for the length of one decision.
pub type Snapshot = Guard<Arc<Table>>;

/// Where requests find the table, and where the next one is published.
#[derive(Debug)]
pub struct PolicyHandle {
    table: ArcSwap<Table>,
    cut_epoch: AtomicU64,
    /// Tables that some request still reads; taken by publishers only, never by a request.
    retired: Mutex<Vec<Arc<Table>>>,
}

/// Replaced tables kept for readers that have not finished. Beyond it the oldest is left to its last reader,
/// which then frees it.
const RETIRED_MAX: usize = 8;

impl PolicyHandle {
    /// Starts with this table.
    #[must_use]
    pub fn new(table: Table) -> Self {
        let cut_epoch = AtomicU64::new(table.cut_epoch());
        Self { table: ArcSwap::from_pointee(table), cut_epoch, retired: Mutex::new(Vec::new()) }
    }

    /// The table in force; a request keeps the one it started with. Takes no lock.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.table.load()
    }

    /// Counts publications. A permit with a lower [`crate::Permit::cut_epoch`] was decided by an older table.
    #[must_use]
    pub fn cut_epoch(&self) -> u64 {
        self.cut_epoch.load(Ordering::Acquire)
    }

    /// Puts `next` in force. Replaced tables are freed here, on the caller's thread, once nobody reads them.
    pub fn publish(&self, mut next: Table) {
        let mut retired = self.retired.lock();
        let epoch = self.cut_epoch.load(Ordering::Relaxed) + 1;
        next.set_cut_epoch(epoch);
        retired.push(self.table.swap(Arc::new(next)));
        // After the swap, so that whoever sees the epoch also finds the table.
        self.cut_epoch.store(epoch, Ordering::Release);
        // A table that only this list holds can get no new reader.
        retired.retain(|table| Arc::strong_count(table) > 1);
        if retired.len() > RETIRED_MAX {
            retired.remove(0);
        }
    }
}
