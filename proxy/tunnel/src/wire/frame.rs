//! The frame around every message: length, kind, contents.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::WireError;

/// Longest message, kind and contents. A header list of 1 MiB and its envelope fit.
pub const MESSAGE_BYTES_MAX: usize = 2 << 20;

/// A struct that travels as a message of its own kind.
pub trait Message: Serialize + DeserializeOwned {
    /// Number of this kind, never reused.
    const KIND: u16;
}

/// One message as it stands in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Which message it is.
    pub kind: u16,
    /// Its contents in postcard.
    pub contents: &'a [u8],
    /// Bytes of the buffer this message took.
    pub consumed: usize,
}

/// Writes a message with its frame.
///
/// # Errors
/// [`WireError::TooLong`] above [`MESSAGE_BYTES_MAX`], [`WireError::Malformed`] if a list is longer
/// than its bound.
pub fn encode<M: Message>(message: &M) -> Result<Bytes, WireError> {
    encode_kind(M::KIND, message)
}

/// Reads one message of the expected kind from the front of `input`: the message and how many bytes
/// it took, or `None` if more bytes are needed.
///
/// # Errors
/// As soon as the bytes cannot become a message of kind `M`.
pub fn decode<M: Message>(input: &[u8]) -> Result<Option<(M, usize)>, WireError> {
    let Some(frame) = parse_frame(input)? else { return Ok(None) };
    if frame.kind != M::KIND {
        return Err(WireError::Unexpected { got: frame.kind, expected: M::KIND });
    }
    Ok(Some((contents(&frame)?, frame.consumed)))
}

/// Finds the frame at the front of `input`, or `None` if more bytes are needed.
///
/// # Errors
/// [`WireError::TooLong`] or [`WireError::TooShort`], from the first four bytes on.
pub fn parse_frame(input: &[u8]) -> Result<Option<Frame<'_>>, WireError> {
    let Some((head, rest)) = input.split_first_chunk() else { return Ok(None) };
    let got = u32::from_be_bytes(*head) as usize;
    if got > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLong { got, max: MESSAGE_BYTES_MAX });
    }
    if got < KIND_BYTES {
        return Err(WireError::TooShort { got });
    }
    let Some(message) = rest.get(..got) else { return Ok(None) };
    let Some((kind, contents)) = message.split_first_chunk() else {
        return Err(WireError::TooShort { got });
    };
    Ok(Some(Frame { kind: u16::from_be_bytes(*kind), contents, consumed: LENGTH_BYTES + got }))
}

pub(super) fn encode_kind<T: Serialize>(kind: u16, value: &T) -> Result<Bytes, WireError> {
    let mut out = Sink(BytesMut::with_capacity(FIRST_CAPACITY));
    out.0.put_u32(0);
    out.0.put_u16(kind);
    let mut out =
        postcard::serialize_with_flavor(value, out).map_err(|_too_long| WireError::Malformed { kind })?;
    let got = out.len() - LENGTH_BYTES;
    let length = u32::try_from(got).ok().filter(|_| got <= MESSAGE_BYTES_MAX);
    let length = length.ok_or(WireError::TooLong { got, max: MESSAGE_BYTES_MAX })?;
    out[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(out.freeze())
}

/// The contents must be used up: what follows a frozen struct is not ours.
pub(crate) fn contents<T: DeserializeOwned>(frame: &Frame<'_>) -> Result<T, WireError> {
    match postcard::take_from_bytes(frame.contents) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(WireError::Malformed { kind: frame.kind }),
    }
}

/// Postcard writes straight into the frame.
struct Sink(BytesMut);

impl postcard::ser_flavors::Flavor for Sink {
    type Output = BytesMut;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.put_u8(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<BytesMut> {
        Ok(self.0)
    }
}

const LENGTH_BYTES: usize = 4;
const KIND_BYTES: usize = 2;

/// Most request headers of kubectl fit without growing.
const FIRST_CAPACITY: usize = 1024;
