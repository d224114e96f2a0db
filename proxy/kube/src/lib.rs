//! What Kubernetes clients and API servers say to each other, as types, without any I/O.
//!
//! | a request meets | module |
//! |---|---|
//! | what it asks for | [`request_info`] |
//! | whether it wants to become a stream | [`upgrade`] |
//! | which header fields may go on | [`headers`] |
//! | who it is in the cluster | [`impersonation`] |
//! | the answer when it is refused | [`status`] |
//! | what is remembered of it | [`audit_event`] |
//! | why it ended | [`close`] |
//! | whose share of the connections it takes | [`source`] |
//!
//! [`clock`] is the one place that reads the time, [`kubeconfig`] is what a person takes home.
//! Nothing here reads a socket, a file or (but for [`clock::SystemClock`]) a clock, so that any case can be
//! replayed byte for byte.

pub mod audit_event;
pub mod clock;
pub mod close;
pub mod headers;
pub mod impersonation;
pub mod kubeconfig;
mod query;
pub mod request_info;
pub mod source;
pub mod status;
pub mod upgrade;

pub use close::CloseReason;
pub use request_info::{Action, BadTarget, RequestAttributes};
pub use status::Status;
