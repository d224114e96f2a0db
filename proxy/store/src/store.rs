//! The handle: what callers ask of a store, whatever keeps it.
//!
//! Each call hands one command to a bounded queue and awaits its answer, so it works from any executor and any thread.
//! A caller that goes away does not undo its command.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use serde_json::Value;
use tokio::sync::oneshot;

use crate::change::{Change, Write};
use crate::config::Options;
use crate::error::StoreError;
use crate::list::{List, ListOptions};
use crate::metrics::{self, Counters, Metrics};
use crate::object::{Key, Object};
use crate::sqlite::{self, Read, WriterCommand};
use crate::watch::{Kinds, Page, Watch};

/// A store of Kubernetes objects. Clones share it; when the last one is dropped the store's threads end by themselves.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

/// What the handles share: the ways to the two threads.
#[derive(Debug)]
pub(crate) struct Inner {
    writes: SyncSender<WriterCommand>,
    reads: SyncSender<Read>,
    metrics: Arc<Metrics>,
}

/// An answer on its way.
pub(crate) type Answered<T> = oneshot::Receiver<Result<T, StoreError>>;

impl Store {
    /// Opens the store in the file at `path`, which is created (mode 0600) if it is not there. Blocks on the disk.
    /// Other processes may have the same file open and write to it.
    ///
    /// # Errors
    /// [`StoreError::SchemaTooNew`], [`StoreError::NotAStore`], [`StoreError::Corrupt`], [`StoreError::Busy`] if
    /// another process keeps the file locked, [`StoreError::Io`], [`StoreError::Invalid`] for a queue of no length.
    pub fn open(path: &Path, options: Options) -> Result<Self, StoreError> {
        options.check()?;
        let metrics = Arc::<Metrics>::default();
        let (writes, reads) = sqlite::start(path, options, &metrics)?;
        Ok(Self { inner: Arc::new(Inner { writes, reads, metrics }) })
    }

    /// Stores a new object and fills in `metadata.uid`, `creationTimestamp`, `generation` and `resourceVersion`.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`], [`StoreError::Invalid`], [`StoreError::Full`] and those of every call:
    /// [`StoreError::Busy`], [`StoreError::Closed`], [`StoreError::Io`], [`StoreError::Corrupt`].
    pub async fn create(&self, value: Value) -> Result<Object, StoreError> {
        self.write(Change::Create(value)).await
    }

    /// Replaces an object. `metadata.resourceVersion` and `metadata.uid`, where set, must be those of the stored
    /// object. `metadata.generation` rises if anything but metadata and status changes; if nothing changes at all, the
    /// object is answered as it is and there is no new revision.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`], [`StoreError::Replaced`], [`StoreError::Invalid`],
    /// [`StoreError::Full`] and those of every call.
    pub async fn update(&self, value: Value) -> Result<Object, StoreError> {
        self.write(Change::Update(value)).await
    }

    /// Creates an object, or replaces its spec (all but metadata and status), labels and annotations. Preconditions
    /// and the answer to a change of nothing are those of [`Self::update`].
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Replaced`], [`StoreError::Invalid`], [`StoreError::Full`] and those of
    /// every call.
    pub async fn apply(&self, value: Value) -> Result<Object, StoreError> {
        self.write(Change::Apply(value)).await
    }

    /// Deletes an object, if `expected` is given only at that revision. Answers its last state, at the revision of the
    /// deletion.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`], [`StoreError::Full`] and those of every call.
    pub async fn delete(&self, key: &Key, expected: Option<u64>) -> Result<Object, StoreError> {
        self.write(Change::Delete { key: key.clone(), expected }).await
    }

    /// Makes all of these changes, in their order and in one transaction, or none of them. Answers what each of them
    /// alone would answer. Other writes wait meanwhile.
    ///
    /// # Errors
    /// Of the first change that cannot be made.
    pub async fn transact(&self, changes: Vec<Change>) -> Result<Vec<Object>, StoreError> {
        let writes = changes.into_iter().map(Write::try_from).collect::<Result<Vec<_>, _>>()?;
        let (answer, answered) = oneshot::channel();
        self.inner.command(WriterCommand::Write { writes, answer })?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// The object as it is; it shows every write that was answered before.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] and those of every call.
    pub async fn get(&self, key: &Key) -> Result<Object, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.inner.read(Read::Get { key: key.clone(), answer })?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// A page of the objects of `kind`. All pages that continue one another show the state at the first one's
    /// revision.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] if the snapshot of the continue token is gone, [`StoreError::Invalid`] if the token
    /// is not one of this list, and those of every call.
    pub async fn list(&self, kind: &str, options: ListOptions) -> Result<List, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.inner.read(Read::List { kind: kind.to_owned(), options, answer })?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// The newest revision; 0 in a store where nothing was ever written.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn revision(&self) -> Result<u64, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.inner.read(Read::Revision { answer })?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Everything that happened to objects of `kinds` (none named: of all kinds) after revision `from`, and everything
    /// that will. `from` is what a list answered, or the last event's revision.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] if the history after `from` is gone, [`StoreError::Invalid`] if `from` was not
    /// reached yet, and those of every call.
    pub async fn watch(&self, kinds: &[&str], from: u64) -> Result<Watch, StoreError> {
        let kinds = Kinds::new(kinds);
        let (answer, answered) = oneshot::channel();
        self.inner.command(WriterCommand::Watch { kinds: kinds.clone(), from, answer })?;
        let subscription = answered.await.unwrap_or(Err(StoreError::Closed))?;
        Ok(Watch::new(kinds, from, subscription, Arc::downgrade(&self.inner)))
    }

    /// Gives up the history before revision `before`: from the answer on, older continue tokens and watches are
    /// [`StoreError::Compacted`]; the room in the file is won back in small steps after it. Happens by itself as
    /// [`Options::keep_revisions`] and [`Options::keep_age`] say.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if `before` was not reached yet, and those of every call.
    pub async fn compact(&self, before: u64) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.inner.command(WriterCommand::Compact { before, answer })?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// What this process did with the store since it was opened.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner.metrics.read()
    }

    async fn write(&self, change: Change) -> Result<Object, StoreError> {
        self.transact(vec![change]).await?.pop().ok_or(StoreError::Closed)
    }
}

impl Inner {
    /// History for a watch: of the revisions after `after`, up to `until`.
    pub(crate) fn history(&self, kinds: Kinds, after: u64, until: u64) -> Result<Answered<Page>, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.read(Read::History { kinds, after, until, answer })?;
        Ok(answered)
    }

    fn command(&self, command: WriterCommand) -> Result<(), StoreError> {
        self.sent(self.writes.try_send(command), "too many writes are waiting")
    }

    fn read(&self, read: Read) -> Result<(), StoreError> {
        self.sent(self.reads.try_send(read), "too many reads are waiting")
    }

    fn sent<T>(&self, sent: Result<(), TrySendError<T>>, what: &'static str) -> Result<(), StoreError> {
        match sent {
            Ok(()) => Ok(()),
            Err(TrySendError::Disconnected(_)) => Err(StoreError::Closed),
            Err(TrySendError::Full(_)) => {
                metrics::add(&self.metrics.queue_full, 1);
                Err(StoreError::Busy { what })
            }
        }
    }
}
