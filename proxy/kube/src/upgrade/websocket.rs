//! The opening handshake of a WebSocket, without extensions: which subprotocols go on, which answer is taken.
//!
//! Subprotocol names of Kubernetes hold `/`, which RFC 6455 does not allow; they pass all the same.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{self, HeaderMap, HeaderValue};

use super::{Session, only};
use crate::status::Status;

/// What a WebSocket client offers, as far as it is sent on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handshake {
    key: HeaderValue,
    protocols: Vec<String>,
}

impl Handshake {
    /// Reads the offer. Of the subprotocols only those that the session's frames can be read in are kept.
    pub(super) fn read(headers: &HeaderMap, session: Session) -> Result<Self, Status> {
        if sole(headers, &header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(Status::bad_request("a websocket needs Sec-WebSocket-Version: 13"));
        }
        let key = sole(headers, &header::SEC_WEBSOCKET_KEY)
            .filter(|key| STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == KEY_BYTES))
            .ok_or_else(|| Status::bad_request("a websocket needs one Sec-WebSocket-Key of 16 bytes"))?
            .clone();
        let mut offered = offered(headers)?;
        offered.retain(|protocol| !protocol.starts_with(BEARER_PREFIX));
        let protocols = match readable(session) {
            None => offered,
            Some(_) if offered.is_empty() => offered,
            Some(known) => {
                let tunnel = offered.iter().any(|protocol| protocol == SPDY_TUNNEL);
                offered.retain(|protocol| {
                    known.contains(&protocol.as_str()) && (!tunnel || protocol == SPDY_TUNNEL)
                });
                if offered.is_empty() {
                    return Err(Status::bad_request(format!(
                        "none of the offered websocket protocols is served; served are {}",
                        known.join(", ")
                    )));
                }
                offered
            }
        };
        Ok(Self { key, protocols })
    }

    /// Whether it carries SPDY frames (`kubectl port-forward` since 1.31).
    pub(super) fn tunnels_spdy(&self) -> bool {
        self.protocols.iter().any(|protocol| protocol == SPDY_TUNNEL)
    }

    pub(super) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(header::SEC_WEBSOCKET_KEY, self.key.clone());
        if let Ok(list) = HeaderValue::from_str(&self.protocols.join(", "))
            && !self.protocols.is_empty()
        {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, list);
        }
    }

    /// The subprotocol of an answer: one of those offered; empty only where none was offered, or where the
    /// backend of a proxy declined.
    pub(super) fn check(&self, headers: &HeaderMap, session: Session) -> Result<String, String> {
        if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
            return Err("the server chose a websocket extension that nobody offered".to_owned());
        }
        let accept = only(headers, &header::SEC_WEBSOCKET_ACCEPT)?;
        if !accept.is_some_and(|accept| STANDARD.decode(accept).is_ok_and(|hash| hash.len() == ACCEPT_BYTES))
        {
            return Err("the answer has no valid Sec-WebSocket-Accept".to_owned());
        }
        let chosen = only(headers, &header::SEC_WEBSOCKET_PROTOCOL)?.unwrap_or_default();
        let may_be_empty = self.protocols.is_empty() || session == Session::Raw;
        if chosen.is_empty() && may_be_empty || self.protocols.iter().any(|offered| offered == chosen) {
            return Ok(chosen.to_owned());
        }
        Err(format!("the server chose the websocket protocol {chosen:?}, which was not offered"))
    }
}

/// The bearer token that browsers send as a subprotocol, because they cannot set `Authorization`. It is never
/// forwarded, whether it is asked for here or not.
///
/// # Errors
/// 401 if there are several, or one that does not decode, or nothing but it: the server could then choose no
/// protocol, and the browser would refuse the answer.
pub fn websocket_bearer(headers: &HeaderMap) -> Result<Option<String>, Status> {
    let protocols = offered(headers).map_err(|malformed| Status::unauthorized(malformed.message))?;
    let mut tokens = protocols.iter().filter_map(|protocol| protocol.strip_prefix(BEARER_PREFIX));
    let Some(token) = tokens.next() else { return Ok(None) };
    if tokens.next().is_some() {
        return Err(Status::unauthorized("more than one bearer token among the websocket protocols"));
    }
    if protocols.len() == 1 {
        return Err(Status::unauthorized("a bearer token must come with another websocket protocol"));
    }
    let token = URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|token| String::from_utf8(token).ok())
        .filter(|token| !token.is_empty())
        .ok_or_else(|| {
            Status::unauthorized("the bearer token among the websocket protocols does not decode")
        })?;
    Ok(Some(token))
}

/// All offered subprotocols. Servers read only the first field, so there must not be a second.
fn offered(headers: &HeaderMap) -> Result<Vec<String>, Status> {
    let malformed = || Status::bad_request("malformed Sec-WebSocket-Protocol header");
    if headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().nth(1).is_some() {
        return Err(malformed());
    }
    let Some(list) = headers.get(header::SEC_WEBSOCKET_PROTOCOL) else { return Ok(Vec::new()) };
    let protocols: Vec<String> = list
        .as_bytes()
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|protocol| !protocol.is_empty())
        .map(|protocol| {
            let legal = protocol.iter().all(|byte| byte.is_ascii_alphanumeric() || NAME_BYTES.contains(byte));
            std::str::from_utf8(protocol).ok().filter(|_| legal).map(str::to_owned).ok_or_else(malformed)
        })
        .collect::<Result<_, _>>()?;
    let repeated = protocols.iter().enumerate().any(|(at, protocol)| protocols[..at].contains(protocol));
    if repeated { Err(malformed()) } else { Ok(protocols) }
}

/// The value of a field that must be there exactly once.
fn sole<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// The subprotocols that the frames of a session may be in; `None` where nobody reads them: behind a proxy,
/// and on a watch, where the server takes any name and sends the same.
fn readable(session: Session) -> Option<&'static [&'static str]> {
    match session {
        Session::Exec | Session::Attach => Some(&[
            "v5.channel.k8s.io",
            "v4.channel.k8s.io",
            "v4.base64.channel.k8s.io",
            "channel.k8s.io",
            "base64.channel.k8s.io",
        ]),
        Session::PortForward => Some(&[SPDY_TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io"]),
        Session::Log => Some(&["binary.k8s.io", "base64.binary.k8s.io"]),
        Session::Watch | Session::Raw => None,
    }
}

/// SPDY frames inside WebSocket messages.
const SPDY_TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// Followed by the token in base64url (apiserver, `authentication/request/websocket`).
const BEARER_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";
/// What a subprotocol name may hold beside letters and digits: an RFC 9110 token, and `/`.
const NAME_BYTES: &[u8] = b"!#$%&'*+-.^_`|~/";
const KEY_BYTES: usize = 16;
const ACCEPT_BYTES: usize = 20;
