//! The HTTP/2 driver: accepts streams, runs each as a local task, and drains with GOAWAY.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use hawser_tunnel::wire::BodyV1;
use http::{HeaderMap, Method, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{ClientError, DRAIN_WAIT};
use crate::{conn::Conn, request};

/// Serves a connection until the client closes it, it idles out, or a drain has seen its last stream off.
pub(crate) async fn serve<I>(io: I, conn: Rc<Conn>)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let limits = &conn.config.limits;
    let handshake = h2::server::Builder::new()
        .initial_window_size(WINDOW_UNAUTHENTICATED)
        .initial_connection_window_size(WINDOW_AUTHENTICATED * limits.streams_max)
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .handshake::<_, Bytes>(io);
    let mut connection = match tokio::time::timeout(limits.handshake_timeout, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%error, "HTTP/2 preface refused"),
        Err(_elapsed) => return tracing::debug!("no HTTP/2 preface in time"),
    };
    let (mut draining, mut told) = (false, false);
    let mut window = Window::Narrow;
    loop {
        let idle = conn.exchanges.get() == 0;
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => spawn(&conn, request, respond),
                Some(Err(error)) => return tracing::debug!(%error, "HTTP/2 connection ended"),
                None => return,
            },
            _reason = conn.worker.drain.cancelled(), if !draining => draining = true,
            () = conn.quit.notified(), if !draining => draining = true,
            () = conn.admitted.notified(), if window == Window::Narrow => window = Window::Due,
            () = tokio::time::sleep(SETTINGS_WAIT), if window == Window::Due => {
                // Fails as long as the client has not acknowledged the settings before.
                if connection.set_initial_window_size(WINDOW_AUTHENTICATED).is_ok() {
                    window = Window::Wide;
                }
            },
            () = conn.quiet.notified() => {}
            () = tokio::time::sleep(conn.idle_timeout()), if idle && !draining => draining = true,
            // A client that does not acknowledge the GOAWAY must not keep its place for ever.
            () = tokio::time::sleep(GOAWAY_WAIT), if idle && draining => return,
        }
        if draining && !told {
            told = true;
            connection.graceful_shutdown();
        }
    }
}

/// How much a client may send on a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Window {
    /// As a stranger.
    Narrow,
    /// It has proved who it is and will be told.
    Due,
    /// As somebody known.
    Wide,
}

fn spawn(conn: &Rc<Conn>, request: http::Request<RecvStream>, respond: SendResponse<Bytes>) {
    let conn = Rc::clone(conn);
    let live = conn.count();
    // In a box of its own: to spawn a future moves it several times.
    tokio::task::spawn_local(Box::pin(async move {
        let (head, stream) = request.into_parts();
        let length =
            match head.headers.get(header::CONTENT_LENGTH).map(|value| value.to_str().map(str::parse)) {
                _ if stream.is_end_stream() => BodyV1::None,
                Some(Ok(Ok(bytes))) => BodyV1::Length(bytes),
                _ => BodyV1::Unknown,
            };
        let request = super::Request {
            authority: head
                .uri
                .authority()
                .map(ToString::to_string)
                .or_else(|| head.headers.get(header::HOST)?.to_str().ok().map(str::to_owned)),
            target: head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            method: head.method,
            headers: head.headers,
            length,
            body: super::RequestBody::Http2(Body { stream, wait: conn.config.limits.body_wait }),
        };
        let head_only = request.method == Method::HEAD;
        let responder = super::Responder::Http2(Responder { respond, stream: None, head_only, ended: false });
        let (body, _responder) = request::serve(&conn, request, responder).await;
        if let super::RequestBody::Http2(mut body) = body {
            body.drain().await;
        }
        drop(live);
    }));
}

/// A request body on its h2 stream.
pub(crate) struct Body {
    stream: RecvStream,
    pub(super) wait: Duration,
}

