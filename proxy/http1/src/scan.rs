//! The byte pre-scan: the first thing that sees the bytes of a head. It finds the end of the head and lets
//! nothing through that `httparse`, or the next parser on the way, might read differently: a bare CR or LF,
//! a folded line, whitespace around a name, control bytes, more than one space in the start line.
//!
//! It keeps its place, so a head that arrives in a million pieces is read once, not a million times.

use crate::{Error, Limits};

/// Where the scan of one head stands. One per connection; it is ready for the next message after each head.
///
/// Call [`HeadScan::request`] or [`HeadScan::response`] with everything received since the message began,
/// each time more of it has arrived.
#[derive(Clone, Debug, Default)]
pub struct HeadScan {
    /// Bytes already judged.
    at: usize,
    state: State,
    /// Header lines begun.
    fields: usize,
}

/// Which grammar the first line has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    /// A trailer section: no first line.
    Trailers,
}

/// The end of a head: its length and how many field lines it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) bytes: usize,
    pub(crate) fields: usize,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Start,
    Method,
    Target {
        from: usize,
    },
    Version {
        from: usize,
    },
    StatusLine,
    /// After a CR inside the head: only LF may follow.
    LineEnd,
    /// At the first byte of a line.
    Line,
    Name,
    Value,
    /// After the CR of the empty line.
    HeadEnd,
}

/// Longer than any registered method (`UPDATEREDIRECTREF`, 17).
const METHOD_BYTES_MAX: usize = 32;

impl HeadScan {
    /// Judges what is new in `buf`, which begins with the first byte of the head.
    ///
    /// `Ok(None)`: sound so far, not complete.
    pub(crate) fn advance(&mut self, buf: &[u8], kind: Kind, limits: &Limits) -> Result<Option<End>, Error> {
        let bytes_max = match kind {
            Kind::Request | Kind::Response => limits.head_bytes_max,
            Kind::Trailers => limits.trailers_max,
        };
        while let Some(&byte) = buf.get(self.at) {
            if self.at >= bytes_max {
                return Err(Error::HeadTooLarge);
            }
            let next = self.step(byte, buf, kind, limits)?;
            self.at += 1;
            match next {
                Some(state) => self.state = state,
                None => return Ok(Some(End { bytes: self.at, fields: self.fields })),
            }
        }
        Ok(None)
    }

    /// The state after `byte`, which is at `self.at`; `None` at the last byte of the head.
    fn step(&mut self, byte: u8, buf: &[u8], kind: Kind, limits: &Limits) -> Result<Option<State>, Error> {
        let at = self.at;
        let next = match self.state {
            State::Start => match kind {
                Kind::Request => method(byte, at)?,
                Kind::Response => status_line(byte, at, buf)?,
                Kind::Trailers => self.line(byte, limits)?,
            },
            State::Method => method(byte, at)?,
            State::Target { from } => target(byte, at, from, limits)?,
            State::Version { from } => version(byte, at, from, buf)?,
            State::StatusLine => status_line(byte, at, buf)?,
            State::LineEnd => match byte {
                b'\n' => State::Line,
                _ => return Err(Error::Malformed("CR without LF")),
            },
            State::Line => self.line(byte, limits)?,
            State::Name => name(byte)?,
            State::Value => value(byte)?,
            State::HeadEnd => match byte {
                b'\n' => return Ok(None),
                _ => return Err(Error::Malformed("CR without LF")),
            },
        };
        Ok(Some(next))
    }

    /// The first byte of a line after the start line.
    fn line(&mut self, byte: u8, limits: &Limits) -> Result<State, Error> {
        if byte == b'\r' {
            return Ok(State::HeadEnd);
        }
        self.fields += 1;
        if self.fields > limits.headers_max {
            return Err(Error::HeadTooLarge);
        }
        match byte {
            b' ' | b'\t' => Err(Error::Malformed("folded header line")),
            b'\n' => Err(Error::Malformed("LF without CR")),
            b':' => Err(Error::Malformed("header without a name")),
            _ => name(byte),
        }
    }
}

