//! What a driver (HTTP/2 or HTTP/1.1) hands to [`crate::request`]: one request with its body still on the wire, and
//! the means to answer it. Everything after the drivers is written once, against these types.

pub(crate) mod http1;
pub(crate) mod http2;

use std::time::Duration;

use bytes::Bytes;
use hawser_tunnel::wire::BodyV1;
use http::{HeaderMap, Method, StatusCode};

/// One request, its head parsed, its body unread.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// The request target as it came, byte for byte: path and query.
    pub(crate) target: String,
    /// `:authority` or `Host`.
    pub(crate) authority: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) length: BodyV1,
    pub(crate) body: RequestBody<'a>,
}

/// The body of a request, read in the client's pace.
pub(crate) enum RequestBody<'a> {
    /// Over HTTP/2.
    Http2(http2::Body),
    /// Over HTTP/1.1.
    Http1(http1::Body<'a>),
}

/// The client's side is over: its connection or stream ended, or its body was malformed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The connection or the stream was closed by the client.
    #[error("the client is gone")]
    Gone,
    /// The bytes of the body broke the protocol.
    #[error("malformed request body: {0}")]
    Malformed(String),
    /// The client sent nothing for longer than the body wait.
    #[error("the client stopped sending its body")]
    Stalled,
}

impl RequestBody<'_> {
    /// The next piece of the body; `None` at its end. Cancel safe.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        match self {
            Self::Http2(body) => body.chunk().await,
            Self::Http1(body) => body.chunk().await,
        }
    }

    /// The body may pause for as long as it likes: it is a stream of its own.
    pub(crate) fn unhurried(&mut self) {
        match self {
            Self::Http2(body) => body.wait = Duration::MAX,
            Self::Http1(body) => body.wait = Duration::MAX,
        }
    }

    /// Gives flow-control credit for `bytes` back to the client: called once they went on upstream.
    pub(crate) fn release(&mut self, bytes: usize) {
        match self {
            Self::Http2(body) => body.release(bytes),
            Self::Http1(_) => {}
        }
    }

    /// Trailers, once `chunk` has returned `None`.
    pub(crate) async fn trailers(&mut self) -> Result<Option<HeaderMap>, ClientError> {
        match self {
            Self::Http2(body) => body.trailers().await,
            Self::Http1(body) => Ok(body.trailers()),
        }
    }

    /// Waits until the client leaves; for HTTP/2 that is seen by the [`Responder`]. Only after the body's end.
    pub(crate) async fn gone(&mut self) {
        match self {
            Self::Http2(_) => std::future::pending().await,
            Self::Http1(body) => body.gone().await,
        }
    }
}

/// The way back: one response, in order head, data, end.
pub(crate) enum Responder<'a> {
    /// Over HTTP/2.
    Http2(http2::Responder),
    /// Over HTTP/1.1.
    Http1(http1::Responder<'a>),
}

impl Responder<'_> {
    /// Sends the head; `end` says that no body follows.
    pub(crate) async fn head(
        &mut self,
        status: StatusCode,
        headers: HeaderMap,
        end: bool,
    ) -> Result<(), ClientError> {
        match self {
            Self::Http2(responder) => responder.head(status, headers, end),
            Self::Http1(responder) => responder.head(status, headers, end).await,
        }
    }

    /// Sends body bytes; waits for the client's window or socket (this is the back-pressure).
    pub(crate) async fn data(&mut self, bytes: Bytes) -> Result<(), ClientError> {
        match self {
            Self::Http2(responder) => responder.data(bytes).await,
            Self::Http1(responder) => responder.data(bytes).await,
        }
    }

    /// Ends the body in good order.
    pub(crate) async fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), ClientError> {
        match self {
            Self::Http2(responder) => responder.finish(trailers),
            Self::Http1(responder) => responder.finish(trailers).await,
        }
    }

    /// Sends a short answer that is there already, without waiting for a client that does not read it.
    pub(crate) async fn whole(
        &mut self,
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), ClientError> {
        match self {
            Self::Http2(responder) => responder.whole(status, headers, body),
            Self::Http1(responder) => responder.whole(status, headers, body).await,
        }
    }

    /// Ends the response so that the client knows it is not whole.
    pub(crate) fn abort(&mut self) {
        match self {
            Self::Http2(responder) => responder.abort(),
            Self::Http1(responder) => responder.abort(),
        }
    }

    /// Has the head gone out?
    pub(crate) fn started(&self) -> bool {
        match self {
            Self::Http2(responder) => responder.started(),
            Self::Http1(responder) => responder.started(),
        }
    }

    /// Asks a waiting client for its body (`100 Continue`); only HTTP/1.1 clients wait for it.
    pub(crate) async fn proceed(&mut self) -> Result<(), ClientError> {
        match self {
            Self::Http2(_) => Ok(()),
            Self::Http1(responder) => responder.proceed().await,
        }
    }

    /// Waits until the client resets the stream; for HTTP/1.1 that is seen by the [`RequestBody`].
    pub(crate) async fn gone(&mut self) {
        match self {
            Self::Http2(responder) => responder.gone().await,
            Self::Http1(_) => std::future::pending().await,
        }
    }
}

/// How long a client may go on with a body after its answer.
const DRAIN_WAIT: Duration = Duration::from_secs(1);
