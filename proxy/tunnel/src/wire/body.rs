//! Framing of bodies that may be followed by trailers.
//!
//! A body is raw and ends with the stream, unless [`RequestV1::trailers`](super::RequestV1) asks for
//! chunks: a `u32` (big endian) whose top bit is clear announces so many bytes of body; one whose top
//! bit is set announces the block of trailers, which ends the body. A stream that ends before that
//! block was cut short.

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::WireError;
use super::bounded;

/// Longest chunk of body under one chunk head.
pub const CHUNK_BYTES_MAX: usize = 1 << 24;

/// Longest block of trailers.
pub const TRAILERS_BYTES_MAX: usize = 64 << 10;

/// What a framed body consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyEvent {
    /// Bytes of the body, never empty.
    Data(Bytes),
    /// The body is complete; its trailers, often none.
    End(HeaderMap),
}

/// What precedes `len` bytes of body.
///
/// # Errors
/// [`WireError::Body`] if `len` is 0 or above [`CHUNK_BYTES_MAX`].
pub fn chunk_head(len: usize) -> Result<[u8; 4], WireError> {
    match u32::try_from(len) {
        Ok(head) if (1..=CHUNK_BYTES_MAX).contains(&len) => Ok(head.to_be_bytes()),
        Ok(_) | Err(_) => Err(WireError::Body("chunk length out of range")),
    }
}

/// The block that ends a framed body.
///
/// # Errors
/// [`WireError::Body`] above [`TRAILERS_BYTES_MAX`].
pub fn trailers(fields: &HeaderMap) -> Result<Bytes, WireError> {
    const TOO_LONG: WireError = WireError::Body("trailers too long");
    let block = postcard::to_allocvec(&TrailersRef { fields }).map_err(|_list| TOO_LONG)?;
    let len = u32::try_from(block.len()).map_err(|_overflow| TOO_LONG)?;
    if block.len() > TRAILERS_BYTES_MAX {
        return Err(TOO_LONG);
    }
    let mut out = BytesMut::with_capacity(HEAD_BYTES + block.len());
    out.put_u32(TRAILERS_BIT | len);
    out.extend_from_slice(&block);
    Ok(out.freeze())
}

/// Takes a framed body apart. Data is passed through as it comes; only heads and trailers are held.
#[derive(Debug, Default)]
pub struct BodyDecoder {
    state: State,
    held: BytesMut,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Head,
    Data(usize),
    Trailers(usize),
    Ended,
}

impl BodyDecoder {
    /// Takes the next event from the front of `input`; `None` once `input` is used up.
    ///
    /// # Errors
    /// [`WireError::Body`] if the framing is broken, or if anything follows the trailers.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<BodyEvent>, WireError> {
        while !input.is_empty() {
            match self.state {
                State::Head => {
                    if self.hold(input, HEAD_BYTES) {
                        self.state = self.take_head()?;
                    }
                }
                State::Data(left) => {
                    let data = input.split_to(left.min(input.len()));
                    self.state =
                        if data.len() == left { State::Head } else { State::Data(left - data.len()) };
                    return Ok(Some(BodyEvent::Data(data)));
                }
                State::Trailers(len) => {
                    if self.hold(input, len) {
                        self.state = State::Ended;
                        return self.take_trailers().map(|fields| Some(BodyEvent::End(fields)));
                    }
                }
                State::Ended => return Err(WireError::Body("bytes after the trailers")),
            }
        }
        Ok(None)
    }

    /// Whether the body has come to its end, so that the stream may.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Moves bytes from `input` until `wanted` are held.
    fn hold(&mut self, input: &mut Bytes, wanted: usize) -> bool {
        let missing = wanted - self.held.len();
        self.held.extend_from_slice(&input.split_to(missing.min(input.len())));
        self.held.len() == wanted
    }

    fn take_head(&mut self) -> Result<State, WireError> {
        let head = self.held.split();
        let head = head.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        let len = (head & !TRAILERS_BIT) as usize;
        match head & TRAILERS_BIT {
            0 if (1..=CHUNK_BYTES_MAX).contains(&len) => Ok(State::Data(len)),
            0 => Err(WireError::Body("chunk length out of range")),
            _ if (1..=TRAILERS_BYTES_MAX).contains(&len) => Ok(State::Trailers(len)),
            _ => Err(WireError::Body("trailers length out of range")),
        }
    }

    fn take_trailers(&mut self) -> Result<HeaderMap, WireError> {
        match postcard::take_from_bytes::<Trailers>(&self.held.split()) {
            Ok((block, [])) => Ok(block.fields),
            Ok(_) | Err(_) => Err(WireError::Body("malformed trailers")),
        }
    }
}

#[derive(Serialize)]
struct TrailersRef<'a> {
    #[serde(with = "bounded::fields")]
    fields: &'a HeaderMap,
}

#[derive(Deserialize)]
struct Trailers {
    #[serde(with = "bounded::fields")]
    fields: HeaderMap,
}

const HEAD_BYTES: usize = 4;
const TRAILERS_BIT: u32 = 1 << 31;
