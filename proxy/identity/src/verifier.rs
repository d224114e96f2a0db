//! Client certificates as the Kubernetes API server treats them: asked for, never demanded, judged after the
//! handshake.
//!
//! A handshake that failed because of an expired certificate would show the user a TLS alert; a finished one can
//! answer 401 with a sentence. So any chain passes here, but the proof that the peer holds the certificate's key
//! is really checked: without that, anybody could present a copy of somebody's certificate. A chain taken from a
//! connection with this verifier means nothing until [`crate::client::verify`] has judged it.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::Arc;

use crate::trust::parse;

/// Asks for a client certificate and accepts any whose key the peer holds. See the file's head.
#[derive(Debug)]
pub struct RequestClientCert {
    provider: Arc<CryptoProvider>,
}

impl RequestClientCert {
    /// The verifier; one serves all connections.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { provider: crate::tls::provider() })
    }
}

impl ClientCertVerifier for RequestClientCert {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// Empty: a list of authorities makes some clients hide a certificate that is not from them, and then the
    /// user would not be told what is wrong with it.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    /// Looks at the certificate's key only, so that one that webpki does not take (X.509 v1, as `openssl x509`
    /// makes them; unknown critical extensions) is refused with a sentence too.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let parsed = parse(cert).ok().ok_or(CertificateError::BadEncoding)?;
        let key = SubjectPublicKeyInfoDer::from(parsed.public_key().raw);
        verify_tls13_signature_with_raw_key(
            message,
            &key,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
