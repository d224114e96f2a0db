//! The answer when a request is refused: a Kubernetes `Status`, which every client prints as its own.
//!
//! kubectl shows `message` word for word, controllers branch on `reason`, and client-go sends *any* request
//! again that was answered 429 or 5xx with `retryAfterSeconds`: so that field is only ever set by constructors
//! for requests that certainly did not reach the cluster.

use serde::{Deserialize, Serialize};

use crate::request_info::{BadTarget, RequestAttributes};

/// A failure in the form of `meta/v1` `Status`. It is read by the client; what went wrong inside goes to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// HTTP status code of the answer.
    pub code: u16,
    /// Machine-readable reason, one of apimachinery's `StatusReason` (empty if there is none for the code).
    pub reason: &'static str,
    /// The text that the person sees.
    pub message: String,
    /// What the failure is about, if there is anything to say.
    pub details: Option<Box<Details>>,
}

/// What a failure is about, as in `meta/v1` `StatusDetails`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Details {
    /// Name of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// API group of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Resource (plural) of the object; Kubernetes calls it kind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// UID of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Further causes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Seconds after which the client should send the request again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
}

/// One cause, as in `meta/v1` `StatusCause`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cause {
    /// Machine-readable cause, such as `ExitCode`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The cause in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Field of the object that is at fault.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

impl Status {
    /// 400: the request cannot be understood, or could be in two ways.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// 401. kubectl prints `error: You must be logged in to the server (MESSAGE)`.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, message)
    }

    /// 403 in Kubernetes' own phrasing; `why` follows behind a colon unless it is empty. The verb is the one
    /// that policies were asked about.
    #[must_use]
    pub fn forbidden(request: &RequestAttributes, user: &str, why: &str) -> Self {
        let mut what = escape_html(&cannot(request, user));
        if !why.is_empty() {
            what.push_str(": ");
            what.push_str(why);
        }
        let qualified = match (request.resource.as_str(), request.api_group.as_str()) {
            (resource, "") => resource.to_owned(),
            (resource, group) => format!("{resource}.{group}"),
        };
        let message = match (qualified.as_str(), request.name.as_str()) {
            ("", _) => format!("forbidden: {what}"),
            (resource, "") => format!("{resource} is forbidden: {what}"),
            (resource, name) => format!("{resource} {} is forbidden: {what}", quote(name)),
        };
        let details = Details {
            name: request.name.clone(),
            group: request.api_group.clone(),
            kind: request.resource.clone(),
            ..Details::default()
        };
        Self { details: Some(Box::new(details)), ..Self::new(403, message) }
    }

    /// 404: no such thing.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, message)
    }

    /// 405: the path exists, the method does not.
    #[must_use]
    pub fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(405, message)
    }

    /// 409: the object changed meanwhile, or exists already.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, message)
    }

    /// 421: the connection was opened for another cluster than the one the request names.
    #[must_use]
    pub fn misdirected(message: impl Into<String>) -> Self {
        Self::new(421, message)
    }

    /// 429, before anything was forwarded: the client may and will send the request again.
    #[must_use]
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(429, message).retried_after(Some(retry_after_seconds))
    }

    /// 431: more header bytes than anyone reads.
    #[must_use]
    pub fn header_fields_too_large(message: impl Into<String>) -> Self {
        Self::new(431, message)
    }

    /// 500: a fault of ours.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, message)
    }

    /// 502: the cluster's answer was not usable, or the request may have reached it and is lost.
    #[must_use]
    pub fn bad_gateway(message: impl Into<String>) -> Self {
        Self::new(502, message)
    }

    /// 503: with `retry_after_seconds` clients send the request again, writes too: give it only for a request
    /// that certainly was not delivered.
    #[must_use]
    pub fn service_unavailable(message: impl Into<String>, retry_after_seconds: Option<u32>) -> Self {
        Self::new(503, message).retried_after(retry_after_seconds)
    }

    /// 504: a deadline of ours passed.
    #[must_use]
    pub fn gateway_timeout(message: impl Into<String>) -> Self {
        Self::new(504, message)
    }

    /// A failure with `code` and the reason that Kubernetes gives to that code.
    #[must_use]
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, reason: reason_of(code), message: message.into(), details: None }
    }

    fn retried_after(mut self, seconds: Option<u32>) -> Self {
        if seconds.is_some() {
            let details = Details { retry_after_seconds: seconds, ..Details::default() };
            self.details = Some(Box::new(details));
        }
        self
    }

    /// Seconds for the `Retry-After` header.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        self.details.as_ref().and_then(|details| details.retry_after_seconds)
    }

    /// The body, as compact JSON in the order and with the escapes that Go writes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        self.json(&self.message, true).into_bytes()
    }

    /// The body in fewer than `bytes_max` bytes: the message is shortened at a character, then the details
    /// are left out. Older WebSocket clients read no more than 1024 bytes of a refused upgrade. An empty
    /// frame of about 120 bytes is the least there is.
    #[must_use]
    pub fn to_json_max(&self, bytes_max: usize) -> Vec<u8> {
        let whole = self.json(&self.message, true);
        if whole.len() < bytes_max {
            return whole.into_bytes();
        }
        for with_details in [true, false] {
            let fixed = self.json(CUT_MARK, with_details).len();
            if fixed < bytes_max {
                let short = shorten(&self.message, bytes_max - fixed - 1);
                return self.json(&short, with_details).into_bytes();
            }
        }
        self.json("", false).into_bytes()
    }

    fn json(&self, message: &str, with_details: bool) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
            kind: &'static str,
            api_version: &'static str,
            metadata: Empty,
            status: &'static str,
            #[serde(skip_serializing_if = "str::is_empty")]
            message: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            reason: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            details: Option<&'a Details>,
            code: u16,
        }
        #[derive(Serialize)]
        struct Empty {}

        let wire = Wire {
            kind: "Status",
            api_version: "v1",
            metadata: Empty {},
            status: "Failure",
            message,
            reason: self.reason,
            details: self.details.as_deref().filter(|_| with_details),
            code: self.code,
        };
        escape_json(&serde_json::to_string(&wire).unwrap_or_default())
    }
}

