//! The audit event of one exchange, in the very form that the API server writes: `audit.k8s.io/v1`.
//!
//! Tools that read a cluster's audit log read this one. The edge makes an event for each stage, refusals and
//! failed sign-ins too; the audit room writes it down as one line.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::request_info::RequestAttributes;
use crate::status::{Details, Status};

/// One event. Field order is the API server's. The default is that of a request that has arrived, with nothing known of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Event {
    /// Always [`Kind::Event`].
    pub kind: Kind,
    /// Always [`ApiVersion::V1`].
    pub api_version: ApiVersion,
    /// How much of the request is kept.
    pub level: Level,
    /// The same for all stages of an exchange, and in the cluster's own log.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// When in the exchange the event was made.
    pub stage: Stage,
    /// The target as it was sent, query included.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// The verb as the API server names it: `get` for an exec over WebSocket, `create` over SPDY.
    pub verb: String,
    /// Who asked; empty where nobody could be recognised.
    pub user: UserInfo,
    /// Whom they asked to be (`kubectl --as`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<UserInfo>,
    /// Addresses the request came from, the client's first.
    #[serde(default, rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    pub source_ips: Vec<String>,
    /// What the client calls itself; see [`cut_user_agent`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    /// The object; absent for a non-resource path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_ref: Option<ObjectRef>,
    /// How it was answered; absent at [`Stage::RequestReceived`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_status: Option<ResponseStatus>,
    /// The request's object, from [`Level::Request`] on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_object: Option<Value>,
    /// The answer's object, at [`Level::RequestResponse`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_object: Option<Value>,
    /// When the request arrived.
    #[serde(with = "micro_time")]
    pub request_received_timestamp: Timestamp,
    /// When this stage was reached.
    #[serde(with = "micro_time")]
    pub stage_timestamp: Timestamp,
    /// Further facts, such as [`DECISION`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<Cow<'static, str>, String>,
}

/// `kind` of an audit event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The only one.
    #[default]
    Event,
}

/// `apiVersion` of an audit event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiVersion {
    /// `audit.k8s.io/v1`
    #[default]
    #[serde(rename = "audit.k8s.io/v1")]
    V1,
}

/// How much of an exchange an event keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Level {
    /// Nothing.
    None,
    /// Who, what, when and the outcome.
    #[default]
    Metadata,
    /// The request's object too.
    Request,
    /// The answer's object too.
    RequestResponse,
}

/// When in an exchange an event is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// The head was read.
    #[default]
    RequestReceived,
    /// The answer's head was sent and a long body follows; also the only stage of a failed authentication.
    ResponseStarted,
    /// The end.
    ResponseComplete,
    /// A fault of the server.
    Panic,
}

/// A person or a machine, as in `authentication.k8s.io/v1`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserInfo {
    /// Name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Identifier that survives a change of name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Further attributes, such as [`CREDENTIAL_ID`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The object a request is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectRef {
    /// Plural resource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// Namespace; absent at the cluster scope.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name; absent for a collection.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// UID.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Group; absent for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    /// Version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// Resource version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Subresource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subresource: String,
}

impl ObjectRef {
    /// The object of `request`; `None` for a non-resource path.
    #[must_use]
    pub fn of(request: &RequestAttributes) -> Option<Self> {
        request.is_resource.then(|| Self {
            resource: request.resource.clone(),
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            uid: String::new(),
            api_group: request.api_group.clone(),
            api_version: request.api_version.clone(),
            resource_version: String::new(),
            subresource: request.subresource.clone(),
        })
    }
}

/// How a request was answered: `meta/v1` `Status` without the words of its type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResponseStatus {
    /// Always `{}`.
    pub metadata: Empty,
    /// `Failure` (or `Success` where the answer was a Status itself).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// The text the person saw.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Machine-readable reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What the failure is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// HTTP status code.
    pub code: u16,
}

impl ResponseStatus {
    /// An answer of which only the code is known: success, or a body that was not read.
    #[must_use]
    pub fn code(code: u16) -> Self {
        Self { code, ..Self::default() }
    }
}

impl ResponseStatus {
    /// What an API server's answer of this code says, if its body is a `Status`; never the body of anything else.
    #[must_use]
    pub fn of_answer(code: u16, body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer {
            kind: String,
            status: String,
            #[serde(default)]
            message: String,
            #[serde(default)]
            reason: String,
            details: Option<Details>,
        }
        let answer: Answer = serde_json::from_slice(body).ok()?;
        (answer.kind == "Status").then_some(Self {
            metadata: Empty {},
            status: answer.status,
            message: answer.message,
            reason: answer.reason,
            details: answer.details,
            code,
        })
    }
}

impl From<&Status> for ResponseStatus {
    fn from(status: &Status) -> Self {
        Self {
            metadata: Empty {},
            status: "Failure".to_owned(),
            message: status.message.clone(),
            reason: status.reason.to_owned(),
            details: status.details.as_deref().cloned(),
            code: status.code,
        }
    }
}

/// An object without fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// A user agent as the API server keeps it: at most 1024 bytes, marked where it was cut.
#[must_use]
pub fn cut_user_agent(user_agent: &str) -> String {
    if user_agent.len() <= USER_AGENT_BYTES_MAX {
        return user_agent.to_owned();
    }
    let end = user_agent.floor_char_boundary(USER_AGENT_BYTES_MAX);
    format!("{}...TRUNCATED", &user_agent[..end])
}

/// RFC 3339 with exactly six digits of a second and `Z`, as `meta/v1` `MicroTime`.
mod micro_time {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Timestamp, D::Error> {
        String::deserialize(input)?.parse().map_err(de::Error::custom)
    }
}

/// Annotation: `allow` or `forbid`. Audit tools (Falco among them) match on it.
pub const DECISION: &str = "authorization.k8s.io/decision";
/// Annotation: why.
pub const REASON: &str = "authorization.k8s.io/reason";
/// Key of [`UserInfo::extra`]: which credential was used.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
/// Bytes of a user agent that are kept.
pub const USER_AGENT_BYTES_MAX: usize = 1024;
