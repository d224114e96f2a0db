//! Header and trailer lines into a `HeaderMap`, after the pre-scan: repeated fields stay separate and in
//! order, values stay raw bytes.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::Error;

/// Collects the fields that `httparse` found.
pub(crate) fn collect(parsed: &[httparse::Header<'_>]) -> Result<HeaderMap, Error> {
    let Ok(mut map) = HeaderMap::try_with_capacity(parsed.len()) else {
        return Err(Error::HeadTooLarge);
    };
    for field in parsed {
        // The pre-scan has seen each of these bytes; what is left to refuse is a name beyond 64 KiB.
        let Ok(name) = HeaderName::from_bytes(field.name.as_bytes()) else {
            return Err(Error::Malformed("bad header name"));
        };
        let Ok(mut value) = HeaderValue::from_bytes(trim(field.value)) else {
            return Err(Error::Malformed("control byte in a header value"));
        };
        value.set_sensitive(CREDENTIALS.contains(&name));
        if map.try_append(name, value).is_err() {
            return Err(Error::HeadTooLarge);
        }
    }
    Ok(map)
}

/// The one value of a field that may not be repeated; a repetition is refused even if the values agree.
pub(crate) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    repeated: Error,
) -> Result<Option<&'a HeaderValue>, Error> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(repeated);
    }
    Ok(first)
}

/// Whether `Connection` has this option, in any of its fields and any case.
pub(crate) fn connection_has(headers: &HeaderMap, option: &str) -> bool {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|token| trim(token).eq_ignore_ascii_case(option.as_bytes()))
}

/// Whether RFC 9110 section 6.5.1 keeps this field out of a trailer section: it would change framing,
/// routing, authentication or the meaning of content after these were acted upon.
pub(crate) fn forbidden_in_trailers(name: &HeaderName) -> bool {
    FORBIDDEN_IN_TRAILERS.contains(name) || FORBIDDEN_UNREGISTERED.contains(&name.as_str())
}

/// Optional whitespace is space and tab, nothing else that Rust or ASCII calls whitespace.
fn trim(bytes: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let from = bytes.iter().position(|byte| !is_space(byte)).unwrap_or(bytes.len());
    let to = bytes.iter().rposition(|byte| !is_space(byte)).map_or(from, |last| last + 1);
    &bytes[from..to]
}

/// Values that `Debug` must not print. A browser client carries its bearer token in the WebSocket protocol.
const CREDENTIALS: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::SEC_WEBSOCKET_PROTOCOL,
];

const FORBIDDEN_IN_TRAILERS: [HeaderName; 24] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::PRAGMA,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::RANGE,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::VARY,
    header::WWW_AUTHENTICATE,
];

const FORBIDDEN_UNREGISTERED: [&str; 2] = ["keep-alive", "proxy-connection"];
