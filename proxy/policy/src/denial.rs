//! Why a request may not go on, in one line.

use std::fmt;
use std::sync::Arc;

/// A refusal. Made off the hot path, so it may own its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// One line for the person who asked: what denied, or that nothing grants it, and where it is granted.
    pub reason: String,
    /// The Deny policy that decided, as `namespace/name`.
    pub policy: Option<Arc<str>>,
    /// What kind of refusal it is.
    pub cause: Cause,
}

/// What a caller may answer differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The credential is gone, expired, somebody else's or not for this cluster.
    Credential,
    /// There is no such cluster, or it is paused.
    Cluster,
    /// A Deny policy matches.
    Denied,
    /// No Allow policy matches.
    NotGranted,
}

impl Denial {
    pub(crate) fn new(cause: Cause, reason: String) -> Self {
        Self { reason, policy: None, cause }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Denial {}
