//! The text that brings a cluster in: where the edges are, whom to trust there, and a secret that is good for
//! enrolling.
//!
//! `hwj1.` and base64url of a JSON object. The edge stores the secret as [`crate::token::sha256`] of it and
//! judges everything else (expiry, use, pattern) by its own record, never by what the text says.

use crate::error::IdentityError;
use crate::names;
use crate::token;
use crate::trust::TrustBundle;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::net::Ipv6Addr;

/// What every join token begins with; the digit is the version of what follows.
pub const PREFIX: &str = "hwj1.";

/// Longest join token that is read, in bytes.
pub const JOIN_TOKEN_BYTES_MAX: usize = 32 * 1024;

/// Most edges in one join token.
pub const EDGES_MAX: usize = 32;

/// The contents of a join token. Has no `Debug`: it holds a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinToken {
    /// Edges to dial, `host:port`; at least one.
    pub edges: Vec<String>,
    /// The serving authority's certificates, PEM.
    #[serde(rename = "ca")]
    pub ca_pem: String,
    /// Id of the edge's record of this token.
    pub id: String,
    /// The secret, as [`token::new_secret`] makes it.
    pub secret: String,
    /// Names that a cluster may take with it; `*` stands for any number of characters.
    #[serde(rename = "cluster")]
    pub cluster_pattern: String,
}

/// Why a text is not a join token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadJoinToken {
    /// Longer than [`JOIN_TOKEN_BYTES_MAX`].
    #[error("join token is longer than {JOIN_TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// It does not begin with [`PREFIX`]: another kind of token, or of a newer version.
    #[error("join token does not begin with `{PREFIX}`")]
    WrongPrefix,
    /// It is cut short or altered.
    #[error("join token is damaged; was it copied whole?")]
    Damaged,
    /// One part is not what it should be.
    #[error("join token: {0}")]
    BadPart(String),
}

impl JoinToken {
    /// The token's text.
    ///
    /// # Errors
    /// A part that [`JoinToken::decode`] would not take.
    pub fn encode(&self) -> Result<String, BadJoinToken> {
        self.check()?;
        let json = serde_json::to_vec(self).map_err(|error| BadJoinToken::BadPart(error.to_string()))?;
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json));
        if text.len() > JOIN_TOKEN_BYTES_MAX { Err(BadJoinToken::TooLong) } else { Ok(text) }
    }

    /// Reads a token's text; outer space is ignored, since people paste it.
    ///
    /// # Errors
    /// See [`BadJoinToken`].
    pub fn decode(text: &str) -> Result<Self, BadJoinToken> {
        let text = text.trim();
        if text.len() > JOIN_TOKEN_BYTES_MAX {
            return Err(BadJoinToken::TooLong);
        }
        let body = text.strip_prefix(PREFIX).ok_or(BadJoinToken::WrongPrefix)?;
        let json = URL_SAFE_NO_PAD.decode(body).ok().ok_or(BadJoinToken::Damaged)?;
        let token: Self = serde_json::from_slice(&json).ok().ok_or(BadJoinToken::Damaged)?;
        token.check()?;
        Ok(token)
    }

    fn check(&self) -> Result<(), BadJoinToken> {
        let part = |error: IdentityError| BadJoinToken::BadPart(error.to_string());
        if self.edges.is_empty() || self.edges.len() > EDGES_MAX {
            return Err(BadJoinToken::BadPart(format!(
                "{} edges, expected 1 to {EDGES_MAX}",
                self.edges.len()
            )));
        }
        if let Some(edge) = self.edges.iter().find(|edge| !is_host_port(edge)) {
            return Err(part(names::bad("edge", edge, "expected host:port")));
        }
        TrustBundle::from_pem(&self.ca_pem).map_err(part)?;
        names::check_name("id", &self.id).map_err(part)?;
        if !token::is_secret(&self.secret) {
            return Err(BadJoinToken::BadPart("secret is not 256 bits of hex".to_owned()));
        }
        if !is_pattern(&self.cluster_pattern) {
            return Err(part(names::bad(
                "cluster",
                &self.cluster_pattern,
                "expected a name, `*` for any part",
            )));
        }
        Ok(())
    }
}

/// Whether a cluster's name fits a pattern with `*`; a pattern without `*` fits itself only.
#[must_use]
pub fn pattern_matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let mut rest = rest;
    // Taking each middle piece at its earliest place leaves the most for those after it.
    while let Some((piece, after)) = rest.split_once('*') {
        let Some(at) = name.find(piece) else { return false };
        name = &name[at + piece.len()..];
        rest = after;
    }
    name.ends_with(rest)
}

fn is_pattern(pattern: &str) -> bool {
    let char_ok = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'*');
    !pattern.is_empty() && pattern.len() <= names::NAME_BYTES_MAX && pattern.bytes().all(char_ok)
}

fn is_host_port(edge: &str) -> bool {
    let Some((host, port)) = edge.rsplit_once(':') else { return false };
    let host_ok = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => names::is_name(host),
    };
    host_ok
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}
