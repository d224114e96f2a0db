//! Where kubectl reaches a cluster.

use std::net::SocketAddr;

use hawser_edge::LOOPBACK_ANNOTATION;
use hawser_policy::resources::Cluster;

use crate::{data::Settings, tables::INTERNAL_DOMAIN};

/// A cluster's URL, and the name to ask for in TLS where that is not the URL's host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) tls_name: Option<String>,
}

impl Server {
    /// A host name of its own below an advertised name; an advertised address with the cluster's name in TLS; the
    /// cluster's loopback address where nothing is advertised, or `local` is asked for. `None`: it has none.
    pub(crate) fn of(cluster: &Cluster, settings: &Settings, local: bool) -> Option<Self> {
        let (name, port) = (&cluster.metadata.name, settings.port);
        match (settings.domain(), settings.address()) {
            (Some(domain), _) if !local => {
                Some(Self { url: format!("https://{name}.{domain}:{port}"), tls_name: None })
            }
            (_, Some(address)) if !local => Some(Self {
                url: format!("https://{}", SocketAddr::new(address, port)),
                tls_name: Some(format!("{name}.{INTERNAL_DOMAIN}")),
            }),
            _ => {
                let address = loopback(cluster)?;
                Some(Self { url: format!("https://{address}:{port}"), tls_name: None })
            }
        }
    }
}

/// The cluster's address on the edge's own machine.
pub(crate) fn loopback(cluster: &Cluster) -> Option<&str> {
    cluster.metadata.annotations.get(LOOPBACK_ANNOTATION).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use hawser_policy::resources::ClusterSpec;

    use super::*;

    fn check(advertise: Option<&str>, local: bool, url: &str, tls_name: Option<&str>) {
        let mut cluster = Cluster::named("prod", ClusterSpec::default());
        cluster.metadata.annotations.insert(LOOPBACK_ANNOTATION.to_owned(), "127.77.3.4".to_owned());
        let settings = Settings {
            pid: 1,
            port: 8443,
            advertise: advertise.map(str::to_owned),
            health: SocketAddr::from(([127, 0, 0, 1], 9464)),
        };
        let wanted = Server { url: url.to_owned(), tls_name: tls_name.map(str::to_owned) };
        assert_eq!(Server::of(&cluster, &settings, local), Some(wanted));
    }

    #[test]
    fn every_way_of_advertising_has_its_url() {
        check(None, false, "https://127.77.3.4:8443", None);
        check(Some("edge.example.com"), false, "https://prod.edge.example.com:8443", None);
        check(Some("192.0.2.7"), false, "https://192.0.2.7:8443", Some("prod.hawser.internal"));
        check(Some("2001:db8::7"), false, "https://[2001:db8::7]:8443", Some("prod.hawser.internal"));
        check(Some("edge.example.com"), true, "https://127.77.3.4:8443", None);
        check(Some("192.0.2.7"), true, "https://127.77.3.4:8443", None);
    }
}
