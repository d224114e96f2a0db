//! A shared HTTP/2 connection. One that was told to go away takes no new stream and is forgotten; streams it never
//! processed are reported as such, so that they can be sent again elsewhere.

use std::{cell::Cell, rc::Rc};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use hawser_transport::Coalesced;
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{ExchangeError, SendFailure};

/// A connection and how much it carries.
pub(crate) struct Connection {
    send: SendRequest<Bytes>,
    streams: Cell<usize>,
    gone: Rc<Cell<bool>>,
}

/// One stream's place on its connection.
pub(crate) struct Lease(Rc<Connection>);

impl Connection {
    /// Begins HTTP/2 on a connection that agreed to it.
    pub(super) async fn begin(io: TlsStream<TcpStream>) -> Result<Rc<Self>, h2::Error> {
        let (send, driver) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            // Never the bottleneck: one unread log must not stop the other streams of the connection.
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .enable_push(false)
            .handshake::<_, Bytes>(Coalesced::new(io))
            .await?;
        // The driver must not hold the connection's own sender, or it would never see that nobody needs it any more.
        let gone = Rc::new(Cell::new(false));
        let connection = Rc::new(Self { send, streams: Cell::new(0), gone: Rc::clone(&gone) });
        tokio::task::spawn_local(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "connection to the API server ended");
            }
            gone.set(true);
        });
        Ok(connection)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    pub(super) fn is_vacant(&self) -> bool {
        self.streams.get() < self.send.current_max_send_streams().min(STREAMS_MAX)
    }
}

impl Lease {
    pub(super) fn new(connection: Rc<Connection>) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        Self(connection)
    }

    /// Waits until the connection takes another stream.
    ///
    /// # Errors
    /// It takes no more, ever.
    pub(super) async fn ready(&self) -> Result<(), h2::Error> {
        self.0.send.clone().ready().await.map(drop)
    }

    /// No new stream on this connection.
    pub(super) fn retire(&self) {
        self.0.gone.set(true);
    }

    pub(super) fn send(self, request: Request<()>, end: bool) -> Result<(Answer, RequestBody), SendFailure> {
        match self.0.send.clone().send_request(request, end) {
            Ok((response, out)) => Ok((Answer { response, lease: self }, RequestBody((!end).then_some(out)))),
            Err(error) => {
                self.retire();
                Err(SendFailure::NotProcessed(error.into()))
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
    }
}

/// The request's body; `None` once the stream's half is over.
pub(crate) struct RequestBody(Option<SendStream<Bytes>>);

impl RequestBody {
    pub(super) async fn send(&mut self, mut bytes: Bytes) -> Result<(), ExchangeError> {
        let Some(out) = &mut self.0 else { return Err(ExchangeError::Length) };
        while !bytes.is_empty() {
            out.reserve_capacity(bytes.len());
            match std::future::poll_fn(|cx| out.poll_capacity(cx)).await {
                Some(Ok(capacity)) => out.send_data(bytes.split_to(capacity.min(bytes.len())), false)?,
                Some(Err(error)) => return Err(error.into()),
                None => return Err(h2::Error::from(Reason::CANCEL).into()),
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, trailers: HeaderMap) -> Result<(), ExchangeError> {
        let Some(mut out) = self.0.take() else { return Ok(()) };
        if trailers.is_empty() {
            out.send_data(Bytes::new(), true)?;
        } else {
            out.send_trailers(trailers)?;
        }
        Ok(())
    }
}

/// An answer that has not come yet.
pub(crate) struct Answer {
    response: ResponseFuture,
    lease: Lease,
}

impl Answer {
    pub(super) async fn head(self) -> Result<Response<AnswerBody>, SendFailure> {
        match self.response.await {
            Ok(response) => Ok(response.map(|stream| AnswerBody { stream, taken: 0, lease: self.lease })),
            // h2 reports a remote GOAWAY only to streams above its last stream id; the others end with an I/O error
            // (RFC 9113 §6.8, §8.7).
            Err(error)
                if error.is_remote()
                    && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM)) =>
            {
                self.lease.retire();
                Err(SendFailure::NotProcessed(error.into()))
            }
            Err(error) => Err(SendFailure::Unknown(error.into())),
        }
    }
}

/// The answer's body.
pub(crate) struct AnswerBody {
    stream: RecvStream,
    /// Bytes handed out whose window was not given back.
    taken: usize,
    lease: Lease,
}

impl AnswerBody {
    pub(super) fn is_end(&self) -> bool {
        self.stream.is_end_stream()
    }

    pub(super) async fn data(&mut self) -> Result<Option<Bytes>, h2::Error> {
        self.stream.flow_control().release_capacity(std::mem::take(&mut self.taken))?;
        let bytes = self.stream.data().await.transpose()?;
        self.taken = bytes.as_ref().map_or(0, Bytes::len);
        Ok(bytes)
    }

    pub(super) async fn trailers(&mut self) -> Result<HeaderMap, h2::Error> {
        Ok(self.stream.trailers().await?.unwrap_or_default())
    }

    pub(super) fn retire(&self) {
        self.lease.retire();
    }
}

/// Streams per connection, whatever the server allows (kube-apiserver's default is 100).
const STREAMS_MAX: usize = 100;
/// What the API server may send on a stream before it was taken: bounds the agent's memory per exchange.
const STREAM_WINDOW: u32 = 1 << 20;
/// The largest window there is (RFC 9113 §6.9.1).
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Response headers, bytes.
const HEADER_LIST_BYTES_MAX: u32 = 1 << 20;
/// Body bytes of a stream that wait for the server's window.
const SEND_BUFFER_BYTES: usize = 256 * 1024;
