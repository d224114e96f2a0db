//! How an agent without a certificate gets one: one question and one answer on the first stream of an
//! enrollment connection ([`ALPN_ENROLL`](super::ALPN_ENROLL)).

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::bounded::{blob, blobs};
use super::frame::{contents, encode};
use super::{Frame, Message, WireError};

/// Agent to edge: let me in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollV1 {
    /// Id and secret of a join token. It brings a cluster in the first time; afterwards the service
    /// account token alone is enough.
    pub join_token: Option<(String, String)>,
    /// Projected token of the agent's own service account.
    pub service_account_token: String,
    /// UID of the kube-system namespace.
    pub cluster_uid: String,
    /// Issuer of the cluster's service account tokens.
    pub issuer: String,
    /// The issuer's keys as a JSON Web Key Set.
    pub jwks: String,
    /// Certificate signing request in DER.
    #[serde(with = "blob")]
    pub csr: Vec<u8>,
    /// Name of this agent replica.
    pub replica: String,
    /// Name the cluster shall have.
    pub cluster_name: String,
}

/// Edge to agent: you are in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolledV1 {
    /// The agent's certificate chain in DER, leaf first.
    #[serde(with = "blobs")]
    pub chain: Vec<Vec<u8>>,
    /// Name of the cluster as the edge knows it.
    pub cluster: String,
}

/// Edge to agent: no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedV1 {
    /// Why and what would help, for the operator of the cluster.
    pub message: String,
}

/// The edge's answer to [`EnrollV1`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enrollment {
    /// See [`EnrolledV1`].
    Enrolled(EnrolledV1),
    /// See [`RejectedV1`].
    Rejected(RejectedV1),
}

impl Enrollment {
    /// The answer with its frame.
    ///
    /// # Errors
    /// As [`encode`].
    pub fn encode(&self) -> Result<Bytes, WireError> {
        match self {
            Self::Enrolled(message) => encode(message),
            Self::Rejected(message) => encode(message),
        }
    }

    /// Reads the answer in a frame.
    ///
    /// # Errors
    /// [`WireError::Malformed`] when the contents do not fit the kind, [`WireError::Unexpected`] for
    /// any other kind.
    pub fn from_frame(frame: &Frame<'_>) -> Result<Self, WireError> {
        match frame.kind {
            EnrolledV1::KIND => contents(frame).map(Self::Enrolled),
            RejectedV1::KIND => contents(frame).map(Self::Rejected),
            got => Err(WireError::Unexpected { got, expected: EnrolledV1::KIND }),
        }
    }
}

impl Message for EnrollV1 {
    const KIND: u16 = 32;
}
impl Message for EnrolledV1 {
    const KIND: u16 = 33;
}
impl Message for RejectedV1 {
    const KIND: u16 = 34;
}

// Both tokens are secrets: what is printed of this must be safe in a log.
impl fmt::Debug for EnrollV1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrollV1")
            .field("cluster_name", &self.cluster_name)
            .field("replica", &self.replica)
            .field("cluster_uid", &self.cluster_uid)
            .field("issuer", &self.issuer)
            .field("join_token", &self.join_token.as_ref().map(|(id, _secret)| id))
            .finish_non_exhaustive()
    }
}
