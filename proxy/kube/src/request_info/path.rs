//! The request target, split without being changed: the head that authorization reads, and behind the
//! `proxy` subresource of a pod, service or node a tail that is the backend's business.
//!
//! Percent-decoding, dot segments and doubled slashes are where two readers of one path disagree, and no
//! Kubernetes client sends any of them. So the head has one reading or is refused; what is accepted goes on
//! byte for byte.

use super::BadTarget;
use crate::query::{self, hex};

/// A target whose head has exactly one reading.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// The decoded path; an opaque tail is appended as it was sent.
    pub(super) path: String,
    /// Decoded segments of the head; a slash at its end is not a segment.
    pub(super) segments: Vec<String>,
    /// The query as it was sent, without the `?`.
    pub(super) query: &'a str,
}

/// Splits `target` (origin form) or says why it is refused.
pub(super) fn split(target: &str) -> Result<Target<'_>, BadTarget> {
    if !target.starts_with('/') {
        return Err(BadTarget::NotOriginForm);
    }
    if let Some(byte) = target.bytes().find(|byte| !byte.is_ascii_graphic() || *byte == b'#') {
        return Err(BadTarget::Byte(byte));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (head, tail) = path.split_at(opaque_from(path).unwrap_or(path.len()));
    let segments = head_segments(head)?;
    if tail.is_empty() && query::too_long(query) {
        return Err(BadTarget::TooManyParameters);
    }
    let mut path = String::with_capacity(path.len());
    for segment in &segments {
        path.push('/');
        path.push_str(segment);
    }
    if head.ends_with('/') {
        path.push('/');
    }
    path.push_str(tail);
    Ok(Target { path, segments, query })
}

/// Where the opaque tail begins: behind the `proxy` of
/// `/api/v1/(namespaces/N/)?(pods|services|nodes)/NAME/proxy`, written without any escape.
fn opaque_from(path: &str) -> Option<usize> {
    let mut segments = path.split('/').skip(1);
    let mut end = 0;
    let mut next = || {
        let segment = segments.next()?;
        end += segment.len() + 1;
        Some((segment, end))
    };
    let ("api", _) = next()? else { return None };
    let ("v1", _) = next()? else { return None };
    match next()?.0 {
        "nodes" => {}
        "namespaces" => {
            next()?;
            let ("pods" | "services", _) = next()? else { return None };
        }
        _ => return None,
    }
    next()?;
    let ("proxy", end) = next()? else { return None };
    Some(end)
}

/// Decodes the segments of `head`, which begins with a slash and may end with one.
fn head_segments(head: &str) -> Result<Vec<String>, BadTarget> {
    let inner = &head[1..];
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return if head.len() > 1 { Err(BadTarget::EmptySegment) } else { Ok(Vec::new()) };
    }
    inner.split('/').map(segment).collect()
}

fn segment(raw: &str) -> Result<String, BadTarget> {
    match raw {
        "" => return Err(BadTarget::EmptySegment),
        "." | ".." => return Err(BadTarget::DotSegment),
        _ => {}
    }
    let mut out = String::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        out.push(char::from(match byte {
            b'%' => escaped(bytes.next(), bytes.next())?,
            literal if is_literal(literal) => literal,
            other => return Err(BadTarget::Byte(other)),
        }));
    }
    Ok(out)
}

/// One `%XX`, of the few that a client may need: printable ASCII that is neither unreserved (nobody escapes
/// those), nor a delimiter whose escape another parser might take for the delimiter itself.
fn escaped(high: Option<u8>, low: Option<u8>) -> Result<u8, BadTarget> {
    let byte = high.and_then(hex).zip(low.and_then(hex)).map(|(high, low)| high << 4 | low);
    match byte {
        Some(byte @ b' '..=b'~') if !is_unreserved(byte) && !b"/\\%;?#".contains(&byte) => Ok(byte),
        _ => Err(BadTarget::Escape),
    }
}

/// RFC 3986 `unreserved`.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 `pchar` without escapes and without `;`, which begins path parameters for some parsers.
const fn is_literal(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}
