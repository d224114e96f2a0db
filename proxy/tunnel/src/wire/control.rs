//! Messages about the link itself, both ways on the agent's first stream.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::bounded::{extensions, list};
use super::frame::{contents, encode};
use super::{Extensions, Frame, Message, WireError};

/// What a link is for. A connection shares one congestion control, so a bulk transfer must not share
/// it with requests that answer in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Class {
    /// Requests that are answered at once, and watches.
    General,
    /// Upgrades, logs and large bodies.
    Bulk,
}

/// Agent to edge, first message: who serves on this link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloV1 {
    /// Cluster name; must be the one in the agent's certificate.
    pub cluster: String,
    /// Name of this agent replica.
    pub replica: String,
    /// Version of the agent.
    pub agent_version: String,
    /// `gitVersion` of the API server; empty while unknown.
    pub kubernetes_version: String,
    /// Number of nodes; 0 while unknown.
    pub nodes: u32,
    /// What this link is for.
    pub class: Class,
    /// Names of optional abilities of this agent.
    #[serde(with = "list")]
    pub capabilities: Vec<String>,
    /// What an operator of the cluster should look at, one sentence each.
    #[serde(with = "list")]
    pub problems: Vec<String>,
    /// What later versions add.
    #[serde(with = "extensions")]
    pub extensions: Extensions,
}

/// Agent to edge, whenever it changes: how the cluster is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusV1 {
    /// Version of the agent.
    pub agent_version: String,
    /// `gitVersion` of the API server; empty while unknown.
    pub kubernetes_version: String,
    /// Number of nodes; 0 while unknown.
    pub nodes: u32,
    /// What an operator of the cluster should look at, one sentence each.
    #[serde(with = "list")]
    pub problems: Vec<String>,
}

impl HelloV1 {
    /// The state the agent started with.
    #[must_use]
    pub fn status(&self) -> StatusV1 {
        StatusV1 {
            agent_version: self.agent_version.clone(),
            kubernetes_version: self.kubernetes_version.clone(),
            nodes: self.nodes,
            problems: self.problems.clone(),
        }
    }
}

/// Edge to agent: the link is taken into service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WelcomeV1 {
    /// Which edge this is.
    pub edge_id: String,
    /// `host:port` of every edge the agent should hold links to.
    #[serde(with = "list")]
    pub edges: Vec<String>,
    /// What later versions add.
    #[serde(with = "extensions")]
    pub extensions: Extensions,
}

/// Either way: no new exchanges on this link, please; those that run may finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainV1;

/// Any message of a control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// See [`HelloV1`].
    Hello(HelloV1),
    /// See [`StatusV1`].
    Status(StatusV1),
    /// See [`WelcomeV1`].
    Welcome(WelcomeV1),
    /// See [`DrainV1`].
    Drain(DrainV1),
}

impl Control {
    /// The message with its frame.
    ///
    /// # Errors
    /// As [`encode`].
    pub fn encode(&self) -> Result<Bytes, WireError> {
        match self {
            Self::Hello(message) => encode(message),
            Self::Status(message) => encode(message),
            Self::Welcome(message) => encode(message),
            Self::Drain(message) => encode(message),
        }
    }

    /// Reads the message in a frame; `None` for a kind that only a later version knows.
    ///
    /// # Errors
    /// [`WireError::Malformed`] when the contents do not fit the kind.
    pub fn from_frame(frame: &Frame<'_>) -> Result<Option<Self>, WireError> {
        Ok(Some(match frame.kind {
            HelloV1::KIND => Self::Hello(contents(frame)?),
            StatusV1::KIND => Self::Status(contents(frame)?),
            WelcomeV1::KIND => Self::Welcome(contents(frame)?),
            DrainV1::KIND => Self::Drain(contents(frame)?),
            _later => return Ok(None),
        }))
    }
}

impl Message for HelloV1 {
    const KIND: u16 = 16;
}
impl Message for StatusV1 {
    const KIND: u16 = 17;
}
impl Message for WelcomeV1 {
    const KIND: u16 = 18;
}
impl Message for DrainV1 {
    const KIND: u16 = 21;
}
