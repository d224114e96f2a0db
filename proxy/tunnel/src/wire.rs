//! Every byte edge and agent must agree on, without I/O.
//!
//! A message is `u32` length (big endian, of what follows), `u16` kind, then the message in postcard.
//! Messages are frozen: a struct named `…V1` never changes. What a later version adds travels in
//! `extensions`, or as a message of a new kind; control messages of unknown kinds are skipped. The
//! golden vectors in `tests/golden` hold each message to its bytes.
//!
//! Decoding allocates nothing on the word of a length field, and every input is either a message or a
//! [`WireError`].

mod body;
mod bounded;
mod code;
mod control;
mod enroll;
mod frame;
mod reply;
mod request;

pub use body::{BodyDecoder, BodyEvent, CHUNK_BYTES_MAX, TRAILERS_BYTES_MAX, chunk_head, trailers};
pub use bounded::{EXTENSIONS_MAX, LIST_MAX};
pub use code::{REFUSED, code_of, reason_of};
pub use control::{Class, Control, DrainV1, HelloV1, StatusV1, WelcomeV1};
pub use enroll::{EnrollV1, EnrolledV1, Enrollment, RejectedV1};
pub use frame::{Frame, MESSAGE_BYTES_MAX, Message, decode, encode, parse_frame};
pub use reply::ReplyV1;
pub use request::{BodyV1, RequestV1};

pub(crate) use frame::contents;

use thiserror::Error;

/// Protocol name in ALPN of a link that carries requests.
pub const ALPN_LINK: &[u8] = b"hawser/1";

/// Protocol name in ALPN of a connection that brings an agent in.
pub const ALPN_ENROLL: &[u8] = b"hawser-enroll/1";

/// What a later version adds to a message: number and bytes. Unknown numbers are ignored.
pub type Extensions = Vec<(u16, Vec<u8>)>;

/// Bytes that are not a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// The length field announces more than is allowed.
    #[error("message of {got} bytes, at most {max} are allowed")]
    TooLong {
        /// Announced length.
        got: usize,
        /// The bound.
        max: usize,
    },
    /// The announced length cannot hold a message.
    #[error("message of {got} bytes is too short to be one")]
    TooShort {
        /// Announced length.
        got: usize,
    },
    /// A well-formed message of a kind that does not belong here.
    #[error("message of kind {got} where kind {expected} belongs")]
    Unexpected {
        /// Kind received.
        got: u16,
        /// Kind that belongs here.
        expected: u16,
    },
    /// The contents do not fit the kind, or a list is longer than its bound.
    #[error("message of kind {kind} is malformed")]
    Malformed {
        /// Kind received.
        kind: u16,
    },
    /// A chunk of a framed body breaks the framing.
    #[error("malformed body framing: {0}")]
    Body(&'static str),
}
