//! The bytes of a body out of the bytes of a connection. Payload streams through as it arrives, without a
//! copy; only a chunk-size line or a trailer section is waited for, and both have a bound.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use crate::length::LENGTH_MAX;
use crate::request::DISAGREE;
use crate::scan::{End, Kind};
use crate::{BodyLength, Error, HeadScan, Limits, fields};

/// One step of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Everything in the buffer that can be judged has been taken.
    NeedMore,
    /// Payload, never empty.
    Data(Bytes),
    /// The body is complete, with its trailers if there were any. What is left in the buffer belongs to the
    /// next message.
    End(Option<HeaderMap>),
}

/// Reads one body.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    limits: Limits,
}

#[derive(Debug)]
enum State {
    Length { left: u64 },
    UntilClose,
    ChunkSize,
    Chunk { left: u64 },
    ChunkEnd,
    Trailers(HeadScan),
    Ended,
}

impl BodyDecoder {
    /// A decoder at the first byte after the head.
    #[must_use]
    pub fn new(length: BodyLength, limits: &Limits) -> Self {
        let state = match length {
            BodyLength::None | BodyLength::Length(0) => State::Ended,
            BodyLength::Length(left) => State::Length { left },
            BodyLength::Chunked => State::ChunkSize,
            BodyLength::UntilClose => State::UntilClose,
        };
        Self { state, limits: limits.clone() }
    }

    /// Takes the next step out of `buf`. Call until it answers `NeedMore` or `End`; after `End` it takes
    /// nothing more.
    ///
    /// # Errors
    /// [`Error::Chunked`] or [`Error::HeadTooLarge`] (trailers): the connection is to be closed.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, Error> {
        loop {
            match &mut self.state {
                State::Ended => return Ok(Decoded::End(None)),
                State::UntilClose => return Ok(payload(buf, u64::MAX).0),
                State::Length { left } => {
                    let (step, left) = payload(buf, *left);
                    self.state = if left == 0 { State::Ended } else { State::Length { left } };
                    return Ok(step);
                }
                State::Chunk { left } => {
                    let (step, left) = payload(buf, *left);
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk { left } };
                    return Ok(step);
                }
                State::ChunkEnd => match buf.get(..2) {
                    Some(b"\r\n") => {
                        buf.advance(2);
                        self.state = State::ChunkSize;
                    }
                    None if matches!(&buf[..], b"" | b"\r") => return Ok(Decoded::NeedMore),
                    Some(_) | None => return Err(Error::Chunked("no CRLF after a chunk")),
                },
                State::ChunkSize => match chunk_size(buf, &self.limits)? {
                    None => return Ok(Decoded::NeedMore),
                    Some(0) => self.state = State::Trailers(HeadScan::default()),
                    Some(left) => self.state = State::Chunk { left },
                },
                State::Trailers(scan) => {
                    let Some(end) = scan.advance(buf, Kind::Trailers, &self.limits)? else {
                        return Ok(Decoded::NeedMore);
                    };
                    let trailers = trailers(&buf.split_to(end.bytes), end)?;
                    self.state = State::Ended;
                    return Ok(Decoded::End(trailers));
                }
            }
        }
    }

    /// The connection has ended and everything received was decoded: was the body complete?
    ///
    /// # Errors
    /// [`Error::Truncated`] if not. A truncated body must not be forwarded as a complete one.
    pub fn eof(&self) -> Result<(), Error> {
        match self.state {
            State::Ended | State::UntilClose => Ok(()),
            State::Length { .. }
            | State::ChunkSize
            | State::Chunk { .. }
            | State::ChunkEnd
            | State::Trailers(_) => Err(Error::Truncated),
        }
    }
}

/// Up to `left` bytes of payload, and what is left then.
fn payload(buf: &mut BytesMut, left: u64) -> (Decoded, u64) {
    if buf.is_empty() {
        return (Decoded::NeedMore, left);
    }
    let take = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
    (Decoded::Data(buf.split_to(take).freeze()), left - take as u64)
}

/// Takes a chunk-size line: hexadecimal digits and CRLF. No sign, no `0x`, no whitespace and no chunk
/// extension; nobody sends them and recipients differ in where they end.
fn chunk_size(buf: &mut BytesMut, limits: &Limits) -> Result<Option<u64>, Error> {
    let mut size = 0_u64;
    for (at, &byte) in buf.iter().enumerate() {
        if byte == b'\r' {
            return match (at, buf.get(at + 1)) {
                (0, _) => Err(Error::Chunked("no chunk size")),
                (_, None) => Ok(None),
                (_, Some(b'\n')) => {
                    buf.advance(at + 2);
                    Ok(Some(size))
                }
                (_, Some(_)) => Err(Error::Chunked("CR without LF")),
            };
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b';' => return Err(Error::Chunked("chunk extension")),
            b'\n' => return Err(Error::Chunked("LF without CR")),
            _ => return Err(Error::Chunked("bad byte in a chunk size")),
        };
        if at >= limits.chunk_line_max || size > LENGTH_MAX >> 4 {
            return Err(Error::Chunked("chunk size is too large"));
        }
        size = (size << 4) | u64::from(digit);
    }
    Ok(None)
}

fn trailers(section: &[u8], end: End) -> Result<Option<HeaderMap>, Error> {
    if end.fields == 0 {
        return Ok(None);
    }
    let mut slots = vec![httparse::EMPTY_HEADER; end.fields];
    let Ok(httparse::Status::Complete((bytes, parsed))) = httparse::parse_headers(section, &mut slots) else {
        return Err(DISAGREE);
    };
    if bytes != end.bytes || parsed.len() != end.fields {
        return Err(DISAGREE);
    }
    let trailers = fields::collect(parsed)?;
    if trailers.keys().any(fields::forbidden_in_trailers) {
        return Err(Error::Chunked("a field that may not be in a trailer"));
    }
    Ok(Some(trailers))
}
