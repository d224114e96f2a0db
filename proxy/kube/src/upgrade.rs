//! Requests that want to become a stream: exec, attach, port-forward, and watches and logs over WebSocket.
//!
//! It stands between parsing and forwarding. API servers match `Upgrade` by substring and read whatever comes
//! as a body; so what a client sent is only ever parsed, and what goes on is written anew from what was
//! understood ([`Upgrade::forward_headers`]). A stream begins only behind an answer that
//! [`Upgrade::check_response`] accepts (CVE-2018-1002105).

mod options;
mod websocket;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::headers::{connection_options, is_handshake, remove_where, sanitize_response};
use crate::query::Query;
use crate::request_info::{Action, RequestAttributes};
use crate::status::Status;

pub use options::Asked;
pub use websocket::websocket_bearer;

/// An upgrade that is legal for its path. Only [`Upgrade::detect`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upgrade {
    /// What the connection becomes.
    pub transport: Transport,
    /// What it is for.
    pub session: Session,
    /// Streams and ports the query asks for.
    pub asked: Asked,
    /// The command of an exec, argument by argument.
    pub command: Vec<String>,
    /// The container of an exec or attach, if one is named.
    pub container: Option<String>,
    handshake: Handshake,
}

/// What a connection becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// SPDY/3.1
    Spdy,
    /// WebSocket (RFC 6455, version 13)
    WebSocket,
}

/// What an upgraded connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Session {
    /// `pods/exec`
    Exec,
    /// `pods/attach`
    Attach,
    /// `pods/portforward`
    PortForward,
    /// A watch; only the server speaks.
    Watch,
    /// `pods/log`; only the server speaks.
    Log,
    /// Below a `proxy` subresource: the backend's own protocol.
    Raw,
}

/// What is sent on and expected back.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Handshake {
    Spdy { protocol: &'static str },
    WebSocket(websocket::Handshake),
}

impl Upgrade {
    /// The upgrade that a request asks for, if it asks for one. Expects the fields as the client sent them.
    ///
    /// # Errors
    /// A Status for what is no legal upgrade of that path: 405 for the wrong method, 400 for a body, for
    /// `Upgrade` and `Connection` values that are not exactly the known ones, for a path that does not
    /// upgrade, and for clients that speak only protocols without exit codes or newer than any server.
    pub fn detect(
        method: impl AsRef<str>,
        headers: &HeaderMap,
        request: &RequestAttributes,
    ) -> Result<Option<Self>, Status> {
        if !mentions_upgrade(headers) {
            return Ok(None);
        }
        let transport = transport_of(headers)?;
        refuse_body(headers)?;
        let session = session_of(request)?;
        let allowed: &[&str] = match (transport, session) {
            (Transport::Spdy, Session::Exec | Session::Attach | Session::PortForward) => &["GET", "POST"],
            (Transport::Spdy, Session::Watch | Session::Log | Session::Raw) => {
                return Err(Status::bad_request("this path upgrades to websocket only"));
            }
            (Transport::WebSocket, _) => &["GET"],
        };
        if !allowed.contains(&method.as_ref()) {
            return Err(Status::method_not_allowed(format!(
                "an upgrade here must be {}",
                allowed.join(" or ")
            )));
        }
        let query = Query::parse(request.raw_target.split_once('?').map_or("", |(_, query)| query));
        let handshake = match transport {
            Transport::Spdy => Handshake::Spdy { protocol: spdy_protocol(headers, session)? },
            Transport::WebSocket => Handshake::WebSocket(websocket::Handshake::read(headers, session)?),
        };
        let mut upgrade = Self {
            transport,
            session,
            asked: Asked::default(),
            command: Vec::new(),
            container: None,
            handshake,
        };
        upgrade.read_options(&query)?;
        Ok(Some(upgrade))
    }

    fn read_options(&mut self, query: &Query) -> Result<(), Status> {
        match self.session {
            Session::Exec | Session::Attach => {
                self.asked = Asked::streams(query);
                self.container = query.first("container").filter(|name| !name.is_empty()).map(str::to_owned);
                if self.session == Session::Exec {
                    self.command = query.all("command").map(str::to_owned).collect();
                }
            }
            Session::PortForward => {
                if let Handshake::WebSocket(handshake) = &self.handshake
                    && !handshake.tunnels_spdy()
                {
                    self.asked = Asked::ports(query)?;
                }
            }
            Session::Watch | Session::Log | Session::Raw => {}
        }
        Ok(())
    }

