//! Heads and chunks onto the wire, always from the parsed form. Header names go out in title case, as Go
//! writes them: HTTP/1.1 peers that compare names exactly do exist.

use bytes::{BufMut, BytesMut};
use http::header::{HeaderMap, HeaderName};
use http::{Method, StatusCode};

use crate::{Error, fields};

/// Appends a request head. Framing fields are written as they stand in `headers`; see
/// [`BodyLength::set_framing`](crate::BodyLength::set_framing).
///
/// # Errors
/// [`Error::Malformed`] if the target is not origin form in visible ASCII; nothing was written then.
pub fn write_request_head(
    out: &mut BytesMut,
    method: &Method,
    target: &str,
    headers: &HeaderMap,
) -> Result<(), Error> {
    let sound = target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !sound {
        return Err(Error::Malformed("bad byte in the request target"));
    }
    out.put_slice(method.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    write_fields(out, headers.iter());
    Ok(())
}

/// Appends a response head. Framing fields are written as they stand in `headers`.
pub fn write_response_head(out: &mut BytesMut, status: StatusCode, headers: &HeaderMap) {
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    write_fields(out, headers.iter());
}

/// Appends one chunk. Empty data writes nothing: an empty chunk would end the body.
pub fn write_chunk(out: &mut BytesMut, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    out.put_slice(format!("{:x}\r\n", data.len()).as_bytes());
    out.put_slice(data);
    out.put_slice(b"\r\n");
}

/// Appends the end of a chunked body. Fields that may not stand in a trailer section are left out.
pub fn write_last_chunk(out: &mut BytesMut, trailers: Option<&HeaderMap>) {
    out.put_slice(b"0\r\n");
    let fields = trailers.into_iter().flat_map(HeaderMap::iter);
    write_fields(out, fields.filter(|(name, _)| !fields::forbidden_in_trailers(name)));
}

/// Field lines and the empty line after them.
fn write_fields<'a>(
    out: &mut BytesMut,
    fields: impl Iterator<Item = (&'a HeaderName, &'a http::HeaderValue)>,
) {
    for (name, value) in fields {
        write_title_case(out, name);
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
    out.put_slice(b"\r\n");
}

fn write_title_case(out: &mut BytesMut, name: &HeaderName) {
    let mut start_of_word = true;
    for byte in name.as_str().bytes() {
        out.put_u8(if start_of_word { byte.to_ascii_uppercase() } else { byte });
        start_of_word = byte == b'-';
    }
}
