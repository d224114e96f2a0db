//! A watch: everything that happened after a revision, in order, then everything that happens.
//!
//! It first reads the history between the revision asked for and the moment it was registered, page by page, while
//! new events already queue; then it reads the queue. A watch holds no handle: it ends when the store does.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};

use crate::error::StoreError;
use crate::fanout::Subscription;
use crate::object::Object;
use crate::store::{Answered, Inner};

/// What happened to an object.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EventKind {
    /// It was created.
    Added,
    /// It was changed.
    Modified,
    /// It was deleted; the event carries its last state.
    Deleted,
}

impl EventKind {
    /// As a Kubernetes watch event says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One change, as a watch tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The object after it; of a deletion the last state, at the deletion's revision. Shared by all watches.
    pub object: Arc<Object>,
    /// When, on the store's counter; strictly rising within a watch.
    pub revision: u64,
}

/// Changes after a revision. Made by [`Store::watch`](crate::Store::watch).
#[derive(Debug)]
pub struct Watch {
    kinds: Kinds,
    subscription: Subscription,
    /// History up to here was read; what follows `subscription.live_after` comes by the queue.
    read_up_to: u64,
    page: VecDeque<Event>,
    asked: Option<Answered<Page>>,
    store: Weak<Inner>,
}

impl Watch {
    pub(crate) fn new(kinds: Kinds, from: u64, subscription: Subscription, store: Weak<Inner>) -> Self {
        Self { kinds, subscription, read_up_to: from, page: VecDeque::new(), asked: None, store }
    }

    /// The next event; waits for it. Cancel safe.
    ///
    /// # Errors
    /// [`StoreError::Lagged`], [`StoreError::Compacted`], [`StoreError::Corrupt`] and [`StoreError::Closed`] end the
    /// watch: the same answer again whenever asked. After [`StoreError::Busy`] and [`StoreError::Io`] it goes on where
    /// it was.
    pub async fn next(&mut self) -> Result<Event, StoreError> {
        loop {
            if let Some(event) = self.page.pop_front() {
                return Ok(event);
            }
            if self.read_up_to >= self.subscription.live_after {
                return self.subscription.next().await;
            }
            let page = self.read_page().await?;
            self.read_up_to = page.read_up_to;
            self.page = page.events.into();
        }
    }

    /// The next page of history. A page that was asked for by a call that was dropped is not asked for again.
    async fn read_page(&mut self) -> Result<Page, StoreError> {
        let asked = match &mut self.asked {
            Some(asked) => asked,
            None => {
                let store = self.store.upgrade().ok_or(StoreError::Closed)?;
                let (after, until) = (self.read_up_to, self.subscription.live_after);
                self.asked.insert(store.history(self.kinds.clone(), after, until)?)
            }
        };
        let page = asked.await.unwrap_or(Err(StoreError::Closed));
        self.asked = None;
        page
    }
}

/// A page of history: the events among the rows that were read, and how far that was.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) events: Vec<Event>,
    pub(crate) read_up_to: u64,
}

/// The kinds a watch wants; none named means all.
#[derive(Clone, Debug)]
pub(crate) struct Kinds(Arc<[String]>);

impl Kinds {
    pub(crate) fn new(kinds: &[&str]) -> Self {
        Self(kinds.iter().map(|kind| (*kind).to_owned()).collect())
    }

    pub(crate) fn contain(&self, kind: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|wanted| wanted == kind)
    }
}
