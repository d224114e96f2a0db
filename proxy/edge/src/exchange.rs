//! A live exchange: everything needed to judge it again at any moment, and the registry of those that run here. Whatever
//! would not be allowed now is ended, when the policy changes and when a credential runs out.

use std::{collections::HashMap, pin::pin, rc::Rc, sync::Arc, time::Duration};

use hawser_kube::{close::CloseReason, request_info::RequestAttributes, status::Status};
use hawser_policy::{Permit, Subject, Table};
use hawser_transport::Scope;
use jiff::Timestamp;

use crate::{conn::Conn, error::EdgeError, worker::Worker};

/// One permitted exchange. Dropping it takes it out of the registry.
pub(crate) struct Exchange {
    pub(crate) conn: Rc<Conn>,
    pub(crate) id: [u8; 16],
    pub(crate) permit: Permit,
    /// Name of the user in the cluster: with the cluster's prefix.
    pub(crate) user: String,
    case: Rc<Case>,
}

/// What is judged, and how to end it.
struct Case {
    subject: Subject,
    cluster: Arc<str>,
    attrs: RequestAttributes,
    scope: Scope,
}

/// Live exchanges of a worker.
#[derive(Default)]
pub(crate) struct Exchanges(HashMap<[u8; 16], Rc<Case>>);

impl Exchanges {
    /// Ends every exchange.
    pub(crate) fn cancel_all(&self, reason: &CloseReason) {
        for case in self.0.values() {
            case.scope.cancel(reason.clone());
        }
    }

    /// Ends what this table would not allow; says how many that were.
    fn judge_again(&self, table: &Table, now: Timestamp) -> usize {
        let refused = self.0.values().filter(|case| {
            !case.scope.is_cancelled()
                && table.authorize(&case.subject, &case.cluster, &case.attrs, now).is_err()
        });
        refused.inspect(|case| case.scope.cancel(CloseReason::Revoked)).count()
    }
}

/// Judges the worker's exchanges again whenever the policy has changed, and once a second for what ends by the clock.
pub(crate) async fn judge(worker: Rc<Worker>) {
    let mut changes = worker.shared.policy_changes.clone();
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(JUDGE_EVERY) => {}
            _reason = worker.scope.cancelled() => return,
        }
        let table = worker.shared.policy.snapshot();
        let cut = worker.live.borrow().judge_again(&table, worker.shared.clock.wall());
        if cut > 0 {
            tracing::info!(exchanges = cut, "ended what is no longer allowed");
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
        let cluster = Arc::clone(&conn.host.cluster);
        let case = Rc::new(Case { subject, cluster, attrs, scope: conn.scope.child() });
        conn.worker.live.borrow_mut().0.insert(id, Rc::clone(&case));
        conn.worker.shared.metrics.live_exchanges.inc();
        Ok(Self { conn: Rc::clone(conn), id, permit, user, case })
    }

    pub(crate) fn attrs(&self) -> &RequestAttributes {
        &self.case.attrs
    }

    /// Cancelled when this exchange must end.
    pub(crate) fn scope(&self) -> &Scope {
        &self.case.scope
    }

    /// Waits until this exchange must end. Watches end when a drain begins, since clients resume them elsewhere; the
    /// others may go on until the drain's time is up.
    pub(crate) async fn cut(&self) -> CloseReason {
        if !self.attrs().is_watch() {
            return self.scope().cancelled().await;
        }
        tokio::select! {
            reason = self.scope().cancelled() => reason,
            reason = self.conn.worker.drain.cancelled() => reason,
        }
    }

    /// Waits until the client has taken a piece of the answer. A wait that becomes long has a place in the budget of what
    /// stands.
    pub(crate) async fn taken<F: Future>(&self, taken: F) -> F::Output {
        let mut taken = pin!(taken);
        tokio::select! {
            biased;
            done = &mut taken => return done,
            () = tokio::time::sleep(STALLED_AFTER) => {}
        }
        let shared = &self.conn.worker.shared;
        let user = &self.case.subject.user;
        let (_place, cut) = shared.stalled.enter(user, self.scope(), &self.conn.config.limits);
        if cut > 0 {
            tracing::warn!(%user, exchanges = cut, "cut what clients do not take");
            shared.metrics.stalled_cuts.inc_by(cut as u64);
        }
        taken.await
    }

    pub(crate) fn cluster(&self) -> &Arc<str> {
        &self.case.cluster
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.conn.worker.live.borrow_mut().0.remove(&self.id);
        self.conn.worker.shared.metrics.live_exchanges.dec();
    }
}

/// How long a client may pause before that counts.
const STALLED_AFTER: Duration = Duration::from_secs(1);
/// What ends by the clock ends at most so much late.
const JUDGE_EVERY: Duration = Duration::from_secs(1);
