//! From the store to what requests read: every change is compiled into a new policy table and a new table of hosts, and
//! both are swapped in. A change is in force a few milliseconds after the store has acknowledged it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use hawser_edge::{Host, HostTable, Hosts, Keys, LOOPBACK_ANNOTATION};
use hawser_identity::{Authorities, RequestClientCert, SubjectName, tls};
use hawser_kube::clock::Clock;
use hawser_policy::{PolicyHandle, compile, resources::Object};
use hawser_store::{Event, EventKind, Key, ListOptions, Store, StoreError};
use rustls::sign::SingleCertAndKey;
use tokio::sync::watch;

use crate::data::Settings;

/// What the tables are made of and where they go.
pub(crate) struct Tables {
    pub(crate) store: Store,
    pub(crate) policy: Arc<PolicyHandle>,
    pub(crate) changes: watch::Sender<u64>,
    pub(crate) hosts: Hosts,
    pub(crate) keys: Keys,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    objects: BTreeMap<Key, Object>,
    served: BTreeMap<String, Served>,
    generation: u64,
    /// What the log has said of the policies as they are.
    warned: BTreeSet<String>,
}

/// A cluster's TLS, kept while its names and the keys stay the same.
struct Served {
    names: Vec<String>,
    tls: Arc<rustls::ServerConfig>,
    issued: jiff::Timestamp,
    by: Arc<Authorities>,
}

