//! What an operator can see of the log: counters since the start.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events on disk.
    pub written: u64,
    /// Events lost: no room in the queue, the log was closed, or the disk failed to the end.
    pub dropped: u64,
    /// Failed attempts to write, sync, open or rotate.
    pub disk_errors: u64,
}

/// The same, shared between the handles and the writer.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) written: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) disk_errors: AtomicU64,
}

impl Counters {
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            written: self.written.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            disk_errors: self.disk_errors.load(Ordering::Relaxed),
        }
    }
}
