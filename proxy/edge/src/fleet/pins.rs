//! Whose links stand. A link is good under the pin its certificate was issued for: when another cluster takes the name
//! over, or the cluster is deleted, the pin changes and the links under the former one end, whatever their certificates
//! say.

use std::{cell::RefCell, collections::BTreeSet, convert::Infallible, rc::Rc, time::Duration};

use hawser_identity::AgentIdentity;
use hawser_kube::close::CloseReason;
use hawser_store::{Store, StoreError};
use hawser_tunnel::Connection;

use super::records::{PinRecord, Record as _, read};
use crate::worker::Worker;

/// Connections of a worker that have said whose they are, each until its [`Place`] is dropped.
#[derive(Default)]
pub(crate) struct Pinned(RefCell<Vec<Rc<Entry>>>);

struct Entry {
    cluster: String,
    pin: String,
    connection: Connection,
}

/// A connection's entry.
pub(super) struct Place<'a> {
    all: &'a Pinned,
    entry: Rc<Entry>,
}

impl Pinned {
    /// Enters a connection, whose pin is to be looked at after that: what changes in between ends it.
    pub(super) fn enter(&self, identity: &AgentIdentity, connection: &Connection) -> Place<'_> {
        let AgentIdentity { cluster, pin, replica: _ } = identity.clone();
        let entry = Rc::new(Entry { cluster, pin, connection: connection.clone() });
        self.0.borrow_mut().push(Rc::clone(&entry));
        Place { all: self, entry }
    }

    fn clusters(&self) -> BTreeSet<String> {
        self.0.borrow().iter().map(|entry| entry.cluster.clone()).collect()
    }

    /// Ends the connections of a cluster that do not stand under its pin.
    fn end_others(&self, cluster: &str, pin: Option<&str>) {
        let all = self.0.borrow();
        for entry in all.iter().filter(|it| it.cluster == cluster && Some(it.pin.as_str()) != pin) {
            entry.connection.close(CloseReason::Revoked);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.all.0.borrow_mut().retain(|entry| !Rc::ptr_eq(entry, &self.entry));
    }
}

/// The version of what the cluster is pinned to, if it is.
pub(super) async fn pin(store: &Store, cluster: &str) -> Result<Option<String>, StoreError> {
    Ok(read::<PinRecord>(store, cluster).await?.map(|it| it.version))
}

/// Ends what no longer stands, until the worker ends.
pub(crate) async fn follow(worker: Rc<Worker>) {
    loop {
        let Err(error) = tokio::select! {
            ended = try_follow(&worker) => ended,
            _reason = worker.scope.cancelled() => return,
        };
        tracing::warn!(%error, "the clusters' pins are read anew");
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

async fn try_follow(worker: &Worker) -> Result<Infallible, StoreError> {
    let store = &worker.shared.enrolment.store;
    let mut changes = store.watch(&[PinRecord::KIND], store.revision().await?).await?;
    // What changed before the watch began.
    for cluster in worker.pinned.clusters() {
        worker.pinned.end_others(&cluster, pin(store, &cluster).await?.as_deref());
    }
    loop {
        let cluster = changes.next().await?.object.key.name.clone();
        worker.pinned.end_others(&cluster, pin(store, &cluster).await?.as_deref());
    }
}

/// After the store did not answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);
