//! The agent: dials out to the edges, and carries the exchanges they open to the kube-apiserver.
//!
//! [`connect`] keeps links up (enrolment, certificates, reconnects), [`serve`] answers the exchanges on them,
//! [`apiserver`] is the client of the API server, [`credentials`] the ServiceAccount files it lives on. The agent never
//! trusts the identity headers of a request: it builds them itself, last, from the stream header of the edge it
//! authenticated, and refuses what the cluster must never see (no user, `system:` names, a foreign prefix).

mod apiserver;
mod config;
mod connect;
mod credentials;
mod error;
mod facts;
mod identity;
mod metrics;
mod serve;

pub use config::Config;
pub use connect::{LINK_NAME, run};
pub use error::AgentError;
pub use facts::STOPS_REQUESTS;
pub use metrics::Metrics;
