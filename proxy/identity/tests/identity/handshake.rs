//! HTTPS at the edge: any client certificate passes the handshake, a false proof of its key does not.

use crate::{HOUR, Noise, authorities, certified, chain, noon};
use hawser_identity::{AuthError, Authorities, ClientPem, RequestClientCert, SubjectName, client, tls};
use hawser_kube::clock::TestClock;
use jiff::{SignedDuration, Timestamp};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, Error, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme, SupportedProtocolVersion,
};
use std::sync::Arc;

pub(crate) const HOST: &str = "prod.hawser.test";

/// Two ends of one TLS connection in memory.
pub(crate) struct Pair {
    pub(crate) client: ClientConnection,
    pub(crate) server: ServerConnection,
}

/// Which end refused, and why.
#[derive(Debug)]
pub(crate) enum Refused {
    #[expect(dead_code, reason = "shown when a test fails")]
    Client(Error),
    Server(Error),
}

pub(crate) fn connect(client: ClientConfig, server: Arc<ServerConfig>, host: &str) -> Result<Pair, Refused> {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut pair = Pair {
        client: ClientConnection::new(Arc::new(client), name).unwrap(),
        server: ServerConnection::new(server).unwrap(),
    };
    loop {
        let mut wire = Vec::new();
        while pair.client.wants_write() {
            pair.client.write_tls(&mut wire).unwrap();
        }
        let mut idle = wire.is_empty();
        feed(&wire, |bytes| pair.server.read_tls(bytes));
        pair.server.process_new_packets().map_err(Refused::Server)?;
        wire.clear();
        while pair.server.wants_write() {
            pair.server.write_tls(&mut wire).unwrap();
        }
        idle &= wire.is_empty();
        feed(&wire, |bytes| pair.client.read_tls(bytes));
        pair.client.process_new_packets().map_err(Refused::Client)?;
        if idle {
            assert!(!pair.client.is_handshaking() && !pair.server.is_handshaking());
            return Ok(pair);
        }
    }
}

fn feed(mut wire: &[u8], mut read: impl FnMut(&mut &[u8]) -> std::io::Result<usize>) {
    while !wire.is_empty() {
        read(&mut wire).unwrap();
    }
}

pub(crate) fn clock(now: Timestamp) -> Arc<TestClock> {
    Arc::new(TestClock::new(now))
}

pub(crate) fn edge(all: &Authorities) -> Arc<ServerConfig> {
    let names = [SubjectName::Dns("*.hawser.test".into()), SubjectName::Ip("127.0.0.17".parse().unwrap())];
    let key = all.serving.issue_serving(&names, HOUR, noon()).unwrap();
    let resolver = Arc::new(SingleCertAndKey::from(key));
    Arc::new(tls::https_server(resolver, RequestClientCert::new(), clock(noon())).unwrap())
}

/// A client as kubectl is: the edge's authority, a version, perhaps a certificate; its clock says noon.
fn kubectl(
    all: &Authorities,
    version: &'static SupportedProtocolVersion,
    key: Option<CertifiedKey>,
) -> ClientConfig {
    kubectl_with(all.serving.bundle().roots(), version, key)
}

