//! A Kubernetes ServiceAccount token against an issuer's keys that were pinned when the cluster came in.
//!
//! The keys are never fetched: the edge cannot reach the cluster, and whoever could answer for the issuer's URL
//! could make tokens. Signature and algorithm are the library's business, every claim is ours, so that time is
//! an argument and each refusal has its own name.

use crate::error::{AuthError, IdentityError};
use crate::names;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use std::time::Duration;

/// Longest token that is read, in bytes.
pub const JWT_BYTES_MAX: usize = 16 * 1024;

/// Largest key set that is read, in bytes.
pub const JWKS_BYTES_MAX: usize = 128 * 1024;

/// Most keys of one issuer.
pub const JWKS_KEYS_MAX: usize = 64;

/// An issuer and the public keys that were pinned for it.
pub struct PinnedIssuer {
    issuer: String,
    keys: Vec<PinnedKey>,
}

struct PinnedKey {
    id: String,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Namespace of the ServiceAccount.
    pub namespace: String,
    /// Name of the ServiceAccount.
    pub service_account: String,
    /// The pod that the token is bound to, if it is bound to one.
    pub pod: Option<String>,
    /// When the token ends.
    pub expires: Timestamp,
}

impl PinnedIssuer {
    /// Pins the keys of a JSON Web Key Set (the API server's `/openid/v1/jwks`): RSA for RS256 and P-256 for
    /// ES256, each with a key id. Keys of other kinds are left out.
    ///
    /// # Errors
    /// Text that is not a key set, too large, with a damaged key, or without any usable one.
    pub fn new(issuer: &str, jwks: &str) -> Result<Self, IdentityError> {
        let bad = |why: String| IdentityError::BadIssuer { issuer: issuer.to_owned(), why };
        if jwks.len() > JWKS_BYTES_MAX {
            return Err(bad(format!("key set is larger than {JWKS_BYTES_MAX} bytes")));
        }
        let set: JwkSet = serde_json::from_str(jwks).map_err(|error| bad(error.to_string()))?;
        if set.keys.len() > JWKS_KEYS_MAX {
            return Err(bad(format!("{} keys, at most {JWKS_KEYS_MAX} are taken", set.keys.len())));
        }
        let mut keys = Vec::new();
        for jwk in &set.keys {
            let (Some(algorithm), Some(id)) = (signature_algorithm(jwk), &jwk.common.key_id) else {
                continue;
            };
            let key = DecodingKey::from_jwk(jwk).map_err(|error| bad(error.to_string()))?;
            keys.push(PinnedKey { id: id.clone(), algorithm, key });
        }
        if keys.is_empty() {
            return Err(bad("no RS256 or ES256 key with an id".to_owned()));
        }
        Ok(Self { issuer: issuer.to_owned(), keys })
    }

    /// The issuer's URL.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

/// Checks a ServiceAccount token: signed by a pinned key, from that issuer, for `audience`, of `subject`
/// (`system:serviceaccount:<namespace>:<name>`), and valid at `now` give or take `leeway`.
///
/// # Errors
/// See [`AuthError`]. The signature is judged before any claim. A cluster renews its tokens long before they end, so one
/// that is out of its time is [`AuthError::ClocksApart`].
pub fn verify(
    jwt: &str,
    issuer: &PinnedIssuer,
    audience: &str,
    subject: &str,
    now: Timestamp,
    leeway: Duration,
) -> Result<Claims, AuthError> {
    let raw = signed_claims(jwt, issuer)?;
    if raw.iss != issuer.issuer {
        return Err(AuthError::WrongIssuer);
    }
    if !raw.aud.contains(audience) {
        return Err(AuthError::WrongAudience);
    }
    if raw.sub != subject {
        return Err(AuthError::WrongSubject);
    }
    let leeway = SignedDuration::try_from(leeway).unwrap_or(SignedDuration::MAX);
    let expires = claimed_time(raw.exp)?;
    if now >= expires.saturating_add(leeway).unwrap_or(Timestamp::MAX) {
        return Err(AuthError::ClocksApart { bound: expires, here: now });
    }
    if let Some(from) = raw.nbf.map(claimed_time).transpose()?
        && now < from.saturating_sub(leeway).unwrap_or(Timestamp::MIN)
    {
        return Err(AuthError::ClocksApart { bound: from, here: now });
    }
    let account = raw.kubernetes;
    if raw.sub != format!("system:serviceaccount:{}:{}", account.namespace, account.serviceaccount.name) {
        return Err(AuthError::WrongSubject);
    }
    let pod = account.pod.map(|pod| pod.name);
    if pod.as_deref().is_some_and(|pod| !names::is_name(pod)) {
        return Err(AuthError::Malformed("pod name"));
    }
    Ok(Claims { namespace: account.namespace, service_account: account.serviceaccount.name, pod, expires })
}

fn signed_claims(jwt: &str, issuer: &PinnedIssuer) -> Result<RawClaims, AuthError> {
    if jwt.is_empty() {
        return Err(AuthError::Missing);
    }
    if jwt.len() > JWT_BYTES_MAX {
        return Err(AuthError::Malformed("token is too long"));
    }
    let header = jsonwebtoken::decode_header(jwt).map_err(|error| refusal(error.kind()))?;
    if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) {
        return Err(AuthError::WrongAlgorithm);
    }
    if header.crit.is_some() {
        return Err(AuthError::Malformed("critical header that is not known"));
    }
    let id = header.kid.ok_or(AuthError::UnknownKey)?;
    let key = issuer.keys.iter().find(|key| key.id == id).ok_or(AuthError::UnknownKey)?;
    if key.algorithm != header.alg {
        return Err(AuthError::WrongAlgorithm);
    }
    let mut signature_only = Validation::new(key.algorithm);
    signature_only.required_spec_claims.clear();
    signature_only.validate_exp = false;
    signature_only.validate_nbf = false;
    signature_only.validate_aud = false;
    let token = jsonwebtoken::decode(jwt, &key.key, &signature_only);
    token.map(|token| token.claims).map_err(|error| refusal(error.kind()))
}

/// The algorithm that a key may be used with; `None` for keys that are not for signatures or not accepted.
fn signature_algorithm(jwk: &Jwk) -> Option<Algorithm> {
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    match (&jwk.algorithm, jwk.common.key_algorithm) {
        (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Some(Algorithm::RS256),
        (AlgorithmParameters::EllipticCurve(key), None | Some(KeyAlgorithm::ES256))
            if key.curve == EllipticCurve::P256 =>
        {
            Some(Algorithm::ES256)
        }
        _ => None,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's enum, which grows; the rest is unreadable input"
)]
fn refusal(error: &ErrorKind) -> AuthError {
    match error {
        ErrorKind::InvalidSignature => AuthError::BadSignature,
        ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidAlgorithmName
        | ErrorKind::UnsupportedAlgorithm
        | ErrorKind::MissingAlgorithm => AuthError::WrongAlgorithm,
        _ => AuthError::Malformed("not a ServiceAccount token"),
    }
}

fn claimed_time(seconds: i64) -> Result<Timestamp, AuthError> {
    Timestamp::from_second(seconds).ok().ok_or(AuthError::Malformed("time out of range"))
}

#[derive(Deserialize)]
struct RawClaims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
    nbf: Option<i64>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
}

/// RFC 7519 §4.1.3: one or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn contains(&self, wanted: &str) -> bool {
        match self {
            Self::One(audience) => audience == wanted,
            Self::Many(audiences) => audiences.iter().any(|audience| audience == wanted),
        }
    }
}

#[derive(Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: Named,
    pod: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}
