//! The papers of a benchmark: one certificate authority for backend and peers, the ServiceAccount's key and token with
//! which an agent enrols, and a kubeconfig for every system that has no command of its own to make one.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use hawser_kube::kubeconfig::{Kubeconfig, KubeconfigCluster, KubeconfigCredential};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData as _,
};
use serde_json::json;

#[derive(Args)]
pub(crate) struct Options {
    /// Folder to write to; made where it is not there
    #[arg(long)]
    dir: PathBuf,
    /// Write NAME.kubeconfig for a server on this port of 127.0.0.1 (may be repeated)
    #[arg(long, value_name = "NAME=PORT", value_parser = server)]
    server: Vec<(String, u16)>,
}

/// The certificate authority's certificate.
pub(crate) const CA_FILE: &str = "ca.crt";
/// Certificate and key of every server: of the backend and of the peers in front of it.
pub(crate) const SERVER_FILE: &str = "server.pem";
/// Public keys of the issuer of ServiceAccount tokens.
pub(crate) const JWKS_FILE: &str = "jwks.json";
/// A folder as pods have it, with `token` and `ca.crt` for the API server.
const SERVICE_ACCOUNT_FOLDER: &str = "service-account";
/// The agent's ServiceAccount token for the edge.
const IDENTITY_FILE: &str = "identity-token";
/// Issuer of the tokens.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc";

/// Writes all of it.
pub(crate) fn write(options: &Options) -> anyhow::Result<()> {
    let folder = Folder(&options.dir);
    folder.make("")?;
    folder.make(SERVICE_ACCOUNT_FOLDER)?;
    let authority = Authority::new()?;
    let server = authority.issue("hawser-bench", ExtendedKeyUsagePurpose::ServerAuth)?;
    let client = authority.issue("bench@example.com", ExtendedKeyUsagePurpose::ClientAuth)?;
    folder.write(CA_FILE, &authority.pem)?;
    folder.write(SERVER_FILE, &format!("{}{}", server.certificate, server.key))?;
    for (name, port) in &options.server {
        folder.write(&format!("{name}.kubeconfig"), &kubeconfig(name, *port, &authority.pem, &client))?;
    }
    let account = ServiceAccount::new()?;
    folder.write(JWKS_FILE, &account.jwks())?;
    folder.write(IDENTITY_FILE, &account.token("hawser")?)?;
    folder.write(&format!("{SERVICE_ACCOUNT_FOLDER}/token"), &account.token(ISSUER)?)?;
    folder.write(&format!("{SERVICE_ACCOUNT_FOLDER}/{CA_FILE}"), &authority.pem)
}

struct Folder<'a>(&'a Path);

impl Folder<'_> {
    fn make(&self, name: &str) -> anyhow::Result<()> {
        let path = self.0.join(name);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.with_context(|| format!("cannot make {}", path.display()))
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.0.join(name);
        let open = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let written = open.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Certificate and key, PEM.
struct Identity {
    certificate: String,
    key: String,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name("hawser-bench CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> anyhow::Result<Identity> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        params.distinguished_name = common_name(name);
        params.extended_key_usages = vec![usage];
        Ok(Identity { certificate: params.signed_by(&key, &self.issuer)?.pem(), key: key.serialize_pem() })
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// The agent's ServiceAccount, as a cluster would have it.
struct ServiceAccount(KeyPair);

impl ServiceAccount {
    fn new() -> anyhow::Result<Self> {
        Ok(Self(KeyPair::generate()?))
    }

    fn jwks(&self) -> String {
        // An uncompressed point: 4, then x and y.
        let (x, y) = self.0.der_bytes()[1..].split_at(32);
        let part = |bytes| URL_SAFE_NO_PAD.encode(bytes);
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KEY_ID, "x": part(x), "y": part(y),
        }]})
        .to_string()
    }

    /// Bound to no pod, so that a replica of any name may show it.
    fn token(&self, audience: &str) -> anyhow::Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let claims = json!({
            "iss": ISSUER,
            "sub": format!("system:serviceaccount:{NAMESPACE}:{NAME}"),
            "aud": [audience],
            "iat": now.as_secs(),
            "nbf": now.as_secs(),
            "exp": (now + TOKEN_LIFETIME).as_secs(),
            "kubernetes.io": {"namespace": NAMESPACE, "serviceaccount": {"name": NAME}},
        });
        let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::ES256) };
        Ok(jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_der(&self.0.serialize_der()))?)
    }
}

fn kubeconfig(name: &str, port: u16, ca_pem: &str, client: &Identity) -> String {
    Kubeconfig {
        clusters: vec![KubeconfigCluster {
            name: name.to_owned(),
            server: format!("https://127.0.0.1:{port}"),
            ca_pem: ca_pem.to_owned(),
            tls_server_name: None,
            namespace: None,
        }],
        user: "bench@example.com".to_owned(),
        credential: KubeconfigCredential::Certificate {
            cert_pem: client.certificate.clone(),
            key_pem: client.key.clone(),
        },
        current: Some(name.to_owned()),
    }
    .to_yaml()
}

fn server(text: &str) -> Result<(String, u16), String> {
    let parts = text.split_once('=').and_then(|(name, port)| Some((name.to_owned(), port.parse().ok()?)));
    parts.ok_or_else(|| format!("{text:?} is not NAME=PORT"))
}

/// Where the import manifest puts the agent, and its ServiceAccount.
const NAMESPACE: &str = "hawser-system";
const NAME: &str = "hawser-agent";
const KEY_ID: &str = "bench";
/// Longer than any run.
const TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 86_400);
