//! What a store may be told; every bound of the room that an operator could need to move.

use std::sync::Arc;
use std::time::Duration;

use hawser_kube::clock::{Clock, SystemClock};

use crate::error::StoreError;

/// How to run a store. The defaults suit an edge.
#[derive(Clone)]
pub struct Options {
    /// Gives `creationTimestamp`, the age of history and the pace of compaction.
    pub clock: Arc<dyn Clock>,
    /// Commands that may wait, for writes and for reads each; one more is answered [`Busy`](crate::StoreError::Busy).
    pub queue_max: usize,
    /// Events that may wait in one watch; one more ends that watch with [`Lagged`](crate::StoreError::Lagged).
    pub watch_queue_max: usize,
    /// Newest revisions whose history is kept. Older watches and continue tokens are answered
    /// [`Compacted`](crate::StoreError::Compacted).
    pub keep_revisions: u64,
    /// History older than this by the wall clock is dropped even when there is less than `keep_revisions` of it.
    /// A wall clock that jumps forward drops history early (readers list again), one that jumps back keeps it longer.
    pub keep_age: Duration,
    /// Size of the database file, in bytes; a change that needs more is answered [`Full`](crate::StoreError::Full).
    pub file_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            queue_max: 1024,
            watch_queue_max: 1024,
            keep_revisions: 100_000,
            keep_age: Duration::from_secs(60 * 60),
            file_bytes_max: 8 << 30,
        }
    }
}

impl Options {
    /// Whether a store can run with these.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        for (name, value) in [("queue_max", self.queue_max), ("watch_queue_max", self.watch_queue_max)] {
            if !(1..=QUEUE_MAX_MAX).contains(&value) {
                return Err(StoreError::invalid(format!(
                    "{name}: {value} is not within 1 to {QUEUE_MAX_MAX}"
                )));
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("queue_max", &self.queue_max)
            .field("watch_queue_max", &self.watch_queue_max)
            .field("keep_revisions", &self.keep_revisions)
            .field("keep_age", &self.keep_age)
            .field("file_bytes_max", &self.file_bytes_max)
            .finish_non_exhaustive()
    }
}

/// No queue is longer than this: its memory is taken when it is made.
const QUEUE_MAX_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_have_room_for_one_and_an_end() {
        let check =
            |queue_max, watch_queue_max| Options { queue_max, watch_queue_max, ..Options::default() }.check();
        assert_eq!(Options::default().check(), Ok(()));
        assert_eq!(check(1, 1), Ok(()));
        assert_eq!(check(QUEUE_MAX_MAX, QUEUE_MAX_MAX), Ok(()));
        for (queue_max, watch_queue_max) in [(0, 1), (1, 0), (QUEUE_MAX_MAX + 1, 1), (1, QUEUE_MAX_MAX + 1)] {
            assert!(check(queue_max, watch_queue_max).is_err());
        }
    }
}
