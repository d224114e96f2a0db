//! What a person takes home: a kubeconfig that vanilla kubectl and Helm read, without any plugin.
//!
//! Everything is inline. Every text is written as a double-quoted scalar, so that no name can end its value or
//! be taken for a number.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A kubeconfig: one user, one context per cluster. It holds a secret and so has no `Debug`.
pub struct Kubeconfig {
    /// The clusters; names must be distinct.
    pub clusters: Vec<KubeconfigCluster>,
    /// Name of the user entry.
    pub user: String,
    /// What the user proves themselves with.
    pub credential: KubeconfigCredential,
    /// Context that is used when none is named.
    pub current: Option<String>,
}

/// One cluster, and the context of the same name.
#[derive(Debug, Clone)]
pub struct KubeconfigCluster {
    /// Name of cluster and context.
    pub name: String,
    /// `https://host[:port]`. Distinct per cluster: kubectl keeps what it discovered under this text alone.
    pub server: String,
    /// Certificates (PEM) that the server's must lead to; empty means the machine's own.
    pub ca_pem: String,
    /// Name in the server's certificate, if it is not that of the URL.
    pub tls_server_name: Option<String>,
    /// Namespace of the context.
    pub namespace: Option<String>,
}

/// A credential. No `Debug`: both forms are secret.
pub enum KubeconfigCredential {
    /// A client certificate and its private key.
    Certificate {
        /// Certificate chain (PEM).
        cert_pem: String,
        /// Private key (PEM).
        key_pem: String,
    },
    /// A bearer token.
    Token(String),
}

impl Kubeconfig {
    /// The file's text.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut out = String::from("apiVersion: v1\nkind: Config\npreferences: {}\n");
        out.push_str(if self.clusters.is_empty() { "clusters: []\n" } else { "clusters:\n" });
        for cluster in &self.clusters {
            cluster.write_cluster(&mut out);
        }
        out.push_str(if self.clusters.is_empty() { "contexts: []\n" } else { "contexts:\n" });
        for cluster in &self.clusters {
            cluster.write_context(&mut out, &self.user);
        }
        line(&mut out, "current-context", self.current.as_deref().unwrap_or_default());
        out.push_str("users:\n");
        line(&mut out, "- name", &self.user);
        out.push_str("  user:\n");
        match &self.credential {
            KubeconfigCredential::Certificate { cert_pem, key_pem } => {
                line(&mut out, "    client-certificate-data", &STANDARD.encode(cert_pem));
                line(&mut out, "    client-key-data", &STANDARD.encode(key_pem));
            }
            KubeconfigCredential::Token(token) => line(&mut out, "    token", token),
        }
        out
    }
}

impl KubeconfigCluster {
    fn write_cluster(&self, out: &mut String) {
        line(out, "- name", &self.name);
        out.push_str("  cluster:\n");
        line(out, "    server", &self.server);
        if !self.ca_pem.is_empty() {
            line(out, "    certificate-authority-data", &STANDARD.encode(&self.ca_pem));
        }
        if let Some(name) = &self.tls_server_name {
            line(out, "    tls-server-name", name);
        }
    }

    fn write_context(&self, out: &mut String, user: &str) {
        line(out, "- name", &self.name);
        out.push_str("  context:\n");
        line(out, "    cluster", &self.name);
        line(out, "    user", user);
        if let Some(namespace) = &self.namespace {
            line(out, "    namespace", namespace);
        }
    }
}

fn line(out: &mut String, key: &str, value: &str) {
    out.push_str(key);
    out.push_str(": ");
    push_quoted(out, value);
    out.push('\n');
}

/// A YAML double-quoted scalar in pure ASCII.
fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match (c, u32::from(c)) {
            ('"' | '\\', _) => out.extend(['\\', c]),
            (' '..='~', _) => out.push(c),
            (_, code @ ..=0xff) => out.push_str(&format!("\\x{code:02x}")),
            (_, code @ ..=0xffff) => out.push_str(&format!("\\u{code:04x}")),
            (_, code) => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    out.push('"');
}
