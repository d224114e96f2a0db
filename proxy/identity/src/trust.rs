//! The certificates that a chain may end in, and the one check of a presented chain.
//!
//! A bundle holds more than one certificate while authorities overlap: the one that signs and those that signed
//! before it. Only leaves signed directly by one of them are good: no authority here issues intermediates, so
//! whatever else a peer sends along is not looked at.

use crate::error::{AuthError, IdentityError};
use crate::tls::provider;
use jiff::Timestamp;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::sync::Arc;
use std::time::Duration;
use x509_parser::certificate::X509Certificate;

/// Most certificates in one bundle.
pub const BUNDLE_CERTS_MAX: usize = 16;

/// Certificates of authorities; at least one.
#[derive(Clone)]
pub struct TrustBundle {
    certs: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl TrustBundle {
    /// A bundle of these certificates.
    ///
    /// # Errors
    /// None, more than [`BUNDLE_CERTS_MAX`], or one that cannot be read or is not an authority's.
    pub fn new(certs: Vec<CertificateDer<'static>>) -> Result<Self, IdentityError> {
        if certs.is_empty() || certs.len() > BUNDLE_CERTS_MAX {
            let why = format!("{} certificates, expected 1 to {BUNDLE_CERTS_MAX}", certs.len());
            return Err(IdentityError::BadBundle(why));
        }
        let mut roots = RootCertStore::empty();
        for cert in &certs {
            let parsed = parse(cert).map_err(|error| IdentityError::BadBundle(error.to_string()))?;
            if !parsed.is_ca() {
                return Err(IdentityError::BadBundle(format!("`{}` is not an authority", parsed.subject())));
            }
            roots.add(cert.clone()).map_err(|error| IdentityError::BadBundle(error.to_string()))?;
        }
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider());
        let verifier = verifier.build().map_err(|error| IdentityError::BadBundle(error.to_string()))?;
        Ok(Self { certs, roots, verifier })
    }

    /// The certificates in PEM text; text between them is skipped.
    ///
    /// # Errors
    /// As [`TrustBundle::new`], and for damaged PEM.
    pub fn from_pem(pem: &str) -> Result<Self, IdentityError> {
        let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        Self::new(certs.map_err(|error| IdentityError::BadBundle(error.to_string()))?)
    }

    /// All certificates as PEM, as they go into a kubeconfig or a join token.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certs.iter().map(cert_pem).collect()
    }

    /// The certificates; the first is the one that signs.
    #[must_use]
    pub fn certs(&self) -> &[CertificateDer<'static>] {
        &self.certs
    }

    /// The same certificates as rustls takes them.
    #[must_use]
    pub fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    /// Checks that the chain's first certificate is a client's leaf, signed by one of ours, valid at `now`, and
    /// returns it parsed.
    pub(crate) fn check_leaf<'a>(
        &self,
        chain: &'a [CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<X509Certificate<'a>, AuthError> {
        let leaf = chain.first().ok_or(AuthError::Missing)?;
        let parsed = parse(leaf)?;
        if parsed.is_ca() {
            return Err(AuthError::WrongPurpose);
        }
        match self.verify(leaf, unix_time(now)) {
            Ok(()) => Ok(parsed),
            Err(CertificateError::ExpiredContext { not_after, .. }) => {
                // Say "expired" only of what was ours: the reader is told to renew it.
                self.verify(leaf, not_after).map_err(|error| refusal(&error))?;
                Err(AuthError::Expired { since: timestamp(not_after) })
            }
            Err(CertificateError::NotValidYetContext { not_before, .. }) => {
                self.verify(leaf, not_before).map_err(|error| refusal(&error))?;
                Err(AuthError::NotYetValid { from: timestamp(not_before), here: now })
            }
            Err(error) => Err(refusal(&error)),
        }
    }

    fn verify(&self, leaf: &CertificateDer<'_>, at: UnixTime) -> Result<(), CertificateError> {
        match self.verifier.verify_client_cert(leaf, &[], at) {
            Ok(_) => Ok(()),
            Err(rustls::Error::InvalidCertificate(error)) => Err(error),
            Err(_) => Err(CertificateError::BadEncoding),
        }
    }
}

/// The one certificate in `der`, with nothing behind it.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, AuthError> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], cert)) => Ok(cert),
        Ok(_) => Err(AuthError::Malformed("bytes after the certificate")),
        Err(_) => Err(AuthError::Malformed("not an X.509 certificate")),
    }
}

/// One certificate as a PEM block.
pub(crate) fn cert_pem(cert: &CertificateDer<'_>) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(cert);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// `now` as rustls counts; times before 1970 count as 1970.
pub(crate) fn unix_time(now: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0)))
}

fn timestamp(time: UnixTime) -> Timestamp {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's enum, which grows; the rest is unreadable input"
)]
fn refusal(error: &CertificateError) -> AuthError {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => AuthError::WrongCa,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            AuthError::WrongPurpose
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            AuthError::WrongAlgorithm
        }
        _ => AuthError::Malformed("not a certificate that is accepted here"),
    }
}
