//! How a cluster comes in, and how its agents prove themselves ever after.
//!
//! A join token is good for one cluster (its kube-system UID is pinned with the issuer and keys of its ServiceAccount
//! tokens) or, if reusable, for every cluster whose name fits. From then on a replica needs only the projected token of
//! the agent's ServiceAccount, signed by the pinned keys, and gets a short certificate for a key it made itself, worth
//! nothing under any other pin.

use std::{sync::Arc, time::Duration};

use hawser_identity::{
    AgentIdentity, AuthError, JoinToken, PinnedIssuer, join, service_account,
    token::{hex, new_secret, sha256},
};
use hawser_kube::clock::Clock;
use hawser_store::{Store, StoreError};
use hawser_tunnel::wire::{EnrollV1, EnrolledV1, Enrollment, RejectedV1};
use jiff::Timestamp;

use super::records::{JoinRecord, PinRecord, Stored, change, ensure_cluster, read, version};
use super::refusals::Refusals;
use crate::Keys;

/// Lets agents in.
pub struct Enrolment {
    /// Where join tokens and pinned clusters are kept.
    pub store: Store,
    /// Issues the agents' certificates.
    pub keys: Keys,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who was not let in.
    pub refusals: Refusals,
}

/// No join token was made.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The token's contents do not fit.
    #[error(transparent)]
    Token(#[from] join::BadJoinToken),
    /// No randomness.
    #[error(transparent)]
    Identity(#[from] hawser_identity::IdentityError),
}

/// What is wrong with an enrolment; the text goes to the cluster's operator.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the store of the edge is not available: {0}")]
    Store(#[from] StoreError),
    #[error("the agent's ServiceAccount token is not accepted: {0}")]
    Token(#[from] AuthError),
    #[error("{0}")]
    Told(String),
}

impl Enrolment {
    /// Makes a join token for clusters whose name fits `pattern`.
    ///
    /// # Errors
    /// The store, or contents that do not fit into a token.
    pub async fn invite(
        &self,
        pattern: &str,
        reusable: bool,
        replace: bool,
        expires: Timestamp,
        edges: Vec<String>,
    ) -> Result<String, InviteError> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let secret = new_secret()?;
        let record = JoinRecord {
            secret_sha256: hex(&sha256(&secret)),
            pattern: pattern.to_owned(),
            reusable,
            expires,
            replace,
            used_by: None,
        };
        let text = JoinToken {
            edges,
            ca_pem: self.keys.current().serving.bundle().pem(),
            id: id.clone(),
            secret,
            cluster_pattern: pattern.to_owned(),
        }
        .encode()?;
        self.store.transact(vec![change(&id, &record, None)]).await?;
        Ok(text)
    }

    /// Answers an agent that asks to be let in; its certificate is good for `lifetime`.
    pub async fn enrol(&self, request: EnrollV1, lifetime: Duration) -> Enrollment {
        let (cluster, replica) = (request.cluster_name.clone(), request.replica.clone());
        match self.try_enrol(request, lifetime).await {
            Ok(enrolled) => {
                tracing::info!(cluster, replica, "agent enrolled");
                self.refusals.forget(&cluster);
                Enrollment::Enrolled(enrolled)
            }
            Err(refusal) => {
                tracing::warn!(cluster, replica, %refusal, "agent refused");
                self.refusals.note(&cluster, self.clock.wall(), refusal.to_string());
                Enrollment::Rejected(RejectedV1 { message: refusal.to_string() })
            }
        }
    }

    async fn try_enrol(&self, request: EnrollV1, lifetime: Duration) -> Result<EnrolledV1, Refusal> {
        let pin = match self.known(&request).await? {
            Some(pin) => pin,
            None => self.join(&request).await?,
        };
        let EnrollV1 { cluster_name: cluster, replica, csr, .. } = request;
        let who = AgentIdentity { cluster, replica, pin };
        let certificate = self
            .keys
            .current()
            .agents
            .issue_agent(&who, &csr, lifetime, self.clock.wall())
            .map_err(|error| Refusal::Told(error.to_string()))?;
        Ok(EnrolledV1 { chain: vec![certificate.to_vec()], cluster: who.cluster })
    }

    /// The version of the pin that the request proves to be under, if it does.
    async fn known(&self, request: &EnrollV1) -> Result<Option<String>, Refusal> {
        let pinned = read::<PinRecord>(&self.store, &request.cluster_name).await?;
        let Some(pin) = pinned.filter(|it| it.record.uid == request.cluster_uid) else { return Ok(None) };
        match self.proves(request, &pin.record) {
            Ok(()) => Ok(Some(pin.version)),
            // The keys are right: no join token would help.
            Err(apart @ Refusal::Token(AuthError::ClocksApart { .. })) => Err(apart),
            Err(_not_by_this_pin) => Ok(None),
        }
    }

    /// Is the request's ServiceAccount token signed by the pinned issuer?
    fn proves(&self, request: &EnrollV1, pin: &PinRecord) -> Result<(), Refusal> {
        let issuer =
            PinnedIssuer::new(&pin.issuer, &pin.jwks).map_err(|error| Refusal::Told(error.to_string()))?;
        let token = &request.service_account_token;
        let claims = service_account::verify(token, &issuer, AUDIENCE, SUBJECT, self.clock.wall(), LEEWAY)?;
        match claims.pod {
            Some(pod) if pod != request.replica => {
                Err(Refusal::Told(format!("the token is that of pod {pod}, not of {}", request.replica)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// First contact, or a cluster whose keys changed: only with a join token. Gives the version of the pin.
    async fn join(&self, request: &EnrollV1) -> Result<String, Refusal> {
        let name = &request.cluster_name;
        let Stored { record: join, revision, .. } = self.join_token(request).await?;
        // Read after the token: another replica may have used the token and pinned the same just now.
        if let Some(pin) = self.known(request).await? {
            return Ok(pin);
        }
        let pinned = read::<PinRecord>(&self.store, name).await?;
        // A name is taken over once per token: a cluster that lost it again does not take it back.
        let fresh = join.reusable || join.used_by.is_none();
        if let Some(Stored { record: pin, .. }) = &pinned
            && !(join.replace && fresh)
        {
            if pin.uid != request.cluster_uid {
                return Err(Refusal::Told(format!(
                    "cluster name {name} belongs to another cluster; choose another name, or import with --replace"
                )));
            }
            // Whoever holds an old join token could otherwise put keys of their own in the place of the pinned ones.
            if join.reusable || !fresh {
                return Err(Refusal::Told(format!(
                    "the ServiceAccount keys of cluster {name} are not those it joined with; run `hawser import {name}` \
                     again and apply what it prints"
                )));
            }
        }
        let pin = PinRecord {
            uid: request.cluster_uid.clone(),
            issuer: request.issuer.clone(),
            jwks: request.jwks.clone(),
        };
        self.proves(request, &pin)?;
        ensure_cluster(&self.store, name).await?;
        let mut changes = vec![change(name, &pin, pinned.map(|it| it.revision))];
        if !join.reusable && join.used_by.is_none() {
            let used = JoinRecord { used_by: Some(request.cluster_uid.clone()), ..join };
            let (id, _secret) = shown(request)?;
            changes.push(change(id, &used, Some(revision)));
        }
        match self.store.transact(changes).await {
            // Two replicas join at the same time: the other one has pinned the same.
            Err(StoreError::AlreadyExists { .. } | StoreError::Conflict { .. }) => self
                .known(request)
                .await?
                .ok_or_else(|| Refusal::Told(format!("cluster {name} was imported twice at the same time"))),
            made => Ok(made?.first().map(version).unwrap_or_default()),
        }
    }

    /// The record of the join token shown, if it is good for this cluster.
    async fn join_token(&self, request: &EnrollV1) -> Result<Stored<JoinRecord>, Refusal> {
        let (id, secret) = shown(request)?;
        let unknown = || {
            Refusal::Told(
                "the join token is not known here; run `hawser import` again and apply what it prints"
                    .to_owned(),
            )
        };
        let token = read::<JoinRecord>(&self.store, id).await?.ok_or_else(unknown)?;
        let record = &token.record;
        if hex(&sha256(secret)) != record.secret_sha256 {
            return Err(unknown());
        }
        if record.expires <= self.clock.wall() {
            return Err(Refusal::Told(format!(
                "the join token expired at {}; run `hawser import` again",
                record.expires
            )));
        }
        if !join::pattern_matches(&record.pattern, &request.cluster_name) {
            return Err(Refusal::Told(format!(
                "the join token is for clusters named {}, not {}",
                record.pattern, request.cluster_name
            )));
        }
        match &record.used_by {
            Some(uid) if *uid != request.cluster_uid => Err(Refusal::Told(
                "the join token was used by another cluster; run `hawser import` again".to_owned(),
            )),
            Some(_) | None => Ok(token),
        }
    }
}

/// Id and secret of the join token in the request.
fn shown(request: &EnrollV1) -> Result<&(String, String), Refusal> {
    request.join_token.as_ref().ok_or_else(|| {
        Refusal::Told(format!(
            "cluster {} is not known here, or its keys changed; run `hawser import {}` and apply what it prints",
            request.cluster_name, request.cluster_name
        ))
    })
}

/// Audience of the agent's projected token.
const AUDIENCE: &str = "hawser";
/// The agent's ServiceAccount, as the import manifest makes it.
const SUBJECT: &str = "system:serviceaccount:hawser-system:hawser-agent";
/// How far the clocks of edge and cluster may differ.
const LEEWAY: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