impl From<BadTarget> for Status {
    fn from(error: BadTarget) -> Self {
        Self::bad_request(error.to_string())
    }
}

/// `User "u" cannot VERB …`, as the API server's `forbiddenMessage` words it.
fn cannot(request: &RequestAttributes, user: &str) -> String {
    let user = quote(user);
    let verb = request.policy_verb();
    if !request.is_resource {
        return format!("User {user} cannot {verb} path {}", quote(&request.path));
    }
    let resource = match (request.resource.as_str(), request.subresource.as_str()) {
        (resource, "") => quote(resource),
        (resource, subresource) => quote(&format!("{resource}/{subresource}")),
    };
    let group = quote(&request.api_group);
    if request.namespace.is_empty() {
        format!("User {user} cannot {verb} resource {resource} in API group {group} at the cluster scope")
    } else {
        let namespace = quote(&request.namespace);
        format!(
            "User {user} cannot {verb} resource {resource} in API group {group} in the namespace {namespace}"
        )
    }
}

/// Go's `%q`, for the texts that stand in a Status.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The API server's guard against a browser that takes the text for HTML.
fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What Go's `encoding/json` escapes and serde does not. None of these characters is JSON syntax, so they
/// only occur inside strings.
fn escape_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '&' | '<' | '>' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// The longest beginning of `message` that takes at most `bytes_max` bytes inside a JSON string, marked as cut.
fn shorten(message: &str, bytes_max: usize) -> String {
    let mut left = bytes_max;
    let mut out = String::new();
    for c in message.chars() {
        let quoted = serde_json::to_string(&c).unwrap_or_default();
        let cost = escape_json(&quoted).len().saturating_sub(2);
        let Some(rest) = left.checked_sub(cost) else { break };
        left = rest;
        out.push(c);
    }
    out.push_str(CUT_MARK);
    out
}

/// apimachinery's reason for a status code (`NewGenericServerResponse` and the constructors beside it).
const fn reason_of(code: u16) -> &'static str {
    match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        406 => "NotAcceptable",
        409 => "Conflict",
        410 => "Gone",
        413 => "RequestEntityTooLarge",
        415 => "UnsupportedMediaType",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "",
    }
}

/// Ends a message that was cut.
const CUT_MARK: &str = "…";
