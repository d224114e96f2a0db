//! Who may do what: resources → [`compile()`] → [`Table`] → [`Table::authorize`] → [`Permit`].
//!
//! The room is pure: it does no I/O and reads no clock. Resources of group `access.hawser.dev/v1`
//! are parsed and judged whole at the door ([`resources`]), compiled off the request path into one
//! immutable [`Table`], and published by one atomic swap ([`PolicyHandle`]). A request takes the
//! snapshot, asks [`Table::authorize`] and leaves with a [`Permit`] (the only way to a tunnel
//! stream) or with a [`Denial`] that says in one line what was missing.

mod authorize;
mod builtin;
mod compile;
mod denial;
mod groups;
mod handle;
mod namespaces;
mod permit;
pub mod resources;
mod rule;
mod table;

pub use compile::compile;
pub use denial::{Cause, Denial};
pub use handle::{PolicyHandle, Snapshot};
pub use permit::Permit;
pub use table::{ClusterEntry, CredentialEntry, Subject, Table};
