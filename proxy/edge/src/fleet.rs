//! The fleet: agents that enrol, connect and report. One accept loop per worker; a link, once up, is for all workers.

mod enrol;
mod last_seen;
mod links;
mod pins;
mod records;
mod refusals;

pub use enrol::{Enrolment, InviteError};
pub use last_seen::LastSeen;
pub(crate) use links::accept;
pub(crate) use pins::{Pinned, follow};
pub use records::{LOOPBACK_ANNOTATION, Loopbacks, delete_cluster, ensure_cluster};
pub use refusals::Refusals;
