//! Why a session is refused at its start ([`Unsupported`]) or ended in its middle ([`Cut`]).

use thiserror::Error;

use crate::event::Direction;
use crate::session::{Kind, Transport};

/// The stream left the grammar. Nothing from the offending frame on was forwarded, and nothing more will be:
/// the caller ends the session, with [`crate::Session::closing_frames`] where they can still be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{rule} ({direction:?}, after {forwarded} bytes)")]
pub struct Cut {
    /// The direction whose bytes broke the rule.
    pub direction: Direction,
    /// The rule that was broken, as a phrase for a log.
    pub rule: &'static str,
    /// Bytes of that direction that had been forwarded; the first byte not forwarded has this offset.
    pub forwarded: u64,
}

/// No walker exists for what was negotiated: the upgrade must be refused, never passed on unread.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Unsupported {
    /// The transport, kind and protocol do not go together, or no current server offers them.
    #[error("no frame walker for {kind:?} over {transport:?} with protocol {protocol:?}")]
    Protocol {
        /// The transport of the upgrade.
        transport: Transport,
        /// What was asked for.
        kind: Kind,
        /// The protocol name of the 101.
        protocol: String,
    },
    /// Port-forward over WebSocket channels needs the ports of the query, and has two channels for each.
    #[error("port-forward over channels with {got} ports, needs 1 to {}", crate::FORWARD_PORTS_MAX)]
    Ports {
        /// The number of ports asked for.
        got: usize,
    },
}

/// A broken rule, before the session adds direction and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) &'static str);