fn kubectl_with(
    roots: Arc<RootCertStore>,
    version: &'static SupportedProtocolVersion,
    key: Option<CertifiedKey>,
) -> ClientConfig {
    #[derive(Debug)]
    struct Noon;
    impl rustls::time_provider::TimeProvider for Noon {
        fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
            let seconds = u64::try_from(noon().as_second()).unwrap();
            Some(rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_details(provider, Arc::new(Noon))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    match key {
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
        None => builder.with_no_client_auth(),
    }
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

#[test]
fn the_handshake_passes_and_verify_says_which() {
    let (all, theirs) = (authorities(noon()), authorities(noon()));
    let end = noon() + SignedDuration::from_secs(60);
    let minute = std::time::Duration::from_secs(60);
    let issue = |all: &Authorities, now| all.clients.issue_client("alice", "c1", minute, now).unwrap();
    let hour = SignedDuration::from_hours(1);
    let good: Result<String, AuthError> = Ok("alice".to_owned());
    let cases: [(&str, Option<ClientPem>, Result<String, AuthError>); 5] = [
        ("good", Some(issue(&all, noon())), good),
        ("none", None, Err(AuthError::Missing)),
        ("expired", Some(issue(&all, noon() - hour)), Err(AuthError::Expired { since: end - hour })),
        (
            "not yet",
            Some(issue(&all, noon() + hour)),
            Err(AuthError::NotYetValid { from: noon() + SignedDuration::from_mins(50), here: noon() }),
        ),
        ("other authority", Some(issue(&theirs, noon())), Err(AuthError::WrongCa)),
    ];
    for (name, pem, expected) in cases {
        for version in VERSIONS {
            let key = pem.as_ref().map(|pem| certified(pem, pem));
            let pair = connect(kubectl(&all, version, key), edge(&all), HOST).expect(name);
            let presented = pair.server.peer_certificates().unwrap_or_default();
            assert_eq!(presented.len(), usize::from(pem.is_some()), "{name}");
            let verdict = client::verify(all.clients.bundle(), presented, noon());
            assert_eq!(verdict.map(|who| who.user), expected, "{name}");
        }
    }
}

#[test]
fn somebody_elses_certificate_without_its_key_fails() {
    let all = authorities(noon());
    let alice = all.clients.issue_client("alice", "c1", HOUR, noon()).unwrap();
    let mallory = all.clients.issue_client("mallory", "c2", HOUR, noon()).unwrap();
    for version in VERSIONS {
        let stolen = certified(&alice, &mallory);
        let refused = connect(kubectl(&all, version, Some(stolen)), edge(&all), HOST).err();
        assert!(
            matches!(
                refused,
                Some(Refused::Server(Error::InvalidCertificate(rustls::CertificateError::BadSignature)))
            ),
            "{:?}: {refused:?}",
            version.version
        );
    }
}

/// Signs whatever it is asked to with bytes from nowhere.
#[derive(Debug)]
struct Scribbler(SignatureScheme);

impl rustls::sign::SigningKey for Scribbler {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        Some(Box::new(Self(self.0)))
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        rustls::SignatureAlgorithm::ECDSA
    }
}

impl rustls::sign::Signer for Scribbler {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut noise = Noise(7 + u64::try_from(message.len()).unwrap());
        Ok((0..70).map(|_| u8::try_from(noise.next() % 256).unwrap()).collect())
    }

    fn scheme(&self) -> SignatureScheme {
        self.0
    }
}

#[test]
fn no_scheme_gets_around_the_signature() {
    let all = authorities(noon());
    let alice = all.clients.issue_client("alice", "c1", HOUR, noon()).unwrap();
    for version in VERSIONS {
        for scheme in [
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::ED25519,
            SignatureScheme::Unknown(0x0101),
        ] {
            let forged = CertifiedKey::new(chain(&alice), Arc::new(Scribbler(scheme)));
            let refused = connect(kubectl(&all, version, Some(forged)), edge(&all), HOST).err();
            assert!(matches!(refused, Some(Refused::Server(_))), "{scheme:?}: {refused:?}");
        }
    }
}

#[test]
fn a_certificate_that_webpki_does_not_read_is_refused_with_a_sentence() {
    let all = authorities(noon());
    let key = rcgen::KeyPair::generate().unwrap();
    let mut odd = rcgen::CertificateParams::default();
    let mut extension = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    extension.set_criticality(true);
    odd.custom_extensions = vec![extension];
    let cert = odd.self_signed(&key).unwrap();
    let pem = ClientPem { cert_pem: cert.pem(), key_pem: key.serialize_pem() };
    let config = kubectl(&all, &rustls::version::TLS13, Some(certified(&pem, &pem)));
    let pair = connect(config, edge(&all), HOST).unwrap();
    let verdict = client::verify(all.clients.bundle(), pair.server.peer_certificates().unwrap(), noon());
    assert!(matches!(verdict, Err(AuthError::Malformed(_))), "{verdict:?}");
}

#[test]
fn nothing_is_resumed() {
    let all = authorities(noon());
    let alice = all.clients.issue_client("alice", "c1", HOUR, noon()).unwrap();
    let edge = edge(&all);
    for version in VERSIONS {
        // rustls clients keep tickets and sessions by default; the configuration is shared, as in a real client.
        let config = kubectl(&all, version, Some(certified(&alice, &alice)));
        for _ in 0..3 {
            let pair = connect(config.clone(), Arc::clone(&edge), HOST).unwrap();
            assert_eq!(pair.server.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(pair.client.tls13_tickets_received(), 0);
        }
    }
}

#[test]
fn no_alpn_is_fine_and_h2_comes_first() {
    let all = authorities(noon());
    for (offered, chosen) in [
        (&[][..], None),
        (&[&b"http/1.1"[..]][..], Some(&b"http/1.1"[..])),
        (&[&b"http/1.1"[..], b"h2"][..], Some(&b"h2"[..])),
    ] {
        let mut config = kubectl(&all, &rustls::version::TLS13, None);
        config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let pair = connect(config, edge(&all), HOST).unwrap();
        assert_eq!(pair.server.alpn_protocol(), chosen);
    }
}

#[test]
fn servers_without_sni_are_reached_by_address() {
    let all = authorities(noon());
    let pair = connect(kubectl(&all, &rustls::version::TLS13, None), edge(&all), "127.0.0.17").unwrap();
    assert_eq!(pair.server.server_name(), None);
    let refused = connect(kubectl(&all, &rustls::version::TLS13, None), edge(&all), "127.0.0.18").err();
    assert!(matches!(refused, Some(Refused::Client(_))));
}

/// Whether the server asked, and with how many names of authorities.
#[derive(Debug)]
struct Watcher(std::sync::mpsc::Sender<usize>);

impl ResolvesClientCert for Watcher {
    fn resolve(&self, hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.send(hints.len()).unwrap();
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn clusters_ask_without_hints_and_the_console_does_not_ask() {
    let all = authorities(noon());
    let key = all.serving.issue_serving(&[SubjectName::Dns(HOST.into())], HOUR, noon()).unwrap();
    let resolver = Arc::new(SingleCertAndKey::from(key));
    let console = Arc::new(tls::https_server(resolver, tls::no_client_cert(), clock(noon())).unwrap());
    for (server, asked) in [(edge(&all), vec![0]), (console, vec![])] {
        for version in VERSIONS {
            let (sender, receiver) = std::sync::mpsc::channel();
            let mut config = kubectl(&all, version, None);
            config.client_auth_cert_resolver = Arc::new(Watcher(sender));
            let pair = connect(config, Arc::clone(&server), HOST).unwrap();
            assert_eq!(pair.server.protocol_version(), Some(version.version));
            drop(pair);
            assert_eq!(receiver.iter().collect::<Vec<_>>(), asked);
        }
    }
    assert_eq!(VERSIONS.map(|version| version.version), [ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3]);
}
