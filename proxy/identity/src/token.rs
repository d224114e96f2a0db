//! Opaque bearer tokens: `hwt_<id>_<secret>`, the secret 256 random bits in hex.
//!
//! Only the SHA-256 of the whole text is kept, so a stolen store holds no token. The id leads to the one entry
//! to compare with; the comparison takes the same time wherever the texts differ.

use crate::error::IdentityError;
use crate::names;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;

/// What every token begins with, so that scanners for leaked secrets can know it.
pub const PREFIX: &str = "hwt_";

/// Length of the secret part: 256 bits in hex.
pub const SECRET_CHARS: usize = 64;

/// Longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = PREFIX.len() + names::NAME_BYTES_MAX + 1 + SECRET_CHARS;

/// A token at the one moment when its text exists here. Has no `Debug`.
pub struct OpaqueToken {
    /// The token itself, to be shown once.
    pub text: String,
    /// What is stored.
    pub sha256: [u8; 32],
}

impl OpaqueToken {
    /// A new token for the credential `id`.
    ///
    /// # Errors
    /// `id` is not a name, or the system has no randomness.
    pub fn mint(id: &str) -> Result<Self, IdentityError> {
        names::check_name("credential", id)?;
        let text = format!("{PREFIX}{id}_{}", new_secret()?);
        let sha256 = sha256(&text);
        Ok(Self { text, sha256 })
    }
}

/// The parts of a token: `(id, secret)`. `None` for any text that [`OpaqueToken::mint`] cannot have made.
#[must_use]
pub fn parse(text: &str) -> Option<(&str, &str)> {
    if text.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let well_formed = names::is_name(id) && is_secret(secret);
    well_formed.then_some((id, secret))
}

/// SHA-256 of a token's whole text.
#[must_use]
pub fn sha256(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    hash
}

/// Whether `stored` is the SHA-256 of `text`, in constant time.
#[must_use]
pub fn matches(text: &str, stored: &[u8; 32]) -> bool {
    verify_slices_are_equal(&sha256(text), stored).is_ok()
}

/// 256 random bits as lower-case hex.
///
/// # Errors
/// The system has no randomness.
pub fn new_secret() -> Result<String, IdentityError> {
    let mut bytes = [0_u8; SECRET_CHARS / 2];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|error| IdentityError::Crypto(error.to_string()))?;
    Ok(hex(&bytes))
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

pub(crate) fn is_secret(text: &str) -> bool {
    text.len() == SECRET_CHARS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
