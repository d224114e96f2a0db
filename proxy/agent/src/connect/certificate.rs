//! The certificate that an agent shows to edges: asked for at one of them (with the join token, and always with the pod's
//! own ServiceAccount token), and kept with its key in memory only.

use std::{
    cell::RefCell,
    sync::Arc,
    time::{Duration, Instant},
};

use hawser_identity::AgentKey;
use hawser_tunnel::wire::{ALPN_ENROLL, EnrollV1, Enrollment};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;

use super::{Agent, connect};
use crate::{credentials::TokenFile, error::AgentError, facts};

/// The one that is shown now, if there is one.
#[derive(Default)]
pub(super) struct Certificate {
    shown: RefCell<Option<Shown>>,
    /// Held while one is asked for, so that all links wait for the same.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Shown {
    key: Arc<CertifiedKey>,
    until: Instant,
}

impl Certificate {
    /// The certificate to show; asks this edge for one where there is none that lasts.
    pub(super) async fn get(&self, agent: &Agent, edge: &str) -> Result<Arc<CertifiedKey>, AgentError> {
        let current = || self.shown.borrow().clone().filter(|shown| shown.until > agent.clock.now());
        if let Some(shown) = current() {
            return Ok(shown.key);
        }
        let _asking = self.asking.lock().await;
        if let Some(shown) = current() {
            return Ok(shown.key);
        }
        let key = enrol(agent, edge).await?;
        let until = agent.clock.now() + SHOWN_FOR;
        *self.shown.borrow_mut() = Some(Shown { key: Arc::clone(&key), until });
        Ok(key)
    }

    /// Edges do not take it: the next to be shown is a new one.
    pub(super) fn distrust(&self) {
        *self.shown.borrow_mut() = None;
    }
}

async fn enrol(agent: &Agent, edge: &str) -> Result<Arc<CertifiedKey>, AgentError> {
    let config = &agent.config;
    let proof = facts::proof(&agent.server, &*agent.clock).await.map_err(AgentError::Cluster)?;
    let token = TokenFile::new(config.identity_token.clone()).text().map_err(|error| {
        AgentError::Cluster(format!(
            "the identity token {} cannot be read: {error}",
            config.identity_token.display()
        ))
    })?;
    let key = AgentKey::generate()?;
    let question = EnrollV1 {
        join_token: Some((config.join.id.clone(), config.join.secret.clone())),
        service_account_token: token,
        cluster_uid: proof.uid,
        issuer: proof.issuer,
        jwks: proof.jwks,
        csr: key.csr()?,
        replica: config.replica.clone(),
        cluster_name: config.cluster.clone(),
    };
    let connection = connect(agent, edge, None, ALPN_ENROLL).await?;
    let stream = |source| AgentError::Stream { edge: edge.to_owned(), source };
    let mut exchange =
        connection.open().await.map_err(|source| AgentError::Link { edge: edge.to_owned(), source })?;
    exchange.send.send_enroll(&question).await.map_err(stream)?;
    exchange.send.finish();
    match exchange.recv.recv_enrollment().await.map_err(stream)? {
        Enrollment::Enrolled(enrolled) => {
            tracing::info!(edge, cluster = enrolled.cluster, "enrolled");
            Ok(key.certified(enrolled.chain.into_iter().map(CertificateDer::from).collect())?)
        }
        Enrollment::Rejected(rejected) => {
            Err(AgentError::Refused { edge: edge.to_owned(), message: rejected.message })
        }
    }
}

/// How long a certificate is used for new connections: less than the hour it lives.
const SHOWN_FOR: Duration = Duration::from_secs(40 * 60);
