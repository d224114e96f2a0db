//! Which header fields may go on: hop-by-hop fields end here, and nothing a client writes says who it is.
//!
//! The order is the point. What `Connection` nominates goes first, then the hop-by-hop fields, then everything
//! that could be taken for an identity; ours are set after that, and no such pass ever runs on them. A proxy
//! that set its `Impersonate-User` first and honoured `Connection: Impersonate-User` afterwards has handed out
//! its own rights (GHSA-pvxj-25m6-7vqr, CVE-2022-31813).
//!
//! Everything else passes byte for byte. `Trailer` is kept on answers and removed from requests. It only announces:
//! the trailers of both are carried below `*/proxy` ([`sanitize_trailers`]), and nowhere else.

use http::header::{self, HeaderMap, HeaderName};

use crate::status::Status;

/// Takes from a client's request what must not reach the cluster. Cookies stay only for `*/proxy`
/// (`is_proxy`): a workload's own page needs them, an API server never does.
///
/// Read the credential, [`crate::impersonation::is_requested`] and [`crate::upgrade::Upgrade::detect`] before:
/// their fields are gone afterwards.
///
/// # Errors
/// 400 if `Connection` is malformed or nominates the framing of the message, or if a name that another
/// server might read as an identity hides behind `_`.
pub fn sanitize_request(headers: &mut HeaderMap, is_proxy: bool) -> Result<(), Status> {
    for nominated in connection_options(headers)? {
        if FRAMING.contains(&nominated) {
            return Err(Status::bad_request(format!("Connection must not nominate {nominated}")));
        }
        headers.remove(&nominated);
    }
    if headers.keys().any(is_disguised_identity) {
        return Err(Status::bad_request("a header name with \"_\" stands for an identity header"));
    }
    remove_where(headers, |name| {
        is_hop_by_hop(name)
            || *name == header::TRAILER
            || is_handshake(name)
            || is_identity(name.as_str())
            || (*name == header::COOKIE && !is_proxy)
            || name.as_str().contains('_')
    });
    Ok(())
}

/// Takes from an answer what concerns only the connection it came on. The head of an upgrade is
/// [`crate::upgrade::Upgrade::response_headers`]' business.
pub fn sanitize_response(headers: &mut HeaderMap) {
    // An answer whose Connection cannot be read nominates nothing; the field itself goes in any case.
    for nominated in connection_options(headers).unwrap_or_default() {
        headers.remove(&nominated);
    }
    remove_where(headers, is_hop_by_hop);
}

/// Takes from trailers what must not come after a body: framing, routing, identity (RFC 9110, 6.5.1).
pub fn sanitize_trailers(trailers: &mut HeaderMap) {
    remove_where(trailers, |name| {
        is_hop_by_hop(name)
            || is_handshake(name)
            || FRAMING.contains(name)
            || is_identity(name.as_str())
            || is_disguised_identity(name)
            || NEVER_IN_TRAILERS.contains(name)
    });
}

/// The options of all `Connection` fields, in lower case.
///
/// # Errors
/// 400 if one of them is not a token.
pub(crate) fn connection_options(headers: &HeaderMap) -> Result<Vec<HeaderName>, Status> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|option| !option.is_empty())
        .map(|option| {
            HeaderName::from_bytes(option)
                .map_err(|_invalid| Status::bad_request("malformed Connection header"))
        })
        .collect()
}

/// Removes all fields whose name `condemns`.
pub(crate) fn remove_where(headers: &mut HeaderMap, condemns: impl Fn(&HeaderName) -> bool) {
    let condemned: Vec<HeaderName> = headers.keys().filter(|name| condemns(name)).cloned().collect();
    for name in condemned {
        headers.remove(name);
    }
}

/// Fields of the connection, not of the message (RFC 9110, 7.6.1, and older practice).
fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name)
}

/// Fields of an upgrade; [`crate::upgrade::Upgrade::forward_headers`] writes them anew where there is one.
pub(crate) fn is_handshake(name: &HeaderName) -> bool {
    name.as_str().starts_with("sec-websocket-") || name.as_str() == "x-stream-protocol-version"
}

/// Fields by which an API server, a backend or an audit log could take a request for somebody else's.
fn is_identity(name: &str) -> bool {
    name.starts_with("impersonate")
        || name.starts_with("x-remote-")
        || name.starts_with("x-forwarded-")
        || IDENTITY.contains(&name)
}

/// CGI-like servers read `_` as `-`, so `impersonate_user` is somebody's attempt.
fn is_disguised_identity(name: &HeaderName) -> bool {
    name.as_str().contains('_') && is_identity(&name.as_str().replace('_', "-"))
}

const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Fields that say where a message goes and how long it is.
const FRAMING: [HeaderName; 2] = [header::HOST, header::CONTENT_LENGTH];

const NEVER_IN_TRAILERS: [HeaderName; 7] = [
    header::TRAILER,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::COOKIE,
    header::SET_COOKIE,
    header::RETRY_AFTER,
];

const IDENTITY: [&str; 9] = [
    "authorization",
    "proxy-authorization",
    "forwarded",
    "x-real-ip",
    "audit-id",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-forwarded-for",
];
