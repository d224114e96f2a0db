//! The writing end of the watches: one bounded queue each, so that a slow watcher is told and nobody waits for it.

use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::error::StoreError;
use crate::metrics::{self, Metrics};
use crate::watch::{Event, Kinds};

/// Watches that may be open at once; one more is answered [`Busy`](StoreError::Busy).
const WATCHES_MAX: usize = 4096;

/// All open watches. Owned by the thread that learns of changes.
#[derive(Debug)]
pub(crate) struct Fanout {
    watches: Vec<Subscriber>,
    queue_max: usize,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Subscriber {
    kinds: Kinds,
    queue: Sender<Event>,
    fate: Arc<OnceLock<StoreError>>,
}

/// The reading end of one queue.
#[derive(Debug)]
pub(crate) struct Subscription {
    queue: Receiver<Event>,
    fate: Arc<OnceLock<StoreError>>,
    /// Events after this revision come by the queue.
    pub(crate) live_after: u64,
}

impl Subscription {
    /// The next event of the queue; when the queue has ended, why.
    pub(crate) async fn next(&mut self) -> Result<Event, StoreError> {
        match self.queue.recv().await {
            Some(event) => Ok(event),
            None => Err(self.fate.get().cloned().unwrap_or(StoreError::Closed)),
        }
    }
}

impl Fanout {
    pub(crate) fn new(queue_max: usize, metrics: Arc<Metrics>) -> Self {
        Self { watches: Vec::new(), queue_max, metrics }
    }

    /// A new watch of `kinds`; events after `live_after` go to it.
    pub(crate) fn subscribe(&mut self, kinds: Kinds, live_after: u64) -> Result<Subscription, StoreError> {
        self.forget_closed();
        if self.watches.len() >= WATCHES_MAX {
            return Err(StoreError::Busy { what: "too many watches are open" });
        }
        let (sender, queue) = mpsc::channel(self.queue_max);
        let fate = Arc::new(OnceLock::new());
        self.watches.push(Subscriber { kinds, queue: sender, fate: Arc::clone(&fate) });
        Ok(Subscription { queue, fate, live_after })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    pub(crate) fn forget_closed(&mut self) {
        self.watches.retain(|watch| !watch.queue.is_closed());
    }

    /// Hands an event to every watch of its kind; ends the watches that have no room for it.
    pub(crate) fn publish(&mut self, event: &Event) {
        let (queue_max, counters) = (self.queue_max, &self.metrics);
        self.watches.retain(|watch| {
            if !watch.kinds.contain(&event.object.key.kind) {
                return true;
            }
            match watch.queue.try_send(event.clone()) {
                Ok(()) => true,
                Err(TrySendError::Closed(_)) => false,
                Err(TrySendError::Full(_)) => {
                    metrics::add(&counters.watches_lagged, 1);
                    watch.end(StoreError::Lagged { queue_max });
                    false
                }
            }
        });
    }

    /// Ends every watch with `why`, once it has read what is queued.
    pub(crate) fn end_all(&mut self, why: &StoreError) {
        for watch in self.watches.drain(..) {
            watch.end(why.clone());
        }
    }
}

impl Subscriber {
    /// The reader sees this when the queue, whose last sender is dropped next, has been read.
    fn end(&self, why: StoreError) {
        self.fate.get_or_init(|| why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_watch_has_room_and_one_more_does_not_until_one_closes() {
        let mut fanout = Fanout::new(1, Arc::default());
        let subscribe = |fanout: &mut Fanout| fanout.subscribe(Kinds::new(&[]), 0);
        let mut open: Vec<_> = (0..WATCHES_MAX).map(|_| subscribe(&mut fanout).unwrap()).collect();
        assert!(matches!(subscribe(&mut fanout), Err(StoreError::Busy { .. })));
        open.pop();
        assert!(subscribe(&mut fanout).is_ok());
    }
}
