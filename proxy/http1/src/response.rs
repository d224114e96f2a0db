//! A response head, as the agent reads it from an API server.

use http::{HeaderMap, Method, StatusCode};

use crate::fields;
use crate::request::DISAGREE;
use crate::scan::{End, Kind};
use crate::{BodyLength, Error, HeadScan, Limits, length};

/// A response as it was sent, informational ones included: a caller that gets a 1xx other than 101 parses
/// the next head after it; one that gets a 101 leaves HTTP behind.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// 100 to 999, as Go's server may send.
    pub status: StatusCode,
    /// All fields; repeated ones are separate and in order. The reason phrase is not kept.
    pub headers: HeaderMap,
    /// What follows, already judged by method and status.
    pub body: BodyLength,
    /// Another exchange may follow on this connection once the body is complete.
    pub keep_alive: bool,
}

/// Parses a response head at the start of `buf`, the answer to a request with `method`. Returns it with the
/// number of bytes it took, or `None` if it is sound so far and not complete.
///
/// Starts from the first byte at each call; a driver keeps a [`HeadScan`] to go on where it stopped.
///
/// # Errors
/// As soon as the bytes cannot become a response with one reading; see [`Error`].
pub fn parse_response(
    buf: &[u8],
    method: &Method,
    limits: &Limits,
) -> Result<Option<(ResponseHead, usize)>, Error> {
    HeadScan::default().response(buf, method, limits)
}

impl HeadScan {
    /// [`parse_response`], going on where the last call stopped. `buf` holds everything since the message
    /// began.
    ///
    /// # Errors
    /// As [`parse_response`]. The connection is to be closed then.
    pub fn response(
        &mut self,
        buf: &[u8],
        method: &Method,
        limits: &Limits,
    ) -> Result<Option<(ResponseHead, usize)>, Error> {
        let Some(end) = self.advance(buf, Kind::Response, limits)? else {
            return Ok(None);
        };
        *self = Self::default();
        Ok(Some((complete(&buf[..end.bytes], end, method)?, end.bytes)))
    }
}

fn complete(head: &[u8], end: End, method: &Method) -> Result<ResponseHead, Error> {
    let mut slots = vec![httparse::EMPTY_HEADER; end.fields];
    let mut parsed = httparse::Response::new(&mut slots);
    let (Ok(httparse::Status::Complete(bytes)), Some(code), Some(minor)) =
        (parsed.parse(head), parsed.code, parsed.version)
    else {
        return Err(DISAGREE);
    };
    if bytes != end.bytes || parsed.headers.len() != end.fields {
        return Err(DISAGREE);
    }
    let Ok(status) = StatusCode::from_u16(code) else {
        return Err(Error::Malformed("bad status line"));
    };
    let http10 = minor == 0;
    let headers = fields::collect(parsed.headers)?;
    let body = body_length(status, method, &headers, http10)?;
    let asks_to_keep = if http10 {
        fields::connection_has(&headers, "keep-alive")
    } else {
        !fields::connection_has(&headers, "close")
    };
    Ok(ResponseHead { status, body, keep_alive: asks_to_keep && body != BodyLength::UntilClose, headers })
}

/// RFC 9112 section 6.3.
fn body_length(
    status: StatusCode,
    method: &Method,
    headers: &HeaderMap,
    http10: bool,
) -> Result<BodyLength, Error> {
    let announced = length::announced(headers, http10)?;
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        // Must not announce a body at all; `Content-Length: 0` is common and harmless.
        return match announced {
            BodyLength::None | BodyLength::Length(0) => Ok(BodyLength::None),
            BodyLength::Length(_) | BodyLength::Chunked | BodyLength::UntilClose => {
                Err(Error::Malformed("a body where none may be"))
            }
        };
    }
    if *method == Method::HEAD || status == StatusCode::NOT_MODIFIED {
        return Ok(BodyLength::None);
    }
    Ok(match announced {
        BodyLength::None => BodyLength::UntilClose,
        BodyLength::Length(_) | BodyLength::Chunked | BodyLength::UntilClose => announced,
    })
}
