//! rustls configurations: what the edge accepts, and what agents dial with.
//!
//! All of them: aws-lc-rs, no resumption (a resumed session would restore a client's chain without any
//! verifier looking at it, and a credential that ended must not live on in a ticket), no early data (a request
//! could be replayed).

use crate::error::IdentityError;
use crate::trust::TrustBundle;
use hawser_kube::clock::Clock;
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, ServerConfig, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::fmt;
use std::sync::{Arc, LazyLock};

/// What the edge offers on HTTPS. A client that offers nothing speaks HTTP/1.1.
pub const ALPN_HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];

/// The edge's HTTPS: TLS 1.2 and 1.3. `verifier` is [`crate::RequestClientCert`] on clusters' names and
/// [`no_client_cert`] where browsers come, which would ask people to choose a certificate.
///
/// # Errors
/// The cryptography library lacks one of the versions.
pub fn https_server(
    resolver: Arc<dyn ResolvesServerCert>,
    verifier: Arc<dyn ClientCertVerifier>,
    clock: Arc<dyn Clock>,
) -> Result<ServerConfig, IdentityError> {
    server(&[&TLS13, &TLS12], resolver, verifier, ALPN_HTTP, clock)
}

/// A verifier that does not ask for a client certificate.
#[must_use]
pub fn no_client_cert() -> Arc<dyn ClientCertVerifier> {
    WebPkiClientVerifier::no_client_auth()
}

/// The edge's QUIC endpoint: TLS 1.3. An agent's certificate is judged in the handshake against `agents`; one
/// that joins has none yet. The caller still asks [`crate::agent::verify`] who it is.
///
/// # Errors
/// The cryptography library lacks TLS 1.3.
pub fn link_server(
    resolver: Arc<dyn ResolvesServerCert>,
    agents: &TrustBundle,
    alpn: &[&[u8]],
    clock: Arc<dyn Clock>,
) -> Result<ServerConfig, IdentityError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(agents.roots(), provider())
        .clear_root_hint_subjects()
        .allow_unauthenticated()
        .build()
        .map_err(|error| IdentityError::BadBundle(error.to_string()))?;
    server(&[&TLS13], resolver, verifier, alpn, clock)
}

/// An agent's QUIC side: TLS 1.3, only the edges' own serving authority, `identity` once it has one.
///
/// # Errors
/// The cryptography library lacks TLS 1.3.
pub fn link_client(
    serving: &TrustBundle,
    identity: Option<Arc<CertifiedKey>>,
    alpn: &[&[u8]],
    clock: Arc<dyn Clock>,
) -> Result<ClientConfig, IdentityError> {
    client(&[&TLS13], serving.roots(), identity, alpn, clock)
}

/// An agent's side toward the API server: TLS 1.2 and 1.3, only the authorities in `ca_pem` (the cluster's
/// `ca.crt`), of which those that cannot be read are skipped, as client-go does.
///
/// # Errors
/// No certificate in `ca_pem` can be used.
pub fn apiserver_client(
    ca_pem: &str,
    alpn: &[&[u8]],
    clock: Arc<dyn Clock>,
) -> Result<ClientConfig, IdentityError> {
    let mut roots = RootCertStore::empty();
    let certs: Vec<_> = CertificateDer::pem_slice_iter(ca_pem.as_bytes()).flatten().collect();
    let (used, _skipped) = roots.add_parsable_certificates(certs);
    if used == 0 {
        return Err(IdentityError::BadBundle(
            "no usable certificate for the API server; look at ca.crt of the ServiceAccount".to_owned(),
        ));
    }
    client(&[&TLS13, &TLS12], Arc::new(roots), None, alpn, clock)
}

fn server(
    versions: &[&'static SupportedProtocolVersion],
    resolver: Arc<dyn ResolvesServerCert>,
    verifier: Arc<dyn ClientCertVerifier>,
    alpn: &[&[u8]],
    clock: Arc<dyn Clock>,
) -> Result<ServerConfig, IdentityError> {
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(Wall(clock)))
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = owned(alpn);
    Ok(config)
}

fn client(
    versions: &[&'static SupportedProtocolVersion],
    roots: Arc<RootCertStore>,
    identity: Option<Arc<CertifiedKey>>,
    alpn: &[&[u8]],
    clock: Arc<dyn Clock>,
) -> Result<ClientConfig, IdentityError> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(Wall(clock)))
        .with_protocol_versions(versions)?
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = owned(alpn);
    Ok(config)
}

fn owned(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.to_vec()).collect()
}

/// The one cryptography provider of the process.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// Our clock as rustls wants it.
struct Wall(Arc<dyn Clock>);

impl fmt::Debug for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wall")
    }
}

impl TimeProvider for Wall {
    fn current_time(&self) -> Option<UnixTime> {
        Some(crate::trust::unix_time(self.0.wall()))
    }
}
