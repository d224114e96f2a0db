//! The message that opens an exchange: edge to agent, first on every edge-opened stream.

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::bounded::{extensions, fields, list, named_lists};
use super::{Extensions, Message};

/// A request that an edge has authorized, and as whom the cluster shall see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestV1 {
    /// The exchange's id; also its Audit-ID.
    pub exchange: [u8; 16],
    /// HTTP method.
    pub method: String,
    /// Origin-form target, unchanged.
    pub target: String,
    /// Header fields, sanitized: no hop-by-hop and no identity fields.
    #[serde(with = "fields")]
    pub headers: HeaderMap,
    /// User to impersonate, never empty.
    pub user: String,
    /// Groups to impersonate.
    #[serde(with = "list")]
    pub groups: Vec<String>,
    /// Extra attributes to impersonate.
    #[serde(with = "named_lists")]
    pub extra: Vec<(String, Vec<String>)>,
    /// The client asks to leave HTTP (SPDY or WebSocket).
    pub upgrade: bool,
    /// What is known of the request body's length.
    pub body: BodyV1,
    /// The bodies of both directions are framed in chunks, because trailers may follow them.
    pub trailers: bool,
    /// What later versions add.
    #[serde(with = "extensions")]
    pub extensions: Extensions,
}

impl Message for RequestV1 {
    const KIND: u16 = 1;
}

/// Length of a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyV1 {
    /// No body.
    None,
    /// A body that ends with the stream.
    Unknown,
    /// A body of exactly so many bytes.
    Length(u64),
}