impl Tables {
    pub(crate) fn new(
        store: Store,
        policy: Arc<PolicyHandle>,
        changes: watch::Sender<u64>,
        hosts: Hosts,
        keys: Keys,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Self {
        Self {
            store,
            policy,
            changes,
            hosts,
            keys,
            clock,
            settings,
            objects: BTreeMap::new(),
            served: BTreeMap::new(),
            generation: 0,
            warned: BTreeSet::new(),
        }
    }

    /// Loads everything and publishes the first tables; returns the revision to watch from.
    pub(crate) async fn load(&mut self) -> anyhow::Result<u64> {
        self.objects.clear();
        let mut from = u64::MAX;
        for kind in KINDS {
            let list = self.store.list(kind, ListOptions::default()).await.context("reading the store")?;
            // What changes between two of these lists comes again with the watch.
            from = from.min(list.revision);
            for item in list.items {
                self.put(item.key, item.value);
            }
        }
        self.publish()?;
        Ok(from)
    }

    /// Follows the store, and issues certificates anew when `renew` tells; ends only with an error that a restart must
    /// cure.
    pub(crate) async fn follow(
        mut self,
        mut from: u64,
        mut renew: watch::Receiver<()>,
    ) -> anyhow::Result<()> {
        loop {
            let mut watch = self.store.watch(&KINDS, from).await.context("watching the store")?;
            let broken = loop {
                tokio::select! {
                    event = watch.next() => match event {
                        Ok(event) => {
                            self.take(&event);
                            // What was written together is published together, and many changes cost one table.
                            let more = std::iter::from_fn(|| watch.next().now_or_never()?.ok());
                            more.take(EVENTS_MAX).for_each(|event| self.take(&event));
                            self.publish()?;
                        }
                        Err(error) => break error,
                    },
                    Ok(()) = renew.changed() => if let Err(error) = self.publish_hosts() {
                        tracing::error!(%error, "certificates cannot be issued anew; the old ones stay in use");
                    },
                }
            };
            let (StoreError::Lagged { .. } | StoreError::Compacted { .. }) = broken else {
                return Err(broken).context("watching the store");
            };
            tracing::warn!("fell behind the store; reading it anew");
            from = self.load().await?;
        }
    }

    fn take(&mut self, event: &Event) {
        let object = &event.object;
        match event.kind {
            EventKind::Added | EventKind::Modified => self.put(object.key.clone(), object.value.clone()),
            EventKind::Deleted => drop(self.objects.remove(&object.key)),
        }
    }

    fn put(&mut self, key: Key, value: serde_json::Value) {
        match Object::from_value(value) {
            Ok(object) => {
                self.objects.insert(key, object);
            }
            // The door refuses such objects; one that a newer version wrote must not stop the others, nor grant anything.
            Err(faults) => {
                for fault in faults {
                    tracing::error!(%key, %fault, "an object in the store is not understood and grants nothing");
                }
                self.objects.remove(&key);
            }
        }
    }

    fn publish(&mut self) -> anyhow::Result<()> {
        self.generation += 1;
        let objects: Vec<Object> = self.objects.values().cloned().collect();
        let table = compile(&objects, self.generation);
        let warnings: BTreeSet<String> = table.warnings().iter().cloned().collect();
        for warning in warnings.difference(&self.warned) {
            tracing::warn!(warning, "policy");
        }
        self.warned = warnings;
        self.policy.publish(table);
        self.changes.send_replace(self.generation);
        self.publish_hosts()
    }

    fn publish_hosts(&mut self) -> anyhow::Result<()> {
        let hosts = self.hosts_now()?;
        self.hosts.publish(HostTable::new(hosts));
        Ok(())
    }

    fn hosts_now(&mut self) -> anyhow::Result<Vec<Host>> {
        let (now, by) = (self.clock.wall(), self.keys.current());
        let mut hosts = Vec::new();
        let mut served = BTreeMap::new();
        for object in self.objects.values() {
            let Object::Cluster(cluster) = object else { continue };
            let name = &cluster.metadata.name;
            let names =
                host_names(&self.settings, name, cluster.metadata.annotations.get(LOOPBACK_ANNOTATION));
            let fresh = |served: &Served| {
                served.names == names
                    && Arc::ptr_eq(&served.by, &by)
                    && now.duration_since(served.issued) < REISSUE_AFTER
            };
            let entry = match self.served.remove(name).filter(fresh) {
                Some(served) => served,
                None => Served { tls: self.tls(&by, &names)?, names, issued: now, by: Arc::clone(&by) },
            };
            hosts.push(Host {
                cluster: name.as_str().into(),
                names: entry.names.clone(),
                tls: Arc::clone(&entry.tls),
            });
            served.insert(name.clone(), entry);
        }
        self.served = served;
        Ok(hosts)
    }

    fn tls(&self, by: &Authorities, names: &[String]) -> anyhow::Result<Arc<rustls::ServerConfig>> {
        let subjects: Vec<SubjectName> = names
            .iter()
            .map(|name| match name.parse::<IpAddr>() {
                Ok(address) => SubjectName::Ip(address),
                Err(_not_an_address) => SubjectName::Dns(name.clone()),
            })
            .collect();
        let key = by.serving.issue_serving(&subjects, CERTIFICATE_LIFETIME, self.clock.wall())?;
        let resolver = Arc::new(SingleCertAndKey::from(key));
        Ok(Arc::new(tls::https_server(resolver, RequestClientCert::new(), Arc::clone(&self.clock))?))
    }
}

/// Every name and address a cluster answers to.
pub(crate) fn host_names(settings: &Settings, cluster: &str, loopback: Option<&String>) -> Vec<String> {
    let mut names = vec![format!("{cluster}.{INTERNAL_DOMAIN}")];
    names.extend(settings.domain().map(|domain| format!("{cluster}.{domain}")));
    names.extend(settings.address().map(|address| address.to_string()));
    names.extend(loopback.cloned());
    names
}

/// Domain of the names that need no DNS: kubeconfigs carry them as `tls-server-name`.
pub(crate) const INTERNAL_DOMAIN: &str = "hawser.internal";
/// What the tables are made of.
const KINDS: [&str; 6] = ["Cluster", "User", "Group", "AccessRole", "AccessPolicy", "Credential"];
/// Changes that may wait behind a first one to be published with it.
const EVENTS_MAX: usize = 4096;
/// Of a certificate for a cluster's names.
const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(90 * 86_400);
/// A certificate this old is issued anew with the next change, or when the daily renewal comes.
const REISSUE_AFTER: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
