//! Strict HTTP/1.1, without I/O: the edge reads clients with it, the agent reads HTTP/1.1 API servers and
//! the answers to upgrades. Two parsers that read one byte sequence differently are how requests are
//! smuggled past an authorization, so this one takes only what has a single reading (RFC 9112, and stricter
//! where the RFC lets a recipient be lenient) and whoever forwards writes the head anew from the parsed form.
//!
//! | file | in a request |
//! |---|---|
//! | [`scan`](HeadScan) | finds the end of a head, byte by byte, and refuses what has two readings |
//! | `request`, `response` | the parsed head and how the connection goes on |
//! | `length` | [`BodyLength`]: where the body ends (RFC 9112 section 6) |
//! | `body` | [`BodyDecoder`]: the bytes of the body, out of the bytes of the connection |
//! | `fields` | header and trailer lines into a `HeaderMap` |
//! | `encode` | heads, chunks and trailers back onto the wire |

mod body;
mod config;
mod encode;
mod error;
mod fields;
mod length;
mod request;
mod response;
mod scan;

pub use body::{BodyDecoder, Decoded};
pub use config::Limits;
pub use encode::{write_chunk, write_last_chunk, write_request_head, write_response_head};
pub use error::Error;
pub use length::BodyLength;
pub use request::{RequestHead, parse_request};
pub use response::{ResponseHead, parse_response};
pub use scan::HeadScan;
