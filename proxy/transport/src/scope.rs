//! The cancellation tree: process → worker → connection → exchange.
//!
//! Whoever ends something (drain, lock, error, client gone) cancels the scope of it with a reason;
//! everything below ends with that same reason, which is what logs, metrics and the user's screen
//! show. The first reason wins and never changes.

use std::sync::{Arc, OnceLock};

use hawser_kube::close::CloseReason;
use tokio_util::sync::CancellationToken;

/// One node of the tree. Clones are the same node; [`Scope::child`] makes a node below it.
///
/// Dropping a scope cancels nothing.
#[derive(Debug, Clone)]
pub struct Scope(Arc<Node>);

#[derive(Debug)]
struct Node {
    token: CancellationToken,
    reason: OnceLock<CloseReason>,
    parent: Option<Scope>,
}

impl Scope {
    /// A new tree.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::new(Node { token: CancellationToken::new(), reason: OnceLock::new(), parent: None }))
    }

    /// A node that ends with this one, or earlier on its own.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(Arc::new(Node {
            token: self.0.token.child_token(),
            reason: OnceLock::new(),
            parent: Some(self.clone()),
        }))
    }

    /// Ends this node and everything below. Without effect where it has ended already.
    pub fn cancel(&self, reason: CloseReason) {
        if self.0.token.is_cancelled() {
            return;
        }
        // The reason is in place before anyone can wake up and ask for it. Losing this race means
        // that another caller's reason stands.
        self.0.reason.get_or_init(|| reason);
        self.0.token.cancel();
    }

    /// Waits for the end and says why.
    pub async fn cancelled(&self) -> CloseReason {
        self.0.token.cancelled().await;
        self.latched()
    }

    /// Why this node ended; `None` while it lives.
    #[must_use]
    pub fn reason(&self) -> Option<CloseReason> {
        self.is_cancelled().then(|| self.latched())
    }

    /// Whether this node has ended.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.token.is_cancelled()
    }

    /// The reason of an ended node. It is copied down from the parent at the first question, so
    /// that a later `cancel` here cannot change an answer already given.
    fn latched(&self) -> CloseReason {
        let inherited = || self.0.parent.as_ref().map_or(CloseReason::Shutdown, Self::latched);
        self.0.reason.get_or_init(inherited).clone()
    }
}
