//! Whom the load asks: the current context of a kubeconfig, so that every system is described in the form in which a
//! user of it would have it.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::ServerName;
use serde::Deserialize;

use crate::tls;

/// A server, and how to prove oneself there.
pub(crate) struct Target {
    /// `host:port`.
    pub(crate) authority: String,
    pub(crate) server_name: ServerName<'static>,
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

impl Target {
    /// Reads a kubeconfig with inline data.
    ///
    /// # Errors
    /// What is missing in it.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let file: File = serde_saphyr::from_str(text)?;
        let context = named(&file.contexts, &file.current_context)?;
        let cluster = named(&file.clusters, &context.cluster)?;
        let user = named(&file.users, &context.user)?;
        let authority = cluster.server.strip_prefix("https://").context("server: not an https URL")?;
        let host = authority.rsplit_once(':').context("server: names no port")?.0;
        let name = cluster.tls_server_name.as_deref().unwrap_or(host);
        let ca = STANDARD.decode(&cluster.certificate_authority_data)?;
        let chain = STANDARD.decode(&user.client_certificate_data)?;
        let key = STANDARD.decode(&user.client_key_data)?;
        Ok(Self {
            authority: authority.to_owned(),
            server_name: ServerName::try_from(name.to_owned())?,
            tls: tls::client(&ca, Some((&chain, &key)))?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    current_context: String,
    clusters: Vec<Named<Cluster>>,
    contexts: Vec<Named<Context>>,
    users: Vec<Named<User>>,
}

#[derive(Deserialize)]
struct Named<T> {
    name: String,
    #[serde(alias = "cluster", alias = "context", alias = "user")]
    value: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: String,
    tls_server_name: Option<String>,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate_data: String,
    client_key_data: String,
}

fn named<'a, T>(entries: &'a [Named<T>], name: &str) -> anyhow::Result<&'a T> {
    let found = entries.iter().find(|entry| entry.name == name);
    Ok(&found.with_context(|| format!("names {name:?}, which is not in it"))?.value)
}
