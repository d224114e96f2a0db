//! The thread behind the queue. It takes what has gathered while the last batch was synced and a little longer, so
//! batches grow with load. A batch that the disk refuses is held and tried again: meanwhile the
//! queue fills, which is what the requests see.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;

use crate::metrics::Counters;

/// What stands in the queue.
pub(crate) enum Item {
    /// An event in JSON, with its line end.
    Line(Vec<u8>),
    /// Nothing comes after it.
    Close,
}

/// What the handles and the writer tell each other.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) counters: Counters,
    /// The last attempt to write failed.
    pub(crate) failing: AtomicBool,
    /// Somebody waits for the end: no more retries.
    pub(crate) closing: AtomicBool,
}

/// Where lines go.
pub(crate) trait Sink: Send + 'static {
    /// Puts `lines` (each with its line end) on disk. `done` counts the bytes of whole lines that are there;
    /// after an error the caller comes back with the rest.
    fn append(&mut self, lines: &[u8], done: &mut usize) -> io::Result<()>;
}

/// Events taken at once; what the writer holds in memory beyond the queue.
const BATCH_EVENTS_MAX: usize = 1024;

/// Pause after a batch that was not full. A sync costs as much for one event as for a hundred, so what comes meanwhile
/// shares the next one.
const GATHER: Duration = Duration::from_millis(5);

/// A buffer that grew beyond this for one batch is given back.
const BUFFER_BYTES_KEPT: usize = 1024 * 1024;

const RETRY_EVERY: Duration = Duration::from_millis(250);

/// Runs until the queue is closed and empty.
pub(crate) fn run(mut queue: Receiver<Item>, mut sink: impl Sink, shared: &Shared) {
    let mut batch = Vec::with_capacity(BATCH_EVENTS_MAX);
    let mut lines = Vec::new();
    let mut losses = Losses::default();
    loop {
        let taken = queue.blocking_recv_many(&mut batch, BATCH_EVENTS_MAX);
        if taken == 0 {
            return;
        }
        for item in batch.drain(..) {
            match item {
                Item::Line(line) => lines.extend_from_slice(&line),
                // Refuses further events; those already in the queue still come.
                Item::Close => queue.close(),
            }
        }
        write_out(&mut lines, &mut sink, &queue, shared);
        losses.report(shared);
        lines.shrink_to(BUFFER_BYTES_KEPT);
        if taken < BATCH_EVENTS_MAX && !shared.closing.load(Ordering::Acquire) {
            thread::park_timeout(GATHER);
        }
    }
}

/// Leaves `lines` empty: written, or, if nobody would wait for another attempt, dropped.
fn write_out(lines: &mut Vec<u8>, sink: &mut impl Sink, queue: &Receiver<Item>, shared: &Shared) {
    while !lines.is_empty() {
        let mut done = 0;
        let outcome = sink.append(lines, &mut done);
        shared.counters.written.fetch_add(count(&lines[..done]), Ordering::Relaxed);
        lines.drain(..done);
        let Err(error) = outcome else {
            if shared.failing.swap(false, Ordering::Relaxed) {
                tracing::info!("the audit log is written again");
            }
            continue;
        };
        shared.counters.disk_errors.fetch_add(1, Ordering::Relaxed);
        if !shared.failing.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "the audit log cannot be written");
        }
        if shared.closing.load(Ordering::Acquire) || queue.is_closed() {
            shared.counters.dropped.fetch_add(count(lines), Ordering::Relaxed);
            lines.clear();
        } else {
            thread::park_timeout(RETRY_EVERY);
        }
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Tells the log when events begin to be lost and when that ends, not each one.
#[derive(Default)]
struct Losses {
    seen: u64,
    /// What had been lost before this spell.
    since: Option<u64>,
}

impl Losses {
    fn report(&mut self, shared: &Shared) {
        let dropped = shared.counters.dropped.load(Ordering::Relaxed);
        match self.since {
            None if dropped > self.seen => {
                tracing::warn!("audit events are being dropped");
                self.since = Some(self.seen);
            }
            Some(before) if dropped == self.seen => {
                tracing::warn!(events = dropped - before, "audit events were dropped");
                self.since = None;
            }
            None | Some(_) => {}
        }
        self.seen = dropped;
    }
}