impl Body {
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        match tokio::time::timeout(self.wait, self.stream.data()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
            Ok(Some(Err(_))) => Err(ClientError::Gone),
            Err(_elapsed) => Err(ClientError::Stalled),
        }
    }

    pub(super) fn release(&mut self, bytes: usize) {
        if self.stream.flow_control().release_capacity(bytes).is_err() {
            tracing::debug!("the stream ended before its window was given back");
        }
    }

    /// Takes what is on its way of a body that nobody wanted: clients take an early answer for an error if their stream is
    /// reset before they have sent all. No window is given back, which bounds it.
    async fn drain(&mut self) {
        let rest = async { while let Some(Ok(_unwanted)) = self.stream.data().await {} };
        if tokio::time::timeout(DRAIN_WAIT, rest).await.is_err() {
            tracing::debug!("the client goes on with a body that nobody wants");
        }
    }

    pub(super) async fn trailers(&mut self) -> Result<Option<HeaderMap>, ClientError> {
        self.stream.trailers().await.map_err(|_gone| ClientError::Gone)
    }
}

/// The response side of one h2 stream.
pub(crate) struct Responder {
    respond: SendResponse<Bytes>,
    stream: Option<SendStream<Bytes>>,
    head_only: bool,
    ended: bool,
}

impl Responder {
    pub(super) fn started(&self) -> bool {
        self.stream.is_some()
    }

    pub(super) fn head(
        &mut self,
        status: StatusCode,
        headers: HeaderMap,
        end: bool,
    ) -> Result<(), ClientError> {
        let mut response = http::Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        self.stream = Some(self.respond.send_response(response, end).map_err(|_gone| ClientError::Gone)?);
        self.ended = end;
        Ok(())
    }

    /// The body goes into h2's own buffer, window or not: it is short, and waiting would give a client that never opens
    /// its window a hold on us.
    pub(super) fn whole(
        &mut self,
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), ClientError> {
        let end = self.head_only || body.is_empty();
        self.head(status, headers, end)?;
        match &mut self.stream {
            Some(stream) if !end => {
                self.ended = true;
                stream.send_data(body, true).map_err(|_gone| ClientError::Gone)
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) async fn data(&mut self, mut bytes: Bytes) -> Result<(), ClientError> {
        let Some(stream) = &mut self.stream else { return Err(ClientError::Gone) };
        while !bytes.is_empty() {
            stream.reserve_capacity(bytes.len());
            let capacity = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
            let Some(Ok(capacity)) = capacity else { return Err(ClientError::Gone) };
            let piece = bytes.split_to(capacity.min(bytes.len()));
            stream.send_data(piece, false).map_err(|_gone| ClientError::Gone)?;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), ClientError> {
        let Some(stream) = &mut self.stream else { return Err(ClientError::Gone) };
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        match trailers {
            Some(trailers) => stream.send_trailers(trailers),
            None => stream.send_data(Bytes::new(), true),
        }
        .map_err(|_gone| ClientError::Gone)
    }

    pub(super) fn abort(&mut self) {
        self.ended = true;
        match &mut self.stream {
            Some(stream) => stream.send_reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }

    pub(super) async fn gone(&mut self) {
        let reset = std::future::poll_fn(|cx| match &mut self.stream {
            Some(stream) => stream.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        });
        if let Err(error) = reset.await {
            tracing::debug!(%error, "the client's connection ended");
        }
    }
}

/// Stream window of a connection on which nobody has proved who they are.
const WINDOW_UNAUTHENTICATED: u32 = 64 * 1024;
/// Stream window afterwards (kube-apiserver's own value).
const WINDOW_AUTHENTICATED: u32 = 256 * 1024;
/// How long a client may take to close a connection without streams after a GOAWAY.
const GOAWAY_WAIT: Duration = Duration::from_secs(5);
/// Settings cannot be sent while earlier ones are not acknowledged: so long until the next attempt.
const SETTINGS_WAIT: Duration = Duration::from_millis(50);
/// What one connection may hold of our answers before `data` waits.
const SEND_BUFFER_BYTES: usize = 256 * 1024;
/// Streams a client may open and reset at once before the connection is ended (CVE-2023-44487).
const RESET_STREAMS_MAX: usize = 64;
