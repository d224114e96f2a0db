//! What the watches have been told, and how they are told the rest: own changes after COMMIT, foreign ones from the
//! history. In the ledger's order, each once.

use std::sync::Arc;

use rusqlite::Connection;

use super::rows::{self, Ledger};
use crate::error::StoreError;
use crate::fanout::{Fanout, Subscription};
use crate::metrics::{self, Metrics};
use crate::watch::{Event, Kinds};

/// Feeds the watches of this process.
#[derive(Debug)]
pub(super) struct Feed {
    fanout: Fanout,
    /// Everything up to here was handed out.
    published: u64,
    metrics: Arc<Metrics>,
}

impl Feed {
    pub(super) fn new(queue_max: usize, published: u64, metrics: Arc<Metrics>) -> Self {
        Self { fanout: Fanout::new(queue_max, Arc::clone(&metrics)), published, metrics }
    }

    /// A watch that gets what is not published yet.
    pub(super) fn subscribe(&mut self, kinds: Kinds) -> Result<Subscription, StoreError> {
        self.fanout.subscribe(kinds, self.published)
    }

    /// Whether anybody watches.
    pub(super) fn is_idle(&mut self) -> bool {
        self.fanout.forget_closed();
        self.fanout.is_empty()
    }

    /// Hands out a change of this process, which has been committed right after what is published.
    pub(super) fn publish(&mut self, event: &Event) {
        self.fanout.publish(event);
        self.published = event.revision;
    }

    /// Hands out everything up to `ledger`, as `snapshot` shows it: the commits of other processes.
    pub(super) fn catch_up(&mut self, snapshot: &Connection, ledger: Ledger) -> rusqlite::Result<()> {
        let foreign = ledger.revision.saturating_sub(self.published);
        if foreign == 0 {
            return Ok(());
        }
        if ledger.compacted > self.published {
            let oldest = ledger.compacted;
            self.fanout.end_all(&StoreError::Compacted { asked: self.published, oldest });
        }
        while self.published < ledger.revision && !self.fanout.is_empty() {
            let page = rows::history(snapshot, &Kinds::new(&[]), self.published, ledger.revision)?;
            for event in &page.events {
                self.fanout.publish(event);
            }
            self.published = page.read_up_to;
        }
        self.published = ledger.revision;
        metrics::add(&self.metrics.foreign_changes, foreign);
        Ok(())
    }

    /// Ends every watch: what follows `published` cannot be told.
    pub(super) fn give_up(&mut self, why: &StoreError) {
        self.fanout.end_all(why);
    }
}
