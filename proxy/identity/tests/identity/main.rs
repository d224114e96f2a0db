//! The identity room through its public door.
#![expect(clippy::unwrap_used, clippy::unwrap_in_result, reason = "a test that cannot go on has failed")]

mod certificates;
mod files;
mod handshake;
mod links;
mod service_account;
mod texts;

use hawser_identity::{AgentIdentity, Authorities, ClientPem};
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::time::Duration;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) fn noon() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

/// New authorities, as of `now`.
pub(crate) fn authorities(now: Timestamp) -> Authorities {
    let dir = tempfile::tempdir().unwrap();
    Authorities::load_or_create(dir.path(), now).unwrap()
}

/// A replica of the agent of cluster `prod`.
pub(crate) fn prod() -> AgentIdentity {
    AgentIdentity { cluster: "prod".into(), replica: "r1".into(), pin: "0a-1.1".into() }
}

pub(crate) fn chain(pem: &ClientPem) -> Vec<CertificateDer<'static>> {
    vec![CertificateDer::from_pem_slice(pem.cert_pem.as_bytes()).unwrap()]
}

/// A kubeconfig's certificate with the key of another, or its own.
pub(crate) fn certified(cert: &ClientPem, key: &ClientPem) -> CertifiedKey {
    let key = PrivateKeyDer::from_pem_slice(key.key_pem.as_bytes()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::new(chain(cert), provider.key_provider.load_private_key(key).unwrap())
}

/// Bytes that look random and are the same in every run (xorshift64).
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    /// `text` with one to three bytes changed, removed or put in.
    pub(crate) fn mutate(&mut self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(3) {
                0 => bytes[at] = u8::try_from(self.next() % 256).unwrap(),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, u8::try_from(self.next() % 256).unwrap()),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
