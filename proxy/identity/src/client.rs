//! What a client certificate says: which user, through which credential.

use crate::error::AuthError;
use crate::names;
use crate::trust::TrustBundle;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// A user and the credential that names them. Says nothing about what they may do, or whether the credential
/// still stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The user's name, as in the policy's resources.
    pub user: String,
    /// Id of the credential, the key of its entry in the policy table.
    pub credential: String,
    /// When the certificate ends: to be looked at again on a connection that outlives its verification.
    pub not_after: Timestamp,
}

/// Judges the chain that a client presented (see [`crate::verifier`]) against the clients' authority at `now`.
///
/// # Errors
/// See [`AuthError`]; [`AuthError::Missing`] for an empty chain.
pub fn verify(
    clients: &TrustBundle,
    chain: &[CertificateDer<'_>],
    now: Timestamp,
) -> Result<ClientIdentity, AuthError> {
    let leaf = clients.check_leaf(chain, now)?;
    let user = common_name(&leaf)?;
    if names::check_user(user).is_err() {
        return Err(AuthError::Malformed("user name"));
    }
    let credential = uri(&leaf, CREDENTIAL_URI)?;
    let not_after = Timestamp::from_second(leaf.validity().not_after.timestamp())
        .map_err(|_out_of_range| AuthError::Malformed("end of validity"))?;
    Ok(ClientIdentity { user: user.to_owned(), credential: credential.to_owned(), not_after })
}

/// What precedes the credential's id in the URI of a client certificate.
pub(crate) const CREDENTIAL_URI: &str = "hawser:credential:";

/// The one common name of a certificate.
pub(crate) fn common_name<'a>(cert: &'a X509Certificate<'_>) -> Result<&'a str, AuthError> {
    let mut names = cert.subject().iter_common_name();
    match (names.next(), names.next()) {
        (Some(name), None) => name.as_str().ok().ok_or(AuthError::Malformed("common name is not text")),
        _ => Err(AuthError::Malformed("not exactly one common name")),
    }
}

/// What follows `prefix` in the one URI of a certificate that begins with it: a name.
pub(crate) fn uri<'a>(cert: &'a X509Certificate<'_>, prefix: &str) -> Result<&'a str, AuthError> {
    let sans = cert
        .subject_alternative_name()
        .ok()
        .ok_or(AuthError::Malformed("subject alternative names"))?
        .ok_or(AuthError::Malformed("no subject alternative names"))?;
    let mut found =
        sans.value.general_names.iter().filter_map(|name| {
            if let GeneralName::URI(uri) = name { uri.strip_prefix(prefix) } else { None }
        });
    match (found.next(), found.next()) {
        (Some(name), None) if names::is_name(name) => Ok(name),
        _ => Err(AuthError::Malformed("not exactly one URI of the expected kind")),
    }
}
