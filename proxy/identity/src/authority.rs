//! One certificate authority: a P-256 key, the certificate that signs, and the ones trusted beside it.
//!
//! Every certificate begins [`BACKDATE`] before it was asked for, because laptops' clocks are late, and ends no
//! later than its authority: a chain check looks at the leaf's time only.

use crate::agent::{self, AgentIdentity};
use crate::client::CREDENTIAL_URI;
use crate::error::IdentityError;
use crate::names;
use crate::tls::provider;
use crate::trust::{TrustBundle, cert_pem, parse};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SanType, SerialNumber,
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long before its making a certificate begins.
pub const BACKDATE: Duration = Duration::from_secs(10 * 60);

/// How long an authority lives: ten years.
pub const AUTHORITY_LIFETIME: Duration = Duration::from_secs(3652 * 24 * 60 * 60);

/// Most names in one serving certificate.
pub const SERVING_NAMES_MAX: usize = 4096;

/// Largest certificate signing request that is read, in bytes.
pub const REQUEST_BYTES_MAX: usize = 4096;

/// A name that a serving certificate is good for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SubjectName {
    /// A host name, or `*.` and a domain.
    Dns(String),
    /// An address; clients that dial an address send no SNI.
    Ip(IpAddr),
}

/// A client certificate and its key, as they go into a kubeconfig. Has no `Debug`: the key is a secret.
pub struct ClientPem {
    /// The certificate.
    pub cert_pem: String,
    /// The private key, PKCS#8.
    pub key_pem: String,
}

/// A certificate authority with its private key. Has no `Debug`.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    signing: CertificateDer<'static>,
    bundle: TrustBundle,
    ends: Timestamp,
}

impl Authority {
    /// A new authority and the text of its file: key first, then certificate.
    pub(crate) fn create(common_name: &str, now: Timestamp) -> Result<(Self, String), IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params =
            params(common_name, Vec::new(), Validity::new(now, AUTHORITY_LIFETIME, Timestamp::MAX)?)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = false;
        let cert = params.self_signed(&key)?;
        let pem = format!("{}{}", key.serialize_pem(), cert_pem(cert.der()));
        let authority = Self::new(key, vec![cert.der().clone()]).map_err(IdentityError::Crypto)?;
        Ok((authority, pem))
    }

    /// The authority in a file's text: one private key and one or more certificates, the first of which is the
    /// key's. The others are trusted too: the authorities before and after it while they overlap.
    pub(crate) fn from_pem(pem: &[u8], path: &Path) -> Result<Self, IdentityError> {
        let bad = |why: String| IdentityError::BadAuthority { path: path.to_owned(), why };
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| bad(format!("private key: {error}")))?;
        let key = KeyPair::from_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)
            .map_err(|error| bad(format!("private key: {error}")))?;
        let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certs = certs.map_err(|error| bad(format!("certificate: {error}")))?;
        Self::new(key, certs).map_err(bad)
    }

    fn new(key: KeyPair, certs: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        let bundle = TrustBundle::new(certs).map_err(|error| error.to_string())?;
        let signing = bundle.certs().first().ok_or("no certificate")?.clone();
        let parsed = parse(&signing).map_err(|error| error.to_string())?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err("the first certificate is not the private key's".to_owned());
        }
        let ends = Timestamp::from_second(parsed.validity().not_after.timestamp())
            .map_err(|error| error.to_string())?;
        let issuer = Issuer::from_ca_cert_der(&signing, key).map_err(|error| error.to_string())?;
        Ok(Self { issuer, signing, bundle, ends })
    }

    /// The certificate that signs, as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        cert_pem(&self.signing)
    }

    /// The certificate that signs.
    #[must_use]
    pub fn ca_der(&self) -> &CertificateDer<'static> {
        &self.signing
    }

    /// All certificates that chains of this authority may end in.
    #[must_use]
    pub fn bundle(&self) -> &TrustBundle {
        &self.bundle
    }

    /// When the signing certificate ends.
    #[must_use]
    pub fn ends(&self) -> Timestamp {
        self.ends
    }

    /// A serving certificate with a new key that stays in memory.
    ///
    /// # Errors
    /// No names or more than [`SERVING_NAMES_MAX`], one that is not ASCII, or the authority has ended.
    pub fn issue_serving(
        &self,
        names: &[SubjectName],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Arc<CertifiedKey>, IdentityError> {
        if names.is_empty() || names.len() > SERVING_NAMES_MAX {
            let why = format!("expected 1 to {SERVING_NAMES_MAX}");
            return Err(names::bad("number of serving names", &names.len().to_string(), why));
        }
        let sans: Result<Vec<_>, IdentityError> = names.iter().map(serving_san).collect();
        let mut params = params("hawser edge", sans?, Validity::new(now, lifetime, self.ends)?)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let cert = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Arc::new(CertifiedKey::from_der(vec![cert.der().clone()], key, &provider())?))
    }

    /// A client certificate for a kubeconfig: `user` as common name, exactly, and the credential's id.
    ///
    /// # Errors
    /// A name that cannot stand in a certificate, or the authority has ended.
    pub fn issue_client(
        &self,
        user: &str,
        credential_id: &str,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<ClientPem, IdentityError> {
        names::check_user(user)?;
        names::check_name("credential", credential_id)?;
        let sans = vec![uri_san(CREDENTIAL_URI, credential_id)?];
        let mut params = params(user, sans, Validity::new(now, lifetime, self.ends)?)?;
        as_client(&mut params);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok(ClientPem { cert_pem: cert_pem(cert.der()), key_pem: key.serialize_pem() })
    }

    /// A certificate for the key of a certificate signing request (PKCS#10, DER) of one agent replica. Of the
    /// request only the public key counts; what it asks for is not looked at. `who` is what the certificate says.
    ///
    /// # Errors
    /// A request that is damaged, not signed by its own key or not P-256; a bad name; the authority has ended.
    pub fn issue_agent(
        &self,
        who: &AgentIdentity,
        request_der: &[u8],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        let AgentIdentity { cluster, replica, pin } = who;
        names::check_name("cluster", cluster)?;
        names::check_name("replica", replica)?;
        names::check_name("pin", pin)?;
        if request_der.len() > REQUEST_BYTES_MAX {
            return Err(IdentityError::BadRequest(format!("larger than {REQUEST_BYTES_MAX} bytes")));
        }
        let request = CertificateSigningRequestDer::from(request_der);
        let request = CertificateSigningRequestParams::from_der(&request)
            .map_err(|error| IdentityError::BadRequest(error.to_string()))?;
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(IdentityError::BadRequest("key is not ECDSA P-256".to_owned()));
        }
        let sans = vec![
            uri_san(agent::CLUSTER_URI, cluster)?,
            uri_san(agent::REPLICA_URI, replica)?,
            uri_san(agent::PIN_URI, pin)?,
        ];
        let common_name = format!("{}{cluster}", agent::COMMON_NAME);
        let mut params = params(&common_name, sans, Validity::new(now, lifetime, self.ends)?)?;
        as_client(&mut params);
        Ok(params.signed_by(&request.public_key, &self.issuer)?.der().clone())
    }
}

