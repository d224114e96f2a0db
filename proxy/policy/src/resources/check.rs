//! What single values may look like. Each check answers with what would be right.

use jiff::Timestamp;

use super::{BUILT_IN_ROLES, SYSTEM_NAMESPACE};

/// Judges one text; the error says what would be right.
pub(super) type Check = fn(&str) -> Result<(), String>;

/// Longest user or group name in bytes. It must fit into a header line many times over.
pub(super) const IDENTITY_BYTES_MAX: usize = 256;
/// Longest free text in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 1024;
/// Longest prefix of user names in bytes.
pub(super) const PREFIX_BYTES_MAX: usize = 63;
/// Longest path in a rule, in bytes.
pub(super) const URL_BYTES_MAX: usize = 1024;
const LABEL_BYTES_MAX: usize = 63;
const SUBDOMAIN_BYTES_MAX: usize = 253;
const SHA256_HEX_BYTES: usize = 64;

/// Host names of the edge itself.
const RESERVED_CLUSTERS: [&str; 2] = ["hawser", "hawser-api"];
/// Names below this are Kubernetes' own; asserting one could make a user the control plane.
const KUBERNETES_PREFIX: &str = "system:";

/// Verbs that a request on a resource can have.
pub(super) const RESOURCE_VERBS: [&str; 9] =
    ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "*"];
/// Verbs that a request outside the resources can have.
pub(super) const URL_VERBS: [&str; 8] = ["get", "head", "options", "post", "put", "patch", "delete", "*"];

pub(super) fn cluster_name(text: &str) -> Result<(), String> {
    if RESERVED_CLUSTERS.contains(&text) {
        return Err("another name: this one is a host name of the edge itself".to_owned());
    }
    if is_dns_label(text) {
        return Ok(());
    }
    Err("a DNS label: lower-case letters, digits and `-`, at most 63 characters (clusters are host names)"
        .to_owned())
}

pub(super) fn cluster_reference(text: &str) -> Result<(), String> {
    if text.contains('*') {
        return Err("the name of one cluster; `selector: {}` is every cluster".to_owned());
    }
    cluster_name(text)
}

pub(super) fn user_name(text: &str) -> Result<(), String> {
    identity(text)?;
    if text.contains(['/', '%']) || text == "." || text == ".." {
        return Err("a name without `/` or `%` that is not `.` or `..`".to_owned());
    }
    Ok(())
}

pub(super) fn group(text: &str) -> Result<(), String> {
    identity(text)
}

pub(super) fn object_name(text: &str) -> Result<(), String> {
    if is_subdomain(text) {
        return Ok(());
    }
    Err("lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit".to_owned())
}

pub(super) fn role_name(text: &str) -> Result<(), String> {
    if BUILT_IN_ROLES.contains(&text) {
        return Err(format!("a name other than the built-in roles {}", BUILT_IN_ROLES.join(", ")));
    }
    object_name(text)
}

pub(super) fn reference(text: &str) -> Result<(), String> {
    match text.split_once('/') {
        None => object_name(text),
        Some((SYSTEM_NAMESPACE, name)) => object_name(name),
        Some(_) => Err(only_system_namespace()),
    }
}

pub(super) fn namespace(text: &str) -> Result<(), String> {
    if text == SYSTEM_NAMESPACE { Ok(()) } else { Err(only_system_namespace()) }
}

pub(super) fn namespace_pattern(text: &str) -> Result<(), String> {
    if text.contains(['{', '}']) {
        return Err(
            "a name or a pattern such as `payments-*`; templates are not enforced yet by this version"
                .to_owned(),
        );
    }
    let plain = text.replace('*', "");
    let letters = plain.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !text.is_empty() && letters && plain.len() <= LABEL_BYTES_MAX && text.len() <= 2 * LABEL_BYTES_MAX {
        return Ok(());
    }
    Err("the name of a namespace, or a pattern such as `payments-*`".to_owned())
}

pub(super) fn api_group(text: &str) -> Result<(), String> {
    if text.is_empty() || text == "*" || is_subdomain(text) {
        return Ok(());
    }
    Err("an API group such as `apps`, `\"\"` for the core group, or `*`".to_owned())
}

pub(super) fn resource(text: &str) -> Result<(), String> {
    let word = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
    };
    let right = match text.split_once('/') {
        None => text == "*" || word(text),
        Some(("*", subresource)) => word(subresource),
        Some((_, "*")) => {
            return Err("each subresource by name, such as `pods/log`: RBAC has no `pods/*`".to_owned());
        }
        Some((resource, subresource)) => word(resource) && word(subresource),
    };
    if right { Ok(()) } else { Err("`pods`, `pods/log`, `*/scale` or `*`, in lower case".to_owned()) }
}

