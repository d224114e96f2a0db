//! An agent's key, and what its certificate says: which replica of which cluster's agent, let in under which pin.

use crate::client::{common_name, uri};
use crate::error::{AuthError, IdentityError};
use crate::tls::provider;
use crate::trust::TrustBundle;
use jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;

/// The private key of one agent process. It is never written anywhere: a new process makes a new one and proves
/// itself with its ServiceAccount token again. Has no `Debug`.
pub struct AgentKey(KeyPair);

impl AgentKey {
    /// A new P-256 key.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        Ok(Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// A certificate signing request (PKCS#10, DER) with nothing in it but the public key.
    ///
    /// # Errors
    /// Signing failed.
    pub fn csr(&self) -> Result<Vec<u8>, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&self.0)?.der().to_vec())
    }

    /// This key with the certificate that was issued for it, as a TLS client presents it.
    ///
    /// # Errors
    /// The chain is empty, or its first certificate is not this key's.
    pub fn certified(&self, chain: Vec<CertificateDer<'static>>) -> Result<Arc<CertifiedKey>, IdentityError> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.0.serialize_der()));
        Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider())?))
    }
}

/// One replica of a cluster's agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentIdentity {
    /// The cluster it may serve.
    pub cluster: String,
    /// The replica (the pod's name).
    pub replica: String,
    /// Name of what the cluster had proved when the certificate was issued; it is worth nothing under another.
    pub pin: String,
}

/// Judges the chain that an agent presented against the agents' authority at `now`. Whether the pin still stands is not
/// known here.
///
/// # Errors
/// See [`AuthError`]; [`AuthError::Missing`] for an empty chain.
pub fn verify(
    agents: &TrustBundle,
    chain: &[CertificateDer<'_>],
    now: Timestamp,
) -> Result<AgentIdentity, AuthError> {
    let leaf = agents.check_leaf(chain, now)?;
    let cluster = uri(&leaf, CLUSTER_URI)?;
    if common_name(&leaf)?.strip_prefix(COMMON_NAME) != Some(cluster) {
        return Err(AuthError::Malformed("common name and URI name different clusters"));
    }
    let replica = uri(&leaf, REPLICA_URI)?;
    let pin = uri(&leaf, PIN_URI)?;
    Ok(AgentIdentity { cluster: cluster.to_owned(), replica: replica.to_owned(), pin: pin.to_owned() })
}

/// What precedes the cluster's name in an agent's common name.
pub(crate) const COMMON_NAME: &str = "agent:";
/// What precedes the cluster's name in an agent's first URI.
pub(crate) const CLUSTER_URI: &str = "hawser:cluster:";
/// What precedes the replica's name in an agent's second URI.
pub(crate) const REPLICA_URI: &str = "hawser:replica:";
/// What precedes the name of the cluster's pin in an agent's third URI.
pub(crate) const PIN_URI: &str = "hawser:pin:";
