//! Tunnel: links between edges and agents, and the streams that carry one exchange each.
//!
//! An agent dials out to an edge; the edge opens one bidirectional stream per exchange on that link.
//! A stream begins with a frozen header ([`wire::RequestV1`]), then carries the raw body both ways.
//!
//! | file | what |
//! |---|---|
//! | `wire` | every byte both sides must agree on, without I/O |
//! | `delivery` | may a request be sent again? without I/O |
//! | `acceptor`, `dialer` | the two ends that make connections |
//! | `cid`, `handover` | connection ids that name their worker; datagrams that arrive elsewhere |
//! | `connection`, `stream`, `body` | one connection, one stream, one direction of an exchange's body |
//! | `link`, `registry` | connections of known agents, and which of them takes a request |
//!
//! QUIC is an implementation detail: no type of it is visible outside, so that another kind of link
//! can stand beside it.

mod acceptor;
mod body;
mod cid;
mod config;
mod connection;
mod delivery;
mod dialer;
mod error;
mod handover;
mod link;
mod metrics;
mod registry;
mod stream;
pub mod wire;

pub use acceptor::{Acceptor, AcceptorConfig, Incoming};
pub use body::{BodyReader, BodyWriter};
pub use cid::CidKey;
pub use config::LinkConfig;
pub use connection::Connection;
pub use delivery::{Delivery, REFUSALS_MAX, Verdict};
pub use dialer::{DialConfig, dial};
pub use error::{LinkError, LinkLost, StreamError};
pub use handover::{HandoverConfig, HandoverHub};
pub use link::{Link, LinkId, LinkIdentity};
pub use metrics::HandoverStats;
pub use registry::{ClusterFull, Registry, ReplicaSnapshot};
pub use stream::{READ_BYTES_MAX, RecvHalf, SendHalf, Stopped, TunnelStream};
