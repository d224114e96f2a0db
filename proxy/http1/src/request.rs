//! A request head: what the client asks and how its connection goes on.

use std::net::Ipv6Addr;

use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Method};

use crate::fields;
use crate::scan::{End, Kind};
use crate::{BodyLength, Error, HeadScan, Limits, length};

/// A request as it was sent, with nothing left in it that has two readings.
///
/// Header hygiene (hop-by-hop and identity fields) is not done here: the fields are all there.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Any token but CONNECT and TRACE.
    pub method: Method,
    /// Origin form: begins with `/`, visible ASCII without `#`, otherwise as sent.
    pub target: String,
    /// The client speaks HTTP/1.0: it can read neither chunks nor 1xx.
    pub http10: bool,
    /// All fields; repeated ones are separate and in order. Exactly one valid `Host` unless `http10`.
    pub headers: HeaderMap,
    /// Never [`BodyLength::UntilClose`].
    pub body: BodyLength,
    /// Another request may follow on this connection.
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
}

impl RequestHead {
    /// Field names with an underscore. They are valid here, but CGI-like recipients read `_` as `-`, so
    /// that `transfer_encoding` or `impersonate_user` may pass for another field: they are not forwarded.
    pub fn underscored(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.keys().filter(|name| name.as_str().contains('_'))
    }
}

/// Parses a request head at the start of `buf`. Returns it with the number of bytes it took, or `None` if it
/// is sound so far and not complete.
///
/// Starts from the first byte at each call; a driver keeps a [`HeadScan`] to go on where it stopped.
///
/// # Errors
/// As soon as the bytes cannot become a request that is forwarded; see [`Error`].
pub fn parse_request(buf: &[u8], limits: &Limits) -> Result<Option<(RequestHead, usize)>, Error> {
    HeadScan::default().request(buf, limits)
}

impl HeadScan {
    /// [`parse_request`], going on where the last call stopped. `buf` holds everything since the message
    /// began.
    ///
    /// # Errors
    /// As [`parse_request`]. The connection is to be closed then.
    pub fn request(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<(RequestHead, usize)>, Error> {
        let Some(end) = self.advance(buf, Kind::Request, limits)? else {
            return Ok(None);
        };
        *self = Self::default();
        Ok(Some((complete(&buf[..end.bytes], end)?, end.bytes)))
    }
}

fn complete(head: &[u8], end: End) -> Result<RequestHead, Error> {
    let mut slots = vec![httparse::EMPTY_HEADER; end.fields];
    let mut parsed = httparse::Request::new(&mut slots);
    let (Ok(httparse::Status::Complete(bytes)), Some(method), Some(target), Some(minor)) =
        (parsed.parse(head), parsed.method, parsed.path, parsed.version)
    else {
        return Err(DISAGREE);
    };
    if bytes != end.bytes || parsed.headers.len() != end.fields {
        return Err(DISAGREE);
    }
    let Ok(method) = Method::from_bytes(method.as_bytes()) else {
        return Err(Error::Malformed("bad byte in the method"));
    };
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(Error::Method);
    }
    let http10 = minor == 0;
    let headers = fields::collect(parsed.headers)?;
    check_host(&headers, http10)?;
    let body = length::announced(&headers, http10)?;
    let expects = expects_continue(&headers)?;
    Ok(RequestHead {
        method,
        target: target.to_owned(),
        http10,
        body,
        // A proxy must not keep an HTTP/1.0 client's connection (RFC 9112 section 9.3).
        keep_alive: !http10 && !fields::connection_has(&headers, "close"),
        expect_continue: expects && !http10 && !matches!(body, BodyLength::None | BodyLength::Length(0)),
        headers,
    })
}

fn expects_continue(headers: &HeaderMap) -> Result<bool, Error> {
    match fields::single(headers, &header::EXPECT, Error::Expectation)? {
        None => Ok(false),
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => Err(Error::Expectation),
    }
}

fn check_host(headers: &HeaderMap, http10: bool) -> Result<(), Error> {
    match fields::single(headers, &header::HOST, Error::Malformed("repeated Host"))? {
        Some(host) if is_host(host) => Ok(()),
        Some(_) => Err(Error::Malformed("bad Host")),
        None if http10 => Ok(()),
        None => Err(Error::Malformed("no Host")),
    }
}

/// `name`, `v4`, or `[v6]`, with or without a port. The cluster is chosen by it, so there is no room for
/// user information, escapes, lists or anything else that one parser skips and another does not.
fn is_host(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    if let Some(rest) = value.strip_prefix(b"[") {
        let Some(close) = rest.iter().position(|byte| *byte == b']') else { return false };
        let address = str::from_utf8(&rest[..close]).map(str::parse::<Ipv6Addr>);
        return matches!(address, Ok(Ok(_))) && is_port(&rest[close + 1..]);
    }
    let colon = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
    let (host, port) = value.split_at(colon);
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !host.is_empty() && host.iter().all(is_name) && is_port(port)
}

/// Nothing, or a colon and a number up to 65535.
fn is_port(port: &[u8]) -> bool {
    let Some(digits) = port.strip_prefix(b":") else { return port.is_empty() };
    let number = digits.iter().try_fold(0_u16, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u16::from(byte - b'0')),
        _ => None,
    });
    !digits.is_empty() && number.is_some()
}

/// Both parsers must have read the same head.
pub(crate) const DISAGREE: Error = Error::Malformed("head has two readings");