/// First and last second of a certificate.
struct Validity {
    from: Duration,
    until: Duration,
}

impl Validity {
    fn new(now: Timestamp, lifetime: Duration, ca_ends: Timestamp) -> Result<Self, IdentityError> {
        let bad = |error: jiff::Error| IdentityError::BadLifetime(error.to_string());
        if now >= ca_ends {
            return Err(IdentityError::AuthorityEnded(ca_ends));
        }
        if lifetime.is_zero() {
            return Err(IdentityError::BadLifetime("zero".to_owned()));
        }
        let from = now.checked_sub(BACKDATE).map_err(bad)?;
        let lifetime = SignedDuration::try_from(lifetime).map_err(bad)?;
        let until = now.checked_add(lifetime).unwrap_or(Timestamp::MAX).min(ca_ends);
        Ok(Self { from: since_1970(from)?, until: since_1970(until)? })
    }
}

fn since_1970(time: Timestamp) -> Result<Duration, IdentityError> {
    match u64::try_from(time.as_second()) {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => Err(IdentityError::BadLifetime(format!("{time} is before 1970"))),
    }
}

fn params(
    common_name: &str,
    sans: Vec<SanType>,
    validity: Validity,
) -> Result<CertificateParams, IdentityError> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut serial = [0_u8; SERIAL_BYTES];
    aws_lc_rs::rand::fill(&mut serial).map_err(|error| IdentityError::Crypto(error.to_string()))?;
    let mut params = CertificateParams::default();
    params.not_before = epoch + validity.from;
    params.not_after = epoch + validity.until;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.subject_alt_names = sans;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn as_client(params: &mut CertificateParams) {
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
}

fn serving_san(name: &SubjectName) -> Result<SanType, IdentityError> {
    match name {
        SubjectName::Ip(address) => Ok(SanType::IpAddress(*address)),
        SubjectName::Dns(host) => {
            let plain = host.strip_prefix("*.").unwrap_or(host);
            names::check_name("serving name", plain)?;
            Ok(SanType::DnsName(host.as_str().try_into()?))
        }
    }
}

fn uri_san(prefix: &str, name: &str) -> Result<SanType, IdentityError> {
    Ok(SanType::URI(format!("{prefix}{name}").try_into()?))
}

/// Random serial numbers: two certificates of one key must not share one.
const SERIAL_BYTES: usize = 16;
