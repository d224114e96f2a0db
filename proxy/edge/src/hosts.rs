//! The names under which clusters are reached: a snapshot that is looked up per connection, before any asymmetric
//! cryptography, and swapped whole when a cluster comes or goes.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use arc_swap::ArcSwap;

/// One cluster's face to its clients.
pub struct Host {
    /// The cluster.
    pub cluster: Arc<str>,
    /// Host names and addresses a request to it may carry in `Host` / `:authority` (lower case, without port).
    pub names: Vec<String>,
    /// TLS with the certificate for those names.
    pub tls: Arc<rustls::ServerConfig>,
}

impl Host {
    /// Is this authority (`host` or `host:port`) one of the cluster's?
    fn answers_to(&self, authority: &str) -> bool {
        let name = without_port(authority);
        self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// All hosts of one moment.
#[derive(Default)]
pub struct HostTable {
    by_name: HashMap<String, Arc<Host>>,
}

impl HostTable {
    /// Builds the table. An address that several clusters share, as that of the edge, does not say which one is meant, so
    /// nobody is reached by it alone.
    #[must_use]
    pub fn new(hosts: impl IntoIterator<Item = Host>) -> Self {
        let mut by_name = HashMap::new();
        let mut shared = HashSet::new();
        for host in hosts.into_iter().map(Arc::new) {
            for name in host.names.iter().map(|name| name.to_ascii_lowercase()) {
                let other = by_name.insert(name.clone(), Arc::clone(&host));
                if other.is_some_and(|other| !Arc::ptr_eq(&other, &host)) {
                    shared.insert(name);
                }
            }
        }
        by_name.retain(|name, _| !shared.contains(name));
        Self { by_name }
    }
}

/// The live table.
#[derive(Clone, Default)]
pub struct Hosts(Arc<ArcSwap<HostTable>>);

impl Hosts {
    /// Publishes the next table.
    pub fn publish(&self, table: HostTable) {
        self.0.store(Arc::new(table));
    }

    /// The host for a ClientHello: by SNI, or without one by the local address the client dialled.
    pub(crate) fn find(&self, sni: Option<&str>, local: IpAddr) -> Option<Arc<Host>> {
        let table = self.0.load();
        match sni {
            Some(name) => table.by_name.get(&name.to_ascii_lowercase()).cloned(),
            None => table.by_name.get(&local.to_canonical().to_string()).cloned(),
        }
    }

    /// May a request on a connection to `host` carry this authority? One of its own names, or an address that is nobody's:
    /// kubectl 1.20 behind `kubectl proxy` passes on what its caller dialled, which does not say which cluster is meant.
    /// What names another cluster, or looks as if it did, contradicts the connection.
    pub(crate) fn agree(&self, host: &Host, authority: &str) -> bool {
        if host.answers_to(authority) {
            return true;
        }
        let name = without_port(authority);
        match name.parse::<IpAddr>() {
            Ok(address) => !self.0.load().by_name.contains_key(&address.to_canonical().to_string()),
            Err(_host_name) => name.eq_ignore_ascii_case("localhost"),
        }
    }
}

/// `host:port`, `[v6]:port` or a bare host, without port and brackets.
fn without_port(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match authority.rsplit_once(':') {
        Some((host, _port)) if !host.contains(':') => host,
        _ => authority,
    }
}