fn method(byte: u8, at: usize) -> Result<State, Error> {
    match byte {
        b' ' if at > 0 => Ok(State::Target { from: at + 1 }),
        _ if !is_token(byte) => Err(Error::Malformed("bad byte in the method")),
        _ if at >= METHOD_BYTES_MAX => Err(Error::Method),
        _ => Ok(State::Method),
    }
}

/// Origin form only: no proxy requests (absolute form), no CONNECT (authority form), no `OPTIONS *`.
fn target(byte: u8, at: usize, from: usize, limits: &Limits) -> Result<State, Error> {
    if at == from {
        return match byte {
            b'/' if limits.target_bytes_max > 0 => Ok(State::Target { from }),
            b'/' => Err(Error::TargetTooLong),
            _ => Err(Error::Malformed("request target does not begin with /")),
        };
    }
    match byte {
        b' ' => Ok(State::Version { from: at + 1 }),
        // A fragment never travels; parsers differ in whether it belongs to the path.
        b'#' => Err(Error::Malformed("fragment in the request target")),
        0x21..=0x7e if at - from >= limits.target_bytes_max => Err(Error::TargetTooLong),
        0x21..=0x7e => Ok(State::Target { from }),
        _ => Err(Error::Malformed("bad byte in the request target")),
    }
}

fn version(byte: u8, at: usize, from: usize, buf: &[u8]) -> Result<State, Error> {
    const BYTES: usize = b"HTTP/1.1".len();
    let seen = buf.get(from..at).unwrap_or_default();
    match byte {
        b'\r' => match seen {
            b"HTTP/1.1" | b"HTTP/1.0" => Ok(State::LineEnd),
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                Err(Error::Version)
            }
            _ => Err(Error::Malformed("bad start line")),
        },
        b'\n' => Err(Error::Malformed("LF without CR")),
        0x21..=0x7e if seen.len() < BYTES => Ok(State::Version { from }),
        _ => Err(Error::Malformed("bad start line")),
    }
}

/// `HTTP/1.1 SP 3DIGIT SP [reason]`; the first twelve bytes and the space after them have fixed places.
fn status_line(byte: u8, at: usize, buf: &[u8]) -> Result<State, Error> {
    const PREFIX: &[u8] = b"HTTP/1.";
    let sound = match at {
        0..7 => PREFIX.get(at) == Some(&byte),
        7 => match byte {
            b'0' | b'1' => true,
            b'2'..=b'9' => return Err(Error::Version),
            _ => false,
        },
        8 | 12 => byte == b' ',
        9 => matches!(byte, b'1'..=b'9'),
        10 | 11 => byte.is_ascii_digit(),
        _ if byte == b'\r' => return Ok(State::LineEnd),
        _ if byte == b'\n' => return Err(Error::Malformed("LF without CR")),
        _ => is_field_byte(byte),
    };
    // `HTTP/2.0 200 OK`: the digit before the dot is where a newer version shows first.
    if !sound && at == 5 && byte.is_ascii_digit() && buf.starts_with(b"HTTP/") {
        return Err(Error::Version);
    }
    if sound { Ok(State::StatusLine) } else { Err(Error::Malformed("bad status line")) }
}

fn name(byte: u8) -> Result<State, Error> {
    match byte {
        b':' => Ok(State::Value),
        b' ' | b'\t' => Err(Error::Malformed("whitespace in a header name")),
        _ if is_token(byte) => Ok(State::Name),
        _ => Err(Error::Malformed("bad byte in a header name")),
    }
}

fn value(byte: u8) -> Result<State, Error> {
    match byte {
        b'\r' => Ok(State::LineEnd),
        b'\n' => Err(Error::Malformed("LF without CR")),
        _ if is_field_byte(byte) => Ok(State::Value),
        _ => Err(Error::Malformed("control byte in a header value")),
    }
}

/// RFC 9110 `token`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What may stand in a field value or a reason phrase: visible ASCII, space, tab and obs-text.
fn is_field_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=0x7e | 0x80..=0xff)
}
