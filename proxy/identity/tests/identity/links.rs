//! Links and the way to the API server: who may connect to whom.

use crate::handshake::{HOST, Pair, Refused, clock, connect};
use crate::{HOUR, authorities, certified, noon, prod};
use hawser_identity::{AgentKey, Authorities, SubjectName, TrustBundle, agent, tls};
use jiff::{SignedDuration, Timestamp};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ProtocolVersion, ServerConfig};
use std::sync::Arc;

const LINK: &[u8] = b"hawser-link/1";
const JOIN: &[u8] = b"hawser-join/1";

fn endpoint(all: &Authorities, now: Timestamp) -> Arc<ServerConfig> {
    let key = all.serving.issue_serving(&[SubjectName::Dns(HOST.into())], HOUR, noon()).unwrap();
    let resolver = Arc::new(SingleCertAndKey::from(key));
    Arc::new(tls::link_server(resolver, all.agents.bundle(), &[LINK, JOIN], clock(now)).unwrap())
}

fn replica(all: &Authorities) -> Arc<CertifiedKey> {
    let key = AgentKey::generate().unwrap();
    let cert = all.agents.issue_agent(&prod(), &key.csr().unwrap(), HOUR, noon()).unwrap();
    key.certified(vec![cert]).unwrap()
}

fn dial(
    all: &Authorities,
    identity: Option<Arc<CertifiedKey>>,
    alpn: &[u8],
    now: Timestamp,
) -> Result<Pair, Refused> {
    let client = tls::link_client(all.serving.bundle(), identity, &[alpn], clock(noon())).unwrap();
    connect(client, endpoint(all, now), HOST)
}

#[test]
fn an_agent_is_known_by_its_certificate() {
    let all = authorities(noon());
    let pair = dial(&all, Some(replica(&all)), LINK, noon()).unwrap();
    assert_eq!(pair.server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(pair.server.alpn_protocol(), Some(LINK));
    assert_eq!(pair.client.tls13_tickets_received(), 0);
    let who = agent::verify(all.agents.bundle(), pair.server.peer_certificates().unwrap(), noon());
    assert_eq!(who, Ok(prod()));
}

#[test]
fn one_that_joins_has_no_certificate_yet() {
    let all = authorities(noon());
    let pair = dial(&all, None, JOIN, noon()).unwrap();
    assert_eq!(pair.server.alpn_protocol(), Some(JOIN));
    assert_eq!(pair.server.peer_certificates(), None);
}

#[test]
fn bad_agents_do_not_get_through_the_handshake() {
    let (all, theirs) = (authorities(noon()), authorities(noon()));
    let later = noon() + SignedDuration::from_hours(2);
    let alice = all.clients.issue_client("alice", "c1", HOUR, noon()).unwrap();
    let (good, other) = (replica(&all), replica(&all));
    let stolen = Arc::new(CertifiedKey::new(good.cert.clone(), Arc::clone(&other.key)));
    let ca = Arc::new(CertifiedKey::new(vec![all.agents.ca_der().clone()], Arc::clone(&other.key)));
    for (name, identity, now) in [
        ("expired", Arc::clone(&good), later),
        ("not yet", Arc::clone(&good), noon() - SignedDuration::from_hours(2)),
        ("other authority", replica(&theirs), noon()),
        ("a user", Arc::new(certified(&alice, &alice)), noon()),
        ("another's certificate", stolen, noon()),
        ("the authority itself", ca, noon()),
    ] {
        let refused = dial(&all, Some(identity), LINK, now).err();
        assert!(matches!(refused, Some(Refused::Server(_))), "{name}: {refused:?}");
    }
}

#[test]
fn an_agent_trusts_only_its_own_edges() {
    let (all, theirs) = (authorities(noon()), authorities(noon()));
    let dial = |bundle: &TrustBundle, host, now| {
        let client = tls::link_client(bundle, None, &[JOIN], clock(now)).unwrap();
        connect(client, endpoint(&all, noon()), host)
    };
    assert!(dial(all.serving.bundle(), HOST, noon()).is_ok());
    let later = noon() + SignedDuration::from_hours(2);
    for (bundle, host, now) in [
        (theirs.serving.bundle(), HOST, noon()),
        (all.agents.bundle(), HOST, noon()),
        (all.serving.bundle(), "other.hawser.test", noon()),
        (all.serving.bundle(), HOST, later),
    ] {
        assert!(matches!(dial(bundle, host, now), Err(Refused::Client(_))));
    }
}

#[test]
fn the_endpoint_speaks_its_own_protocols_in_tls13_only() {
    let all = authorities(noon());
    assert!(matches!(dial(&all, None, b"h2", noon()), Err(Refused::Server(_))));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut old = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(all.serving.bundle().roots())
        .with_no_client_auth();
    old.alpn_protocols = vec![LINK.to_vec()];
    assert!(matches!(connect(old, endpoint(&all, noon()), HOST), Err(Refused::Server(_))));
}

#[test]
fn the_api_server_is_known_by_the_clusters_own_authority() {
    let (cluster, other) = (authorities(noon()), authorities(noon()));
    let names =
        [SubjectName::Dns("kubernetes.default.svc".into()), SubjectName::Ip("10.96.0.1".parse().unwrap())];
    let key = cluster.serving.issue_serving(&names, HOUR, noon()).unwrap();
    let resolver = Arc::new(SingleCertAndKey::from(key));
    let server = Arc::new(tls::https_server(resolver, tls::no_client_cert(), clock(noon())).unwrap());
    let dial = |ca_pem: &str, host| {
        let client = tls::apiserver_client(ca_pem, tls::ALPN_HTTP, clock(noon())).unwrap();
        connect(client, Arc::clone(&server), host)
    };
    let good = cluster.serving.ca_pem();
    // Bundles in the field hold comments and damaged blocks.
    let messy = format!("# ca\n-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----\n{good}");
    for ca_pem in [&good, &messy] {
        for host in ["kubernetes.default.svc", "10.96.0.1"] {
            assert_eq!(dial(ca_pem, host).unwrap().client.alpn_protocol(), Some(&b"h2"[..]));
        }
    }
    assert!(matches!(dial(&other.serving.ca_pem(), "10.96.0.1"), Err(Refused::Client(_))));
    assert!(matches!(dial(&good, "10.96.0.2"), Err(Refused::Client(_))));
    for bad in ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(tls::apiserver_client(bad, tls::ALPN_HTTP, clock(noon())).is_err());
    }
}
