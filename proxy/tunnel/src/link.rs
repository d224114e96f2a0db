//! A connection of a known agent, taken into service.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::connection::Connection;
use crate::error::LinkError;
use crate::stream::{InFlight, TunnelStream};
use crate::wire::Class;

/// Number of a link, unique in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(u64);

/// Whose link it is, as its certificate and its hello say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkIdentity {
    /// Cluster it leads to.
    pub cluster: Arc<str>,
    /// Replica of the cluster's agent.
    pub replica: Arc<str>,
    /// What it is for.
    pub class: Class,
    /// Worker whose endpoint carries it.
    pub worker: usize,
}

/// A link. Clones are the same link; any worker may open streams on it. What a [`Connection`] can do,
/// it can do as well.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    id: LinkId,
    identity: LinkIdentity,
    connection: Connection,
    in_flight: Arc<AtomicU32>,
    draining: AtomicBool,
}

impl Link {
    /// Takes a connection into service.
    #[must_use]
    pub fn new(connection: Connection, identity: LinkIdentity) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = LinkId(NEXT.fetch_add(1, Ordering::Relaxed));
        let draining = AtomicBool::new(false);
        connection.trust();
        Self(Arc::new(Inner { id, identity, connection, in_flight: Arc::default(), draining }))
    }

    /// Number of this link.
    #[must_use]
    pub fn id(&self) -> LinkId {
        self.0.id
    }

    /// Cluster it leads to.
    #[must_use]
    pub fn cluster(&self) -> &Arc<str> {
        &self.0.identity.cluster
    }

    /// Replica of the cluster's agent.
    #[must_use]
    pub fn replica(&self) -> &Arc<str> {
        &self.0.identity.replica
    }

    /// What it is for.
    #[must_use]
    pub fn class(&self) -> Class {
        self.0.identity.class
    }

    /// Worker whose endpoint carries it.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.0.identity.worker
    }

    /// Opens a stream, counted by [`Link::in_flight`] until both its halves are dropped.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn open(&self) -> Result<TunnelStream, LinkError> {
        let in_flight = InFlight::enter(&self.0.in_flight);
        self.0.connection.open_counted(Some(in_flight)).await
    }

    /// Streams opened here that are not over, those being opened included.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// Takes the link out of routing; what runs on it goes on.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the link is out of routing.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }
}

impl Deref for Link {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0.connection
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("id", &self.0.id)
            .field("identity", &self.0.identity)
            .finish_non_exhaustive()
    }
}
