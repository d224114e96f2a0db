//! The edge: from an accepted TCP connection to the answer, and from an agent's QUIC link to a route.
//!
//! The way of a request, file by file: [`accept`] → [`tls`] → [`downstream`] (the drivers) → [`request`] (the story:
//! [`authenticate`], attributes, permit) → [`forward`] → the tunnel; [`record`] remembers it. [`fleet`] is the other
//! side: agents that enrol, connect and tell how their cluster is.
//!
//! One [`Shared`] for the process, one [`run`] per worker; downstream connections never leave their worker.

mod accept;
mod authenticate;
mod config;
mod conn;
mod downstream;
mod error;
mod exchange;
mod fleet;
mod forward;
mod hosts;
mod keys;
mod metrics;
mod record;
mod request;
mod respond;
mod stalled;
mod tls;
mod worker;

pub use config::{Config, ConfigHandle, Limit, Limits, Quantity};
pub use fleet::{
    Enrolment, InviteError, LOOPBACK_ANNOTATION, LastSeen, Loopbacks, Refusals, delete_cluster,
    ensure_cluster,
};
pub use hosts::{Host, HostTable, Hosts};
pub use keys::Keys;
pub use metrics::Metrics;
pub use stalled::Stalled;
pub use worker::{Shared, run};
