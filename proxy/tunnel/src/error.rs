//! What can happen to links and streams, told apart where a caller can act differently.

use hawser_kube::close::CloseReason;
use thiserror::Error;

use crate::wire::{REFUSED, WireError, reason_of};

/// How a link ended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LinkLost {
    /// Nothing came from the far side for the idle timeout.
    #[error("no sign of life from the far side")]
    IdleTimeout,
    /// The far side closed the link.
    #[error("closed by the far side: {0}")]
    Closed(CloseReason),
    /// This side closed the link.
    #[error("closed: {0}")]
    ClosedHere(CloseReason),
    /// The far side does not know the link (any more): it was restarted.
    #[error("the far side has no such link")]
    Reset,
    /// The connection broke a rule of its protocol.
    #[error("protocol error: {0}")]
    Protocol(String),
}

/// Why there is no link, or no new stream on it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LinkError {
    /// The link is gone.
    #[error("link lost: {0}")]
    Lost(#[from] LinkLost),
    /// The far side allows no further stream at the moment; other links may.
    #[error("too many streams on this link")]
    StreamLimit,
    /// No connection came about: wrong certificate, no common protocol, nobody there.
    #[error("handshake failed: {0}")]
    Handshake(String),
    /// The parameters given cannot make a connection.
    #[error("cannot connect: {0}")]
    Setup(String),
}

/// Why a stream cannot be read or written further.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StreamError {
    /// The link that carried the stream is gone.
    #[error("link lost: {0}")]
    LinkLost(#[from] LinkLost),
    /// The far side did not even look at the stream: what it carried may be sent again.
    #[error("stream refused")]
    Refused,
    /// The far side gave up sending.
    #[error("reset by the far side: {0}")]
    Reset(CloseReason),
    /// The far side will not read further.
    #[error("stopped by the far side: {0}")]
    Stopped(CloseReason),
    /// This side has finished, reset or stopped the half already.
    #[error("stream half is closed here")]
    Ended,
    /// The stream ended within a message or a framed body.
    #[error("stream ended early")]
    Truncated,
    /// The far side sent bytes that are no message.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl StreamError {
    pub(crate) fn reset(code: quinn::VarInt) -> Self {
        Self::by_peer(code, Self::Reset)
    }

    pub(crate) fn stopped(code: quinn::VarInt) -> Self {
        Self::by_peer(code, Self::Stopped)
    }

    fn by_peer(code: quinn::VarInt, given: fn(CloseReason) -> Self) -> Self {
        if code.into_inner() == u64::from(REFUSED) {
            Self::Refused
        } else {
            given(reason_of(code.into_inner()))
        }
    }
}

/// `here` is the reason given by this side, if it closed the link.
pub(crate) fn link_lost(error: &quinn::ConnectionError, here: Option<&CloseReason>) -> LinkLost {
    match error {
        quinn::ConnectionError::TimedOut => LinkLost::IdleTimeout,
        quinn::ConnectionError::ApplicationClosed(close) => {
            LinkLost::Closed(reason_of(close.error_code.into_inner()))
        }
        quinn::ConnectionError::LocallyClosed => {
            LinkLost::ClosedHere(here.cloned().unwrap_or(CloseReason::Shutdown))
        }
        quinn::ConnectionError::Reset => LinkLost::Reset,
        quinn::ConnectionError::VersionMismatch
        | quinn::ConnectionError::TransportError(_)
        | quinn::ConnectionError::ConnectionClosed(_)
        | quinn::ConnectionError::CidsExhausted => LinkLost::Protocol(error.to_string()),
    }
}
