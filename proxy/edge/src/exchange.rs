//! A live exchange: everything needed to judge it again at any moment, and the registry of those that run here.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use hawser_kube::{close::CloseReason, request_info::RequestAttributes, status::Status};
use hawser_policy::{Permit, Subject};
use hawser_transport::Scope;

use crate::{conn::Conn, error::EdgeError};

/// One permitted exchange. Dropping it takes it out of the registry.
pub(crate) struct Exchange {
    pub(crate) conn: Rc<Conn>,
    pub(crate) id: [u8; 16],
    pub(crate) subject: Subject,
    pub(crate) attrs: RequestAttributes,
    pub(crate) permit: Permit,
    /// Cancelled when this exchange must end.
    pub(crate) scope: Scope,
    /// The cluster's prefix for user names, `hawser:` unless the Cluster says otherwise.
    pub(crate) user: String,
}

/// Live exchanges of a worker: id → how to end it.
#[derive(Default)]
pub(crate) struct Exchanges(HashMap<[u8; 16], Scope>);

impl Exchanges {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends every exchange.
    pub(crate) fn cancel_all(&self, reason: &CloseReason) {
        for scope in self.0.values() {
            scope.cancel(reason.clone());
        }
    }
}

impl Exchange {
    /// Enters the registry.
    pub(crate) fn open(
        conn: &Rc<Conn>,
        subject: Subject,
        attrs: RequestAttributes,
        permit: Permit,
        id: [u8; 16],
    ) -> Result<Self, EdgeError> {
        let table = conn.worker.shared.policy.snapshot();
        let Some(cluster) = table.cluster(permit.cluster()) else {
            return Err(Status::not_found(format!("cluster {} was removed", permit.cluster())).into());
        };
        let user = format!("{}{}", cluster.user_prefix, subject.user);
        let scope = conn.scope.child();
        conn.worker.live.borrow_mut().0.insert(id, scope.clone());
        conn.worker.shared.metrics.live_exchanges.inc();
        Ok(Self { conn: Rc::clone(conn), id, subject, attrs, permit, scope, user })
    }

    /// Waits until this exchange must end. Watches end when a drain begins, since clients resume them elsewhere; the
    /// others may go on until the drain's time is up.
    pub(crate) async fn cut(&self) -> CloseReason {
        if !self.attrs.is_watch() {
            return self.scope.cancelled().await;
        }
        tokio::select! {
            reason = self.scope.cancelled() => reason,
            reason = self.conn.worker.drain.cancelled() => reason,
        }
    }

    pub(crate) fn cluster(&self) -> &Arc<str> {
        &self.conn.host.cluster
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.conn.worker.live.borrow_mut().0.remove(&self.id);
        self.conn.worker.shared.metrics.live_exchanges.dec();
    }
}
