//! All links of an edge, and which of them takes a request.
//!
//! Workers read an immutable snapshot without a lock; whoever brings or loses a link publishes a new
//! one. Links change a few times a minute, requests come by the thousand.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::link::{Link, LinkId};
use crate::wire::{Class, HelloV1, StatusV1};

/// The links of this edge. Clones are the same registry.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    table: ArcSwap<Table>,
    /// Held by writers only, so that none overwrites another's change.
    writer: Mutex<()>,
    /// Counts the changes.
    revision: watch::Sender<u64>,
}

type Table = HashMap<Arc<str>, Arc<[Entry]>>;

#[derive(Debug, Clone)]
struct Entry {
    link: Link,
    capabilities: Arc<[String]>,
    status: Arc<ArcSwap<StatusV1>>,
}

/// A cluster has as many links as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cluster has {LINKS_PER_CLUSTER_MAX} links already")]
pub struct ClusterFull;

/// A replica of an agent with at least one link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaSnapshot {
    /// Its name.
    pub replica: Arc<str>,
    /// Number of live links.
    pub links: usize,
    /// Whether all of its links are out of routing.
    pub draining: bool,
    /// Streams in flight on all links.
    pub in_flight: u32,
    /// Round-trip time of its fastest link.
    pub rtt: Duration,
    /// Optional abilities it named in its hello.
    pub capabilities: Arc<[String]>,
    /// What it reported last.
    pub status: Arc<StatusV1>,
}

impl Registry {
    /// A registry without links.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            table: ArcSwap::default(),
            writer: Mutex::new(()),
            revision: watch::Sender::new(0),
        }))
    }

    /// Takes a link into routing.
    ///
    /// # Errors
    /// [`ClusterFull`], and then nothing has changed.
    pub fn add(&self, link: Link, hello: &HelloV1) -> Result<(), ClusterFull> {
        let entry = Entry {
            capabilities: hello.capabilities.as_slice().into(),
            status: Arc::new(ArcSwap::from_pointee(hello.status())),
            link,
        };
        let taken = self.change(|table| {
            let of_cluster = table.entry(Arc::clone(entry.link.cluster())).or_insert_with(|| Arc::from([]));
            if of_cluster.len() >= LINKS_PER_CLUSTER_MAX {
                return false;
            }
            *of_cluster = of_cluster.iter().cloned().chain([entry]).collect();
            true
        });
        taken.then_some(()).ok_or(ClusterFull)
    }

    /// Forgets a link; nothing happens to the link itself.
    pub fn remove(&self, link: &Link) {
        self.change(|table| {
            let Some(of_cluster) = table.get_mut(link.cluster()) else { return false };
            *of_cluster = of_cluster.iter().filter(|entry| entry.link.id() != link.id()).cloned().collect();
            if of_cluster.is_empty() {
                table.remove(link.cluster());
            }
            true
        });
    }

    /// Keeps what a replica reports, for all its links. The table stays: a replica may report as often as it likes.
    pub fn report(&self, link: &Link, status: StatusV1) {
        let status = Arc::new(status);
        let table = self.0.table.load();
        let of_cluster = table.get(link.cluster()).into_iter().flat_map(|entries| entries.iter());
        for entry in of_cluster.filter(|entry| entry.link.replica() == link.replica()) {
            entry.status.store(Arc::clone(&status));
        }
    }

    /// The link for a request that came in at `worker`: alive, not draining, of that worker if there is
    /// one, and of those the one with the fewest streams in flight.
    #[must_use]
    pub fn route(&self, cluster: &str, class: Class, worker: usize) -> Option<Link> {
        self.pick(cluster, class, worker, None)
    }

    /// Like [`Registry::route`], but any link other than `avoid`, for a request that moves on.
    #[must_use]
    pub fn route_avoiding(&self, cluster: &str, class: Class, worker: usize, avoid: LinkId) -> Option<Link> {
        self.pick(cluster, class, worker, Some(avoid))
    }

    /// Like [`Registry::route`], but waits for a link to appear; `None` at the deadline.
    pub async fn wait_for(
        &self,
        cluster: &str,
        class: Class,
        worker: usize,
        deadline: Instant,
    ) -> Option<Link> {
        let mut changes = self.subscribe();
        let found = async {
            loop {
                // Marked as seen before the look, so that a change during it ends the wait below.
                changes.mark_unchanged();
                if let Some(link) = self.route(cluster, class, worker) {
                    return Some(link);
                }
                changes.changed().await.ok()?;
            }
        };
        tokio::time::timeout_at(deadline.into(), found).await.ok().flatten()
    }

    /// The replicas of a cluster's agent that have a link, by name; `None` if the cluster has none, not even a dead one.
    #[must_use]
    pub fn replicas(&self, cluster: &str) -> Option<Vec<ReplicaSnapshot>> {
        self.0.table.load().get(cluster).map(|entries| snapshot(entries))
    }

    /// Tells of each change of links; the value counts them.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.revision.subscribe()
    }

    fn pick(&self, cluster: &str, class: Class, worker: usize, avoid: Option<LinkId>) -> Option<Link> {
        let table = self.0.table.load();
        let links = table.get(cluster)?.iter().map(|entry| &entry.link);
        let usable = |link: &&Link| {
            link.class() == class && Some(link.id()) != avoid && !link.is_draining() && link.is_alive()
        };
        links.filter(usable).min_by_key(|link| (link.worker() != worker, link.in_flight())).cloned()
    }

    /// Publishes an edited table, unless `edit` says that there is nothing new in it.
    fn change(&self, edit: impl FnOnce(&mut Table) -> bool) -> bool {
        let writer = self.0.writer.lock();
        let mut next = Table::clone(&self.0.table.load());
        let changed = edit(&mut next);
        if changed {
            self.0.table.store(Arc::new(next));
        }
        drop(writer);
        if changed {
            self.0.revision.send_modify(|revision| *revision += 1);
        }
        changed
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

fn snapshot(entries: &[Entry]) -> Vec<ReplicaSnapshot> {
    let mut replicas = BTreeMap::<&Arc<str>, ReplicaSnapshot>::new();
    for entry in entries.iter().filter(|entry| entry.link.is_alive()) {
        let replica = replicas.entry(entry.link.replica()).or_insert_with(|| ReplicaSnapshot {
            replica: Arc::clone(entry.link.replica()),
            links: 0,
            draining: true,
            in_flight: 0,
            rtt: Duration::MAX,
            capabilities: Arc::clone(&entry.capabilities),
            status: entry.status.load_full(),
        });
        replica.links += 1;
        replica.draining &= entry.link.is_draining();
        replica.in_flight += entry.link.in_flight();
        replica.rtt = replica.rtt.min(entry.link.rtt());
    }
    replicas.into_values().collect()
}

/// Links of one cluster, all its replicas and classes together: 2 replicas use 4 to 16.
const LINKS_PER_CLUSTER_MAX: usize = 256;