pub(super) fn resource_name(text: &str) -> Result<(), String> {
    let segment = !text.is_empty() && !text.contains(['/', '%']) && !text.chars().any(char::is_control);
    if segment && text.len() <= SUBDOMAIN_BYTES_MAX && !text.contains('*') {
        return Ok(());
    }
    Err("the name of one object, without patterns".to_owned())
}

pub(super) fn url(text: &str) -> Result<(), String> {
    let body = text.strip_suffix('*').unwrap_or(text);
    let rooted = text == "*" || text.starts_with('/');
    if rooted && !body.contains('*') && !text.chars().any(char::is_control) && text.len() <= URL_BYTES_MAX {
        return Ok(());
    }
    Err("a path such as `/metrics`, with `*` at its end at most".to_owned())
}

pub(super) fn user_prefix(text: &str) -> Result<(), String> {
    if text.starts_with(KUBERNETES_PREFIX) {
        return Err(not_kubernetes_own());
    }
    let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || b":-._".contains(&b));
    // Without its own end, prefix and name together could read `system:…`.
    let ended = text.is_empty() || text.ends_with(':');
    if letters && ended && text.len() <= PREFIX_BYTES_MAX {
        return Ok(());
    }
    Err("letters, digits and `:-._`, ending with `:`, such as `hawser:` (or empty, on purpose)".to_owned())
}

pub(super) fn context_name(text: &str) -> Result<(), String> {
    let right = !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if right && !text.is_empty() && text.len() <= SUBDOMAIN_BYTES_MAX {
        return Ok(());
    }
    Err("a word without spaces".to_owned())
}

pub(super) fn free_text(text: &str) -> Result<(), String> {
    if text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!("one line of at most {TEXT_BYTES_MAX} bytes"))
}

pub(super) fn email(text: &str) -> Result<(), String> {
    free_text(text)?;
    match text.split_once('@') {
        Some((name, host)) if !name.is_empty() && !host.is_empty() && !text.contains(char::is_whitespace) => {
            Ok(())
        }
        Some(_) | None => Err("an address such as `alice@example.com`".to_owned()),
    }
}

/// RFC 3339, and nothing of what parsers accept beyond it.
pub(super) fn timestamp(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    let shaped = bytes.len() >= "2026-12-14T18:00:00Z".len()
        && bytes.iter().enumerate().take(19).all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            10 => *byte == b'T',
            13 | 16 => *byte == b':',
            _ => byte.is_ascii_digit(),
        })
        && !text.contains('[')
        && !text.contains(' ');
    if shaped && text.parse::<Timestamp>().is_ok() {
        return Ok(());
    }
    Err("an RFC 3339 time with its zone, such as `2026-12-14T18:00:00Z`".to_owned())
}

pub(super) fn sha256_hex(text: &str) -> Result<(), String> {
    let digits = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if digits && text.len() == SHA256_HEX_BYTES {
        return Ok(());
    }
    Err("the SHA-256 of the secret as 64 lower-case hex digits".to_owned())
}

/// `prefix/name` or `name`, as Kubernetes has it for keys of labels and annotations.
pub(super) fn label_key(text: &str) -> Result<(), String> {
    let right = match text.split_once('/') {
        None => is_label_text(text),
        Some((prefix, name)) => is_subdomain(prefix) && is_label_text(name),
    };
    if right { Ok(()) } else { Err("a label key such as `env` or `example.com/env`".to_owned()) }
}

pub(super) fn label_value(text: &str) -> Result<(), String> {
    if text.is_empty() || is_label_text(text) {
        return Ok(());
    }
    Err("a label value: letters, digits and `-._`, at most 63 characters".to_owned())
}

pub(super) fn anything(_: &str) -> Result<(), String> {
    Ok(())
}

fn identity(text: &str) -> Result<(), String> {
    if text.starts_with(KUBERNETES_PREFIX) {
        return Err(not_kubernetes_own());
    }
    if text.len() > IDENTITY_BYTES_MAX {
        return Err(format!("a name of at most {IDENTITY_BYTES_MAX} bytes"));
    }
    if text.is_empty() || text.trim() != text || text.chars().any(char::is_control) {
        return Err("a name without control characters and without spaces around it".to_owned());
    }
    Ok(())
}

fn not_kubernetes_own() -> String {
    format!("a name outside `{KUBERNETES_PREFIX}`, which is Kubernetes' own")
}

fn only_system_namespace() -> String {
    format!("`{SYSTEM_NAMESPACE}`: this version knows no other namespace")
}

fn is_dns_label(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= LABEL_BYTES_MAX
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= SUBDOMAIN_BYTES_MAX && text.split('.').all(is_dns_label)
}

fn is_label_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= LABEL_BYTES_MAX
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(b))
}
