//! Shared HTTP/2 connections. A connection that was told to go away takes no new stream and is forgotten; streams it
//! never processed are reported as such, so that they can be sent again elsewhere.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use bytes::Bytes;
use h2::{
    Reason, SendStream,
    client::{ResponseFuture, SendRequest},
};

use hawser_transport::Coalesced;

use super::{ApiServer, ConnectError};

/// The connections of one API server, most recently dialled last.
#[derive(Default)]
pub(crate) struct Pool {
    connections: RefCell<Vec<Rc<Connection>>>,
    dialling: tokio::sync::Mutex<()>,
}

struct Connection {
    send: SendRequest<Bytes>,
    streams: Cell<usize>,
    gone: Rc<Cell<bool>>,
}

/// One stream's place on its connection.
pub(crate) struct Lease(Rc<Connection>);

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendFailure {
    /// No byte of it was acted on: it may be sent again.
    #[error("the API server did not take the request: {0}")]
    NotProcessed(#[source] h2::Error),
    /// It may have been acted on.
    #[error("the connection to the API server broke: {0}")]
    Unknown(#[source] h2::Error),
}

impl SendFailure {
    /// Reads an error of a response future or of its stream (RFC 9113 §6.8, §8.7).
    pub(crate) fn of(error: h2::Error) -> Self {
        // h2 reports a remote GOAWAY only to streams above its last stream id; the others end with an I/O error.
        let refused =
            error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM));
        if refused { Self::NotProcessed(error) } else { Self::Unknown(error) }
    }
}

impl Pool {
    /// A place for one more stream, on a connection that is there or on a new one.
    pub(crate) async fn lease(&self, server: &Rc<ApiServer>) -> Result<Lease, ConnectError> {
        loop {
            let connection = self.connection(server).await?;
            match connection.0.send.clone().ready().await {
                Ok(_) => return Ok(connection),
                Err(error) => {
                    tracing::debug!(%error, "connection to the API server takes no more streams");
                    connection.retire();
                }
            }
        }
    }

    async fn connection(&self, server: &Rc<ApiServer>) -> Result<Lease, ConnectError> {
        if let Some(lease) = self.vacant() {
            return Ok(lease);
        }
        let dialling = self.dialling.lock().await;
        if let Some(lease) = self.vacant() {
            return Ok(lease);
        }
        let connection = dial(server).await?;
        self.connections.borrow_mut().push(Rc::clone(&connection));
        drop(dialling);
        Ok(Lease::new(connection))
    }

    fn vacant(&self) -> Option<Lease> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| !connection.gone.get());
        let vacant = connections.iter().find(|connection| {
            connection.streams.get() < connection.send.current_max_send_streams().min(STREAMS_MAX)
        });
        vacant.map(|connection| Lease::new(Rc::clone(connection)))
    }
}

async fn dial(server: &Rc<ApiServer>) -> Result<Rc<Connection>, ConnectError> {
    let io = Coalesced::new(server.dial(b"h2").await?);
    let (send, driver) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        // Never the bottleneck: one unread log must not stop the other streams of the connection.
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .enable_push(false)
        .handshake::<_, Bytes>(io)
        .await
        .map_err(|error| ConnectError::Http2(server.authority(), error))?;
    // The driver must not hold the connection's own sender, or it would never see that nobody needs it any more.
    let gone = Rc::new(Cell::new(false));
    let connection = Rc::new(Connection { send, streams: Cell::new(0), gone: Rc::clone(&gone) });
    tokio::task::spawn_local(async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "connection to the API server ended");
        }
        gone.set(true);
    });
    Ok(connection)
}

impl Lease {
    fn new(connection: Rc<Connection>) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        Self(connection)
    }

    /// Sends the head; the caller sends the body and awaits the response.
    ///
    /// # Errors
    /// The connection broke before the head was taken: nothing was sent.
    pub(crate) fn send(
        &self,
        request: http::Request<()>,
        end: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.0.send.clone().send_request(request, end)
    }

    /// No new stream on this connection.
    pub(crate) fn retire(&self) {
        self.0.gone.set(true);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
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
