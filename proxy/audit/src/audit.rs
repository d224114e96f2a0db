//! The handle: what the edge calls for each event. It never waits, takes no lock and touches no disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use hawser_kube::audit_event::Event;
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, OwnedPermit};

use crate::log_file::LogFile;
use crate::writer::{self, Item, Shared, Sink};
use crate::{Config, Counts, Full, OnFull, StartError};

#[cfg(test)]
mod tests;

/// A running audit log. Clones are handles to the same one.
///
/// [`Audit::close`] before the process ends; dropping the last handle also ends the log in an orderly way,
/// but nobody waits for it.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

/// Room for one event, kept until it comes.
pub struct Slot {
    /// None under [`OnFull::Count`] when there was no room.
    permit: Option<OwnedPermit<Item>>,
    audit: Audit,
}

impl Slot {
    /// Hands over the event the slot was kept for.
    pub fn record(self, event: &Event) {
        match self.permit {
            Some(permit) => {
                if let Some(line) = self.audit.line(event) {
                    permit.send(Item::Line(line));
                }
            }
            // Perhaps there is room by now; if not, it is counted.
            None => drop(self.audit.record(event)),
        }
    }
}

struct Inner {
    queue: mpsc::Sender<Item>,
    shared: Arc<Shared>,
    on_full: OnFull,
    /// Free slots at which new requests are refused already.
    reserve: usize,
    /// Taken by the first `close`. Not on the path of a request.
    closer: Mutex<Option<Closer>>,
}

struct Closer {
    /// A slot kept from the start, so that closing never waits for room.
    slot: OwnedPermit<Item>,
    thread: JoinHandle<()>,
}

impl Audit {
    /// Opens the file and starts the thread that writes it.
    ///
    /// # Errors
    /// A key out of range, or a file that cannot be written.
    pub fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        let mut file = LogFile::new(config.path.clone(), config.rotate_bytes, config.rotate_keep);
        if let Err(source) = file.open() {
            return Err(StartError::Open { path: config.path, source });
        }
        Self::start_on(&config, file)
    }

    fn start_on(config: &Config, sink: impl Sink) -> Result<Self, StartError> {
        let (queue, slot, events) = channel(config.queue_max);
        let shared = Arc::new(Shared::default());
        let of_writer = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer::run(events, sink, &of_writer))
            .map_err(StartError::Thread)?;
        Ok(Self(Arc::new(Inner {
            queue,
            shared,
            on_full: config.on_full,
            reserve: config.queue_max / RESERVE_DIVISOR,
            closer: Mutex::new(Some(Closer { slot, thread })),
        })))
    }

    /// Lets a request in: the slot is kept for its last event, however long it runs.
    ///
    /// # Errors
    /// [`Full`] under [`OnFull::Refuse`] when [`Audit::ready`] says no.
    pub fn admit(&self) -> Result<Slot, Full> {
        let permit = if self.ready() { self.0.queue.clone().try_reserve_owned().ok() } else { None };
        if permit.is_none() && self.0.on_full == OnFull::Refuse {
            return Err(Full);
        }
        Ok(Slot { permit, audit: self.clone() })
    }

    /// Hands over an event of somebody who was not let in: it is the first to go when the queue is half full, so that
    /// strangers cannot push out the events of others. What is lost is counted.
    pub fn record_stranger(&self, event: &Event) {
        if self.0.queue.capacity() > self.0.queue.max_capacity() / 2 {
            self.record(event).ok(); // counted there
        } else {
            self.0.shared.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Hands an event to the writer. Events of one caller stay in order.
    ///
    /// # Errors
    /// [`Full`] under [`OnFull::Refuse`] if there is no room (or the log is closed). Under
    /// [`OnFull::Count`] the event is lost and the answer is `Ok`: the request may go on. Both are counted in
    /// [`Audit::dropped`].
    pub fn record(&self, event: &Event) -> Result<(), Full> {
        // Asked first: a line that finds no room need not be made.
        if let Ok(room) = self.0.queue.try_reserve() {
            if let Some(line) = self.line(event) {
                room.send(Item::Line(line));
            }
            return Ok(());
        }
        self.0.shared.counters.dropped.fetch_add(1, Ordering::Relaxed);
        match self.0.on_full {
            OnFull::Refuse => Err(Full),
            OnFull::Count => Ok(()),
        }
    }

    /// The event as it is written. Made where it comes from, since there is one writer for all workers.
    fn line(&self, event: &Event) -> Option<Vec<u8>> {
        let mut line = Vec::with_capacity(USUAL_LINE_BYTES);
        match serde_json::to_writer(&mut line, event) {
            Ok(()) => {
                line.push(b'\n');
                Some(line)
            }
            Err(error) => {
                self.0.shared.counters.dropped.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, audit_id = event.audit_id, "an audit event cannot be encoded");
                None
            }
        }
    }

    /// Whether a new request may be let through. Always under [`OnFull::Count`]. Under [`OnFull::Refuse`] not
    /// while the disk fails, the log is closed, or the queue is full but for an eighth, which is kept for the
    /// further events of requests that were let through.
    #[must_use]
    pub fn ready(&self) -> bool {
        match self.0.on_full {
            OnFull::Count => true,
            OnFull::Refuse => {
                !self.0.shared.failing.load(Ordering::Relaxed)
                    && !self.0.queue.is_closed()
                    && self.0.queue.capacity() > self.0.reserve
            }
        }
    }

    /// Events lost since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counts().dropped
    }

    /// All counters.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.shared.counters.counts()
    }

    /// Writes what was taken and ends the log; later events are dropped and counted. What a failing disk does
    /// not take at the first attempt is dropped and counted too.
    ///
    /// Blocks until the writer is done, for every caller: call it when the workers have ended, or where
    /// blocking is allowed.
    pub fn close(&self) {
        let mut closer = self.0.closer.lock();
        let Some(Closer { slot, thread }) = closer.take() else { return };
        self.0.shared.closing.store(true, Ordering::Release);
        slot.send(Item::Close);
        thread.thread().unpark();
        if thread.join().is_err() {
            tracing::error!("the audit writer panicked");
        }
    }
}

/// A queue with room for so many events, and the slot for its end.
fn channel(events_max: usize) -> (mpsc::Sender<Item>, OwnedPermit<Item>, mpsc::Receiver<Item>) {
    let (queue, items) = mpsc::channel(events_max + 1);
    let slot = queue.clone().try_reserve_owned().expect("a new channel has room");
    (queue, slot, items)
}

/// Under `OnFull::Refuse` one slot in so many is kept for the further events of requests that were let
/// through.
const RESERVE_DIVISOR: usize = 8;
/// Most lines fit without growing.
const USUAL_LINE_BYTES: usize = 1536;
