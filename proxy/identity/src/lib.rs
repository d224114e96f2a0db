//! Keys, certificates and tokens: everything that proves who somebody is.
//!
//! A request meets this room three times: the edge's TLS configuration ([`tls`]) presents a certificate of the
//! serving authority, the client's certificate or token is turned into a user name and a credential id
//! ([`client`], [`token`]), and the link that carries the request was opened by an agent that proved itself
//! ([`agent`], [`join`], [`service_account`]). Whether a credential is worth anything is not decided here: the
//! policy table knows that. No private key leaves this room except the one written into a downloaded kubeconfig.
//!
//! | file | noun |
//! |---|---|
//! | [`authority`] | one certificate authority: what it issues |
//! | [`authorities`] | the three authorities of an installation, on disk |
//! | [`trust`] | the certificates a chain may end in, and the check of a chain |
//! | [`verifier`] | client certificates asked for in the handshake, judged after it |
//! | [`client`], [`agent`] | what a checked chain says: a user, or a replica of a cluster's agent |
//! | [`tls`] | rustls configurations for the edge, the links and the API server |
//! | [`token`], [`join`] | opaque bearer tokens; the text that brings a cluster in |
//! | [`service_account`] | a Kubernetes ServiceAccount token against pinned issuer keys |

pub mod agent;
pub mod authorities;
pub mod authority;
pub mod client;
pub mod error;
pub mod join;
pub mod service_account;
pub mod tls;
pub mod token;
pub mod trust;
pub mod verifier;

mod names;
mod private_file;

pub use agent::{AgentIdentity, AgentKey};
pub use authorities::Authorities;
pub use authority::{Authority, ClientPem, SubjectName};
pub use client::ClientIdentity;
pub use error::{AuthError, IdentityError, clocks_apart};
pub use join::JoinToken;
pub use service_account::PinnedIssuer;
pub use token::OpaqueToken;
pub use trust::TrustBundle;
pub use verifier::RequestClientCert;
