//! Which names may go into certificates and tokens.

use crate::error::IdentityError;

/// Longest name of a user, in bytes. Longer than X.520's 64 characters, which no verifier enforces and real
/// subjects exceed.
pub(crate) const USER_BYTES_MAX: usize = 256;

/// Longest name of a Kubernetes object (RFC 1123 subdomain), in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 253;

/// A user name: any text without control characters or outer space.
pub(crate) fn check_user(user: &str) -> Result<(), IdentityError> {
    let why = if user.is_empty() {
        "must not be empty".to_owned()
    } else if user.len() > USER_BYTES_MAX {
        format!("longer than {USER_BYTES_MAX} bytes")
    } else if user.chars().any(char::is_control) {
        "must not hold control characters".to_owned()
    } else if user.trim() != user {
        "must not begin or end with space".to_owned()
    } else {
        return Ok(());
    };
    Err(bad("user", user, why))
}

/// A name of a cluster, replica, pin, credential or join token: RFC 1123 subdomain.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), IdentityError> {
    if is_name(name) {
        return Ok(());
    }
    let why = format!(
        "must be at most {NAME_BYTES_MAX} of a-z, 0-9, `-` and `.`, beginning and ending with a letter or digit"
    );
    Err(bad(what, name, why))
}

/// Whether `name` is an RFC 1123 subdomain.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.split('.').all(|label| {
            let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            let bytes = label.as_bytes();
            edge(bytes.first())
                && edge(bytes.last())
                && bytes.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        })
}

pub(crate) fn bad(what: &'static str, value: &str, why: impl Into<String>) -> IdentityError {
    IdentityError::BadName { what, value: value.chars().take(64).collect(), why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_text() {
        for good in ["alice", "alice@example.com", "Zoë", "a b", &"u".repeat(USER_BYTES_MAX)] {
            assert!(check_user(good).is_ok(), "{good}");
        }
        for bad in ["", " alice", "alice\n", "a\0b", "a\u{85}b", &"u".repeat(USER_BYTES_MAX + 1)] {
            assert!(check_user(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_subdomains() {
        for good in ["a", "prod-eu", "a.b-c.d", "0", &"n".repeat(NAME_BYTES_MAX)] {
            assert!(is_name(good), "{good}");
        }
        for bad in
            ["", ".", "a.", ".a", "a..b", "-a", "a-", "a_b", "A", "a:b", "é", &"n".repeat(NAME_BYTES_MAX + 1)]
        {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
