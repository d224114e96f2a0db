//! What can go wrong: with our own keys and files ([`IdentityError`]), and with what somebody presented
//! ([`AuthError`]).

use hawser_kube::clock::span;
use jiff::Timestamp;
use std::path::PathBuf;

/// Our own keys, files and inputs: for the operator and the log, never for the client.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file of the key directory could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that holds a private key can be read or changed by others.
    #[error("{path}: mode {mode:03o} lets others at a private key; run `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// An authority's file is not one private key and its certificates.
    #[error("{path}: {why}; write a whole one in its place, or put it back from a backup")]
    BadAuthority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Text that should be PEM certificates of certificate authorities is not.
    #[error("trust bundle: {0}")]
    BadBundle(String),
    /// A name that cannot go into a certificate or a token.
    #[error("{what} `{value}`: {why}")]
    BadName {
        /// Which name.
        what: &'static str,
        /// The name as given, shortened.
        value: String,
        /// What would be right.
        why: String,
    },
    /// A certificate signing request that is damaged, of another key type, or not signed by its own key.
    #[error("certificate signing request: {0}")]
    BadRequest(String),
    /// The authority itself has ended, so that it cannot issue.
    #[error("the certificate authority ended at {0}; replace it, as docs/configuration.md says")]
    AuthorityEnded(Timestamp),
    /// A time or a lifetime outside what a certificate can say.
    #[error("lifetime of a certificate: {0}")]
    BadLifetime(String),
    /// Keys of an issuer that cannot be used.
    #[error("issuer {issuer}: {why}")]
    BadIssuer {
        /// The issuer's URL.
        issuer: String,
        /// What is wrong.
        why: String,
    },
    /// The cryptography library refused to make or sign something.
    #[error("cryptography: {0}")]
    Crypto(String),
    /// rustls refused a key, a certificate or a configuration.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
}

impl From<rcgen::Error> for IdentityError {
    fn from(error: rcgen::Error) -> Self {
        Self::Crypto(error.to_string())
    }
}

/// How far two clocks are apart at least, for whoever can set them: that of `one` says `here` and is beyond a `bound` that
/// the other one set.
#[must_use]
pub fn clocks_apart(one: &str, here: Timestamp, other: &str, bound: Timestamp) -> String {
    let seconds = here.as_second() - bound.as_second();
    let side = if seconds > 0 { "ahead of" } else { "behind" };
    let apart = span(seconds.abs());
    format!(
        "the clock of {one}, which says {here:.0}, is at least {apart} {side} {other}: set the one that is wrong"
    )
}

/// Why a presented certificate or token proves nothing.
///
/// The text is fit for the person who presented it: it names no secret and no other user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Nothing was presented.
    #[error("no credential was presented")]
    Missing,
    /// It was good once.
    #[error("the credential expired at {since}; ask for a new kubeconfig")]
    Expired {
        /// When it ended.
        since: Timestamp,
    },
    /// A certificate of ours is not good yet: the clock that judges it is behind the one it was made by.
    #[error("the credential is not valid before {from}: {}", clocks_apart("the edge", *.here, "the one it was made by", *.from))]
    NotYetValid {
        /// When it begins.
        from: Timestamp,
        /// What the clock here says.
        here: Timestamp,
    },
    /// A token that its cluster renews all the time has ended, or not begun, by the clock here.
    #[error("{}", clocks_apart("the edge", *.here, "the cluster's", *.bound))]
    ClocksApart {
        /// The end of the token's time that is next to `here`.
        bound: Timestamp,
        /// What the clock here says.
        here: Timestamp,
    },
    /// No authority or issuer that is trusted here signed it.
    #[error("the credential was not issued here; use the kubeconfig of this edge, or ask for a new one")]
    WrongCa,
    /// Signed by a trusted authority, but not for this use.
    #[error("the credential is not meant for this use; use the kubeconfig of this edge")]
    WrongPurpose,
    /// It cannot be read.
    #[error("the credential cannot be read: {0}")]
    Malformed(&'static str),
    /// The signature was made with an algorithm that is not accepted.
    #[error("the token's signature algorithm is not accepted")]
    WrongAlgorithm,
    /// None of the issuer's pinned keys has the token's key id.
    #[error("the token's key is not among the issuer's pinned keys")]
    UnknownKey,
    /// The signature does not match.
    #[error("the token's signature does not match")]
    BadSignature,
    /// A token of another issuer.
    #[error("the token comes from another issuer")]
    WrongIssuer,
    /// A token for another audience.
    #[error("the token is meant for another audience")]
    WrongAudience,
    /// A token of another subject.
    #[error("the token belongs to another subject")]
    WrongSubject,
}
