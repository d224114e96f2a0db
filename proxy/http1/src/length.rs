//! Where a body ends: RFC 9112 section 6, with every case refused in which two recipients could disagree.

use http::header::{self, HeaderMap, HeaderValue};

use crate::{Error, fields};

/// How the length of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body and no field that announces one.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunked transfer coding, trailers may follow.
    Chunked,
    /// Whatever comes until the connection ends; responses only.
    UntilClose,
}

impl BodyLength {
    /// Makes the framing fields of `headers` say exactly this. A forwarded message takes its framing from
    /// here, never from the fields it arrived with.
    pub fn set_framing(self, headers: &mut HeaderMap) {
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::TRANSFER_ENCODING);
        match self {
            Self::Length(bytes) => {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
            }
            Self::Chunked => {
                headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            Self::None | Self::UntilClose => {}
        }
    }
}

/// What the framing fields announce; `BodyLength::None` where there are none.
pub(crate) fn announced(headers: &HeaderMap, http10: bool) -> Result<BodyLength, Error> {
    let coding = fields::single(headers, &header::TRANSFER_ENCODING, Error::TransferCoding)?;
    let repeated = Error::Malformed("repeated Content-Length");
    let length = fields::single(headers, &header::CONTENT_LENGTH, repeated)?;
    match (coding, length) {
        (Some(_), Some(_)) => Err(Error::Malformed("both Transfer-Encoding and Content-Length")),
        (Some(_), None) if http10 => Err(Error::Malformed("Transfer-Encoding in HTTP/1.0")),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(BodyLength::Chunked),
        (Some(_), None) => Err(Error::TransferCoding),
        (None, Some(length)) => content_length(length.as_bytes()).map(BodyLength::Length),
        (None, None) => Ok(BodyLength::None),
    }
}

/// Digits only, no sign, no list, no leading zero (some recipients read those as octal), at most what a
/// signed 64-bit number holds.
fn content_length(value: &[u8]) -> Result<u64, Error> {
    let bad = Error::Malformed("bad Content-Length");
    if value.is_empty() || (value.len() > 1 && value.first() == Some(&b'0')) {
        return Err(bad);
    }
    value.iter().try_fold(0_u64, |length, byte| {
        if !byte.is_ascii_digit() {
            return Err(bad);
        }
        length
            .checked_mul(10)
            .and_then(|length| length.checked_add(u64::from(byte - b'0')))
            .filter(|length| *length <= LENGTH_MAX)
            .ok_or(bad)
    })
}

/// The largest body length: 2^63 - 1, where Go's parser stops too.
pub(crate) const LENGTH_MAX: u64 = i64::MAX as u64;
