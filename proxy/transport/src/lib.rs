//! Transport: sockets, worker threads and the cancellation tree.
//!
//! A request enters Hawser here: one pinned worker thread per core owns a listener of its own
//! (`SO_REUSEPORT`), accepts the connection and keeps it until it ends. Nothing else in the
//! workspace builds a runtime or sets a socket option.
//!
//! | file | what |
//! |---|---|
//! | `worker` | threads, their runtimes, pinning |
//! | `affinity` | which core a thread runs on |
//! | `coalesce` | many small writes become one |
//! | `dead_peer` | noticing a peer that vanished with bytes on their way to it |
//! | `socket` | listeners, UDP sockets and the options of connections |
//! | `scope` | cancellation tree process → worker → connection → exchange |
//! | `split` | core-local halves of one stream |
//!
//! What is promised: a downstream connection never leaves its worker (its halves are `!Send`), and
//! a peer that went away without a word is noticed within [`DEAD_PEER_NOTICED_MAX`].
#![expect(
    unsafe_code,
    reason = "sched_getaffinity, sched_setaffinity and TCP_INFO have no safe wrapper in std"
)]

mod affinity;
mod coalesce;
mod config;
mod dead_peer;
mod error;
mod scope;
mod socket;
mod split;
mod worker;

pub use affinity::cores;
pub use coalesce::Coalesced;
pub use config::{
    DEAD_PEER_NOTICED_MAX, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES, LISTEN_BACKLOG,
    UDP_BUFFER_BYTES, UNACKNOWLEDGED_MAX, WorkersConfig,
};
pub use dead_peer::dead_peer;
pub use error::TransportError;
pub use scope::Scope;
pub use socket::{bind_udp, listen_tcp, listen_tcp_on_device, tune};
pub use split::{ReadHalf, WriteHalf, split};
pub use worker::{Worker, Workers, run};
