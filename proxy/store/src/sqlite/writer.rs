//! The thread that writes: group commit, the watches' source, compaction.
//!
//! Whatever waits in the queue becomes one transaction with one sync; the next one fills up meanwhile, so there is no
//! timer. Answers go out after COMMIT. Changes of other processes are found by polling SQLite's change counter, and by
//! looking at the ledger whenever the write lock is held, so that watches see one order: the ledger's.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

use super::failure;
use super::feed::Feed;
use super::reader::{Answer, check_age, reply};
use super::rows::{self, Ledger};
use crate::change::{Verdict, Write, judge};
use crate::config::Options;
use crate::error::StoreError;
use crate::fanout::Subscription;
use crate::metrics::{self, Metrics};
use crate::object::Object;
use crate::watch::{Event, Kinds};

/// Writes that are made together or not at all, and where their answer goes.
type Asked = (Vec<Write>, Answer<Vec<Object>>);

/// What can be told to the thread.
#[derive(Debug)]
pub(crate) enum Command {
    Write { writes: Vec<Write>, answer: Answer<Vec<Object>> },
    Watch { kinds: Kinds, from: u64, answer: Answer<Subscription> },
    Compact { before: u64, answer: Answer<()> },
}

/// Owner of the connection that writes.
pub(super) struct Writer {
    connection: Connection,
    options: Options,
    metrics: Arc<Metrics>,
    feed: Feed,
    /// SQLite's count of foreign commits when they were last followed.
    data_version: i64,
    /// Following failed and was logged.
    blind: bool,
    /// The disk failed under a write: nothing is written any more.
    broken: Option<StoreError>,
    /// There is superseded history to remove.
    sweeping: bool,
    compact_at: Instant,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        options: Options,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let data_version = rows::data_version(&connection).map_err(failure)?;
        let ledger = rows::ledger(&connection).map_err(failure)?;
        let feed = Feed::new(options.watch_queue_max, ledger.revision, Arc::clone(&metrics));
        let compact_at = options.clock.now() + COMPACT_EVERY;
        let sweeping = false;
        Ok(Self {
            connection,
            options,
            metrics,
            feed,
            data_version,
            blind: false,
            broken: None,
            sweeping,
            compact_at,
        })
    }

    /// Serves until the last handle is dropped; what was queued by then is still done.
    pub(super) fn run(mut self, queue: &Receiver<Command>) {
        loop {
            match queue.recv_timeout(self.pause()) {
                Ok(command) => self.serve(command, queue),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.follow();
            self.compact_if_due();
            self.sweep();
        }
    }

    /// How long to wait for a command before looking round.
    fn pause(&mut self) -> Duration {
        if self.sweeping {
            Duration::ZERO
        } else if self.feed.is_idle() {
            LOOK_ROUND_EVERY
        } else {
            FOLLOW_EVERY
        }
    }

    /// Serves one command; a write together with the writes that wait behind it.
    fn serve(&mut self, first: Command, queue: &Receiver<Command>) {
        let mut next = Some(first);
        while let Some(command) = next.take() {
            match command {
                Command::Write { writes, answer } => {
                    let (batch, other) = gather((writes, answer), queue);
                    self.commit(batch);
                    next = other;
                }
                Command::Watch { kinds, from, answer } => reply(answer, self.watch(kinds, from)),
                Command::Compact { before, answer } => reply(answer, self.compact(before)),
            }
        }
    }

    fn commit(&mut self, batch: Vec<Asked>) {
        let (groups, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let outcome = match &self.broken {
            Some(broken) => Err(broken.clone()),
            None => transact(&mut self.connection, &mut self.feed, &groups, self.options.clock.wall())
                .map_err(|error| self.failed(error)),
        };
        match outcome {
            Ok(done) => {
                metrics::add(&self.metrics.commits, u64::from(!done.events.is_empty()));
                metrics::add(&self.metrics.changes, u64::try_from(done.events.len()).unwrap_or(u64::MAX));
                for event in &done.events {
                    self.feed.publish(event);
                }
                for (answer, result) in answers.into_iter().zip(done.results) {
                    reply(answer, result);
                }
            }
            Err(error) => {
                tracing::warn!(%error, writes = groups.iter().map(Vec::len).sum::<usize>(), "commit failed");
                for answer in answers {
                    reply(answer, Err(error.clone()));
                }
            }
        }
    }

    /// What a failed write transaction means; a failing disk is not written to again.
    fn failed(&mut self, error: rusqlite::Error) -> StoreError {
        let error = failure(error);
        if matches!(error, StoreError::Io { .. }) {
            tracing::error!(%error, "the store takes no more writes");
            self.broken = Some(error.clone());
        }
        error
    }

    fn watch(&mut self, kinds: Kinds, from: u64) -> Result<Subscription, StoreError> {
        let snapshot = self.connection.transaction().map_err(failure)?;
        let ledger = rows::ledger(&snapshot).map_err(failure)?;
        check_age(from, ledger, "resourceVersion")?;
        self.feed.catch_up(&snapshot, ledger).map_err(failure)?;
        self.feed.subscribe(kinds)
    }

    /// Tells the watches what other processes committed.
    fn follow(&mut self) {
        match self.try_follow() {
            Ok(()) => self.blind = false,
            Err(error) => {
                let error = failure(error);
                if !self.blind {
                    tracing::warn!(%error, "cannot follow the changes of other processes");
                }
                self.blind = true;
                if matches!(error, StoreError::Corrupt { .. }) {
                    self.feed.give_up(&error);
                }
            }
        }
    }

    fn try_follow(&mut self) -> rusqlite::Result<()> {
        let data_version = rows::data_version(&self.connection)?;
        if data_version == self.data_version {
            return Ok(());
        }
        let snapshot = self.connection.transaction()?;
        let ledger = rows::ledger(&snapshot)?;
        self.feed.catch_up(&snapshot, ledger)?;
        drop(snapshot);
        self.data_version = data_version;
        Ok(())
    }

    fn compact(&mut self, before: u64) -> Result<(), StoreError> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let newest = raise_floor(&mut self.connection, before).map_err(|error| self.failed(error))?;
        if before > newest {
            return Err(StoreError::invalid(format!(
                "revision {before} is not there yet, the newest is {newest}"
            )));
        }
        self.sweeping = true;
        Ok(())
    }

    /// Gives up history as the options say, and takes up sweeping where another process left it.
    fn compact_if_due(&mut self) {
        let now = self.options.clock.now();
        if now < self.compact_at || self.broken.is_some() {
            return;
        }
        self.compact_at = now + COMPACT_EVERY;
        let wanted = self.floor_wanted().map_err(failure);
        match wanted.and_then(|before| self.compact(before)) {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "compaction put off"),
        }
    }

    fn floor_wanted(&self) -> rusqlite::Result<u64> {
        let ledger = rows::ledger(&self.connection)?;
        let age_ms = i64::try_from(self.options.keep_age.as_millis()).unwrap_or(i64::MAX);
        let cutoff_ms = self.options.clock.wall().as_millisecond().saturating_sub(age_ms);
        let by_age = rows::last_older_than(&self.connection, ledger, cutoff_ms)?;
        let by_count = ledger.revision.saturating_sub(self.options.keep_revisions);
        Ok(by_age.max(by_count))
    }

    /// Removes one window of superseded history, in a transaction of its own: writes go between.
    fn sweep(&mut self) {
        if !self.sweeping || self.broken.is_some() {
            return;
        }
        match sweep_window(&mut self.connection) {
            Ok(more) => self.sweeping = more,
            Err(error) => {
                self.sweeping = false;
                let error = self.failed(error);
                tracing::warn!(%error, "sweeping put off");
            }
        }
    }
}