    /// Writes the fields of the upgrade anew, from what was understood; whatever was there of them goes.
    /// To be called after [`crate::headers::sanitize_request`].
    pub fn forward_headers(&self, headers: &mut HeaderMap) {
        remove_where(headers, |name| is_handshake(name) || SWITCH.contains(name));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static(self.transport.token()));
        match &self.handshake {
            Handshake::Spdy { protocol } => {
                headers.insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
            }
            Handshake::WebSocket(handshake) => handshake.write(headers),
        }
    }

    /// The protocol that a server's answer settles on (empty if none), or why no stream may begin.
    ///
    /// # Errors
    /// One sentence for the log. The answer, if it is one, is then an ordinary one, and the connection it
    /// came on must be closed.
    pub fn check_response(&self, status: u16, headers: &HeaderMap) -> Result<String, String> {
        if status != 101 {
            return Err(format!("the server answered {status} and did not switch protocols"));
        }
        if only(headers, &header::UPGRADE)?
            .is_none_or(|name| !name.eq_ignore_ascii_case(self.transport.token()))
        {
            return Err(format!("the server did not switch to {}", self.transport.token()));
        }
        let options = connection_options(headers).map_err(|status| status.message)?;
        if !options.contains(&header::UPGRADE) {
            return Err("the answer has no Connection: Upgrade".to_owned());
        }
        if headers.contains_key(header::TRANSFER_ENCODING) || headers.contains_key(header::CONTENT_LENGTH) {
            return Err("the answer announces a body".to_owned());
        }
        match &self.handshake {
            Handshake::Spdy { protocol } => match only(headers, &STREAM_PROTOCOL)? {
                Some(chosen) if chosen == *protocol => Ok(chosen.to_owned()),
                chosen => Err(format!("the server chose the stream protocol {chosen:?} and not {protocol}")),
            },
            Handshake::WebSocket(handshake) => handshake.check(headers, self.session),
        }
    }

    /// Makes the fields of an accepted answer those for the client: the switch in the one spelling that old
    /// clients compare, the handshake as the server sent it, nothing of the connection it came on.
    pub fn response_headers(&self, headers: &mut HeaderMap) {
        sanitize_response(headers);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static(self.transport.token()));
    }
}

impl Transport {
    /// The token of the `Upgrade` field, in the spelling that API servers and clients use.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Spdy => "SPDY/3.1",
            Self::WebSocket => "websocket",
        }
    }
}

/// The API server takes any `Connection` that *contains* the word for an upgrade, so all of those are looked at.
fn mentions_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .any(|value| value.as_bytes().to_ascii_lowercase().windows(7).any(|window| window == b"upgrade"))
}

fn transport_of(headers: &HeaderMap) -> Result<Transport, Status> {
    let options = connection_options(headers)?;
    let known = |option: &HeaderName| *option == header::UPGRADE || option.as_str() == "keep-alive";
    if !options.contains(&header::UPGRADE) || !options.iter().all(known) {
        return Err(Status::bad_request("Connection of an upgrade must be \"Upgrade\""));
    }
    let mut values = headers.get_all(header::UPGRADE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Status::bad_request("an upgrade needs exactly one Upgrade header"));
    };
    [Transport::Spdy, Transport::WebSocket]
        .into_iter()
        .find(|transport| value.as_bytes().eq_ignore_ascii_case(transport.token().as_bytes()))
        .ok_or_else(|| Status::bad_request("Upgrade must be \"websocket\" or \"SPDY/3.1\""))
}

/// A body on an upgrade is read by the server as the first bytes of the stream, before anyone checked them.
fn refuse_body(headers: &HeaderMap) -> Result<(), Status> {
    let empty = headers.get_all(header::CONTENT_LENGTH).iter().all(|length| length.as_bytes() == b"0");
    if !empty || headers.contains_key(header::TRANSFER_ENCODING) || headers.contains_key(header::EXPECT) {
        return Err(Status::bad_request("an upgrade must not carry a body"));
    }
    Ok(())
}

fn session_of(request: &RequestAttributes) -> Result<Session, Status> {
    let log = request.api_group.is_empty() && request.resource == "pods" && request.subresource == "log";
    match request.action() {
        _ if request.is_watch() && request.subresource.is_empty() => Ok(Session::Watch),
        _ if request.is_watch() || request.namespace.is_empty() && !request.is_proxy() => {
            Err(no_upgrade_here())
        }
        _ if request.is_proxy() => Ok(Session::Raw),
        Action::Exec => Ok(Session::Exec),
        Action::Attach => Ok(Session::Attach),
        Action::PortForward => Ok(Session::PortForward),
        Action::Other if log => Ok(Session::Log),
        Action::PodProxy
        | Action::ServiceProxy
        | Action::NodeProxy
        | Action::EphemeralContainers
        | Action::Other => Err(no_upgrade_here()),
    }
}

fn no_upgrade_here() -> Status {
    Status::bad_request("this path does not upgrade")
}

/// Of the stream protocols a SPDY client offers, the one that is sent on.
fn spdy_protocol(headers: &HeaderMap, session: Session) -> Result<&'static str, Status> {
    let wanted = if session == Session::PortForward { SPDY_PORT_FORWARD } else { SPDY_REMOTE_COMMAND };
    headers
        .get_all(STREAM_PROTOCOL)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|offered| offered.trim_ascii() == wanted.as_bytes())
        .then_some(wanted)
        .ok_or_else(|| Status::bad_request(format!("the client must offer the stream protocol {wanted}")))
}

/// The value of a field that must not be there twice.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, String> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(format!("the answer has more than one {name}"));
    }
    value.to_str().map(Some).map_err(|_not_ascii| format!("the answer's {name} is not readable"))
}

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// Fields that say that and how a connection switches.
const SWITCH: [HeaderName; 2] = [header::CONNECTION, header::UPGRADE];

/// The only version with an exit code that every server speaks over SPDY; kubectl has it since 1.20.
const SPDY_REMOTE_COMMAND: &str = "v4.channel.k8s.io";
const SPDY_PORT_FORWARD: &str = "portforward.k8s.io";
