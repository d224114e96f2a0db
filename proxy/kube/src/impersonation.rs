//! Who a request is inside the cluster: the `Impersonate-*` headers, made in one place and set last.
//!
//! An empty user would mean no impersonation, and the request would run with the agent's own rights; so an
//! [`Identity`] that says nothing, or says something that a header cannot carry unchanged, is refused.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;

/// The identity a cluster sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Name, with the cluster's prefix.
    pub user: String,
    /// All groups; the API server adds `system:authenticated` itself.
    pub groups: Vec<String>,
    /// Needs an API server of 1.22 or newer.
    pub uid: Option<String>,
    /// Further attributes; keys in lower case, each once.
    pub extra: Vec<(String, Vec<String>)>,
}

/// Why an identity must not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// A user, group, uid, key or value is empty.
    #[error("{0} of the impersonated identity is empty")]
    Empty(Part),
    /// It begins or ends with a space, which HTTP would trim, or holds a control character.
    #[error("{0} of the impersonated identity has outer spaces or control characters")]
    Unclean(Part),
    /// It is longer than any directory gives out.
    #[error("{0} of the impersonated identity is longer than {BYTES_MAX} bytes")]
    TooLong(Part),
    /// There are more of them than an API server reads.
    #[error("the impersonated identity has too many of {0}")]
    TooMany(Part),
    /// It belongs to the cluster's own components.
    #[error("{0} of the impersonated identity is reserved for the cluster itself")]
    Reserved(Part),
    /// A key with capitals would arrive as another one.
    #[error("an extra key of the impersonated identity is not in lower case")]
    NotLowerCase,
    /// The same key twice would arrive merged.
    #[error("an extra key of the impersonated identity is given twice")]
    Duplicate,
    /// The header already holds an `Impersonate-*` field, which would be read beside ours.
    #[error("the request still carries an Impersonate header of its own")]
    Leftover,
}

/// Which part of an identity an [`IdentityError`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The user name.
    User,
    /// A group, or the groups.
    Group,
    /// The uid.
    Uid,
    /// An extra key, or the keys.
    ExtraKey,
    /// An extra value, or the values of one key.
    ExtraValue,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Uid => "uid",
            Self::ExtraKey => "extra key",
            Self::ExtraValue => "extra value",
        })
    }
}

impl Identity {
    /// Whether it would arrive as it is written here.
    ///
    /// # Errors
    /// The first [`IdentityError`] found.
    pub fn check(&self) -> Result<(), IdentityError> {
        check_text(Part::User, &self.user)?;
        if self.user.starts_with("system:") {
            return Err(IdentityError::Reserved(Part::User));
        }
        check_count(Part::Group, self.groups.len(), GROUPS_MAX)?;
        for group in &self.groups {
            check_text(Part::Group, group)?;
            if is_reserved_group(group) {
                return Err(IdentityError::Reserved(Part::Group));
            }
        }
        if let Some(uid) = &self.uid {
            check_text(Part::Uid, uid)?;
        }
        self.check_extra()
    }

    fn check_extra(&self) -> Result<(), IdentityError> {
        check_count(Part::ExtraKey, self.extra.len(), EXTRA_KEYS_MAX)?;
        for (at, (key, values)) in self.extra.iter().enumerate() {
            check_text(Part::ExtraKey, key)?;
            if key.bytes().any(|byte| byte.is_ascii_uppercase()) {
                return Err(IdentityError::NotLowerCase);
            }
            if self.extra[..at].iter().any(|(earlier, _)| earlier == key) {
                return Err(IdentityError::Duplicate);
            }
            if values.is_empty() {
                return Err(IdentityError::Empty(Part::ExtraValue));
            }
            check_count(Part::ExtraValue, values.len(), EXTRA_VALUES_MAX)?;
            values.iter().try_for_each(|value| check_text(Part::ExtraValue, value))?;
        }
        Ok(())
    }

    /// Sets the `Impersonate-*` fields. Nothing may touch `headers` after it but the bearer token of the agent.
    ///
    /// # Errors
    /// As [`Self::check`], and [`IdentityError::Leftover`] if a field of that family is already there. Then
    /// `headers` is as it was.
    pub fn apply(&self, headers: &mut HeaderMap) -> Result<(), IdentityError> {
        self.check()?;
        if is_requested(headers) {
            return Err(IdentityError::Leftover);
        }
        let mut fields = vec![(USER, header_value(Part::User, &self.user)?)];
        for group in &self.groups {
            fields.push((GROUP, header_value(Part::Group, group)?));
        }
        if let Some(uid) = &self.uid {
            fields.push((UID, header_value(Part::Uid, uid)?));
        }
        for (key, values) in &self.extra {
            let name = extra_header(key)?;
            for value in values {
                fields.push((name.clone(), header_value(Part::ExtraValue, value)?));
            }
        }
        for (name, value) in fields {
            headers.append(name, value);
        }
        Ok(())
    }
}

/// Whether a request asks to be somebody else (`kubectl --as`), or carries anything of that family.
#[must_use]
pub fn is_requested(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("impersonate"))
}

fn check_text(part: Part, text: &str) -> Result<(), IdentityError> {
    if text.is_empty() {
        return Err(IdentityError::Empty(part));
    }
    if text.len() > BYTES_MAX {
        return Err(IdentityError::TooLong(part));
    }
    if text.trim() != text || text.chars().any(char::is_control) {
        return Err(IdentityError::Unclean(part));
    }
    Ok(())
}

const fn check_count(part: Part, count: usize, max: usize) -> Result<(), IdentityError> {
    if count > max { Err(IdentityError::TooMany(part)) } else { Ok(()) }
}

/// Groups that the cluster gives to its own components, or to those it does not know.
fn is_reserved_group(group: &str) -> bool {
    [
        "system:masters",
        "system:nodes",
        "system:unauthenticated",
        "system:bootstrappers",
        "system:serviceaccounts",
    ]
    .iter()
    .any(|reserved| group.strip_prefix(reserved).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')))
}

fn header_value(part: Part, text: &str) -> Result<HeaderValue, IdentityError> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_control| IdentityError::Unclean(part))
}

/// `Impersonate-Extra-KEY`; bytes that a field name cannot hold, and `%` itself, as `%XX` (client-go,
/// `headerKeyEscape`). The API server lowers the name, then unescapes it.
fn extra_header(key: &str) -> Result<HeaderName, IdentityError> {
    let mut name = String::from("impersonate-extra-");
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02x}"));
        }
    }
    HeaderName::from_bytes(name.as_bytes()).map_err(|_too_long| IdentityError::TooLong(Part::ExtraKey))
}

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const UID: HeaderName = HeaderName::from_static("impersonate-uid");

/// Longest user, group, uid, extra key or extra value in bytes.
pub const BYTES_MAX: usize = 1024;
/// Most groups: with [`BYTES_MAX`] still half of the header an API server reads (1 MiB).
pub const GROUPS_MAX: usize = 512;
/// Most extra keys. Each costs the API server an authorization check.
pub const EXTRA_KEYS_MAX: usize = 16;
/// Most values of one extra key.
pub const EXTRA_VALUES_MAX: usize = 16;