/// The writes that wait behind `first`, and the command of another sort that ends them.
fn gather(first: Asked, queue: &Receiver<Command>) -> (Vec<Asked>, Option<Command>) {
    let mut writes_count = first.0.len();
    let mut batch = vec![first];
    while writes_count < BATCH_MAX {
        match queue.try_recv() {
            Ok(Command::Write { writes, answer }) => {
                writes_count += writes.len();
                batch.push((writes, answer));
            }
            Ok(other @ (Command::Watch { .. } | Command::Compact { .. })) => return (batch, Some(other)),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
        }
    }
    (batch, None)
}

/// What a committed batch came to, in its order.
struct Done {
    results: Vec<Result<Vec<Object>, StoreError>>,
    events: Vec<Event>,
}

/// Makes all groups of writes in one transaction. An error means that none was made.
fn transact(
    connection: &mut Connection,
    feed: &mut Feed,
    groups: &[Vec<Write>],
    now: Timestamp,
) -> rusqlite::Result<Done> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut ledger = rows::ledger(&transaction)?;
    // With the lock held: what other processes committed before goes to the watches before.
    feed.catch_up(&transaction, ledger)?;
    let mut done = Done { results: Vec::with_capacity(groups.len()), events: Vec::new() };
    for group in groups {
        let savepoint = transaction.savepoint()?;
        let before = done.events.len();
        let made = make(&savepoint, group, ledger.revision, now, &mut done.events)?;
        if made.is_ok() {
            savepoint.commit()?;
            ledger.revision = done.events.last().map_or(ledger.revision, |event| event.revision);
        } else {
            // Dropped, the savepoint is rolled back.
            drop(savepoint);
            done.events.truncate(before);
        }
        done.results.push(made);
    }
    if !done.events.is_empty() {
        rows::set_ledger(&transaction, ledger)?;
    }
    transaction.commit()?;
    Ok(done)
}

/// Makes one group of writes after `revision`, until one of them is refused; `events` gets the changes.
fn make(
    savepoint: &Connection,
    group: &[Write],
    mut revision: u64,
    now: Timestamp,
    events: &mut Vec<Event>,
) -> rusqlite::Result<Result<Vec<Object>, StoreError>> {
    let mut objects = Vec::with_capacity(group.len());
    for write in group {
        let current = match rows::current(savepoint, write.key()) {
            // This one object is damaged.
            Err(error) if error.sqlite_error_code().is_none() => return Ok(Err(failure(error))),
            current => current?,
        };
        match judge(write, current, revision + 1, now) {
            Ok(Verdict::Change { event, text }) => {
                rows::append(savepoint, &event, now.as_millisecond(), &text)?;
                revision = event.revision;
                objects.push(Object::clone(&event.object));
                events.push(event);
            }
            Ok(Verdict::Unchanged(object)) => objects.push(object),
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(objects))
}

/// Makes `before` the oldest revision that can be asked for, if it is later than the one that is, and was reached.
/// Answers the newest revision.
fn raise_floor(connection: &mut Connection, before: u64) -> rusqlite::Result<u64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let ledger = rows::ledger(&transaction)?;
    if before > ledger.compacted && before <= ledger.revision {
        rows::set_ledger(&transaction, Ledger { compacted: before, ..ledger })?;
    }
    transaction.commit()?;
    Ok(ledger.revision)
}

/// Answers whether there is more to remove.
fn sweep_window(connection: &mut Connection) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let ledger = rows::ledger(&transaction)?;
    let to = ledger.compacted.min(ledger.swept + SWEEP_REVISIONS_MAX);
    if ledger.swept < to {
        rows::sweep(&transaction, ledger.swept, to)?;
        rows::set_ledger(&transaction, Ledger { swept: to, ..ledger })?;
    }
    transaction.commit()?;
    Ok(to < ledger.compacted)
}

/// Writes in one transaction; one group of writes may be larger.
const BATCH_MAX: usize = 256;

/// How often to look for changes of other processes while somebody watches.
const FOLLOW_EVERY: Duration = Duration::from_millis(20);

/// How often to look whether compaction is due while nobody watches.
const LOOK_ROUND_EVERY: Duration = Duration::from_secs(1);

/// How often history is given up, by the clock of the options.
const COMPACT_EVERY: Duration = Duration::from_secs(10);

/// Revisions swept in one transaction: some milliseconds of other writes' waiting.
const SWEEP_REVISIONS_MAX: u64 = 1_000;
