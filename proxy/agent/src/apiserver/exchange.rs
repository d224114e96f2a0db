//! One exchange with the API server: the same face for HTTP/2 and HTTP/1.1. What may be sent again is decided here, by
//! what each protocol lets a client know about a request without an answer.

use std::io;

use bytes::Bytes;
use hawser_http1::BodyLength;
use http::{HeaderMap, Request, Response};

use super::{http1, http2};

/// A place for one exchange.
pub(crate) enum Lease {
    /// A stream of a shared connection.
    Http2(http2::Lease),
    /// A connection of its own, for as long as the exchange lasts.
    Http1(http1::Connection),
}

/// The request's body on its way out. Dropped before its end, it takes the exchange with it.
pub(crate) enum RequestBody {
    /// Data frames.
    Http2(http2::RequestBody),
    /// Bytes behind the head.
    Http1(http1::RequestBody),
}

/// An answer that has not come yet.
pub(crate) enum Answer {
    /// On a stream.
    Http2(http2::Answer),
    /// On a connection.
    Http1(http1::Answer),
}

/// The answer's body. Dropped before its end, it takes the exchange with it.
pub(crate) enum AnswerBody {
    /// On a stream.
    Http2(http2::AnswerBody),
    /// On a connection.
    Http1(http1::AnswerBody),
}

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendFailure {
    /// It was not acted on: it may be sent again.
    #[error("the API server did not take the request: {0}")]
    NotProcessed(#[source] ExchangeError),
    /// A connection that had been idle ended without a byte of an answer. The server most likely closed it before it saw
    /// the request, which nobody can know.
    #[error("the API server closed an idle connection: {0}")]
    Stale(#[source] ExchangeError),
    /// It may have been acted on.
    #[error("the connection to the API server broke: {0}")]
    Unknown(#[source] ExchangeError),
}

/// What ended an exchange early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// HTTP/2.
    #[error(transparent)]
    Http2(#[from] h2::Error),
    /// The connection.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What the API server sent has no single reading, or was cut short.
    #[error(transparent)]
    Http1(#[from] hawser_http1::Error),
    /// The request's body is not as long as its head says.
    #[error("the request's body is not as long as announced")]
    Length,
    /// A change of protocol that nobody asked for.
    #[error("the API server changed the protocol unasked")]
    Switched,
}

impl Lease {
    /// Sends the head; the caller sends the body and awaits the answer, both at once.
    ///
    /// # Errors
    /// Nothing was sent.
    pub(crate) fn send(
        self,
        request: Request<()>,
        body: BodyLength,
    ) -> Result<(Answer, RequestBody), SendFailure> {
        match self {
            Self::Http2(lease) => {
                let (answer, out) = lease.send(request, body == BodyLength::None)?;
                Ok((Answer::Http2(answer), RequestBody::Http2(out)))
            }
            Self::Http1(connection) => {
                let (answer, out) = connection.send(request, body)?;
                Ok((Answer::Http1(answer), RequestBody::Http1(out)))
            }
        }
    }
}

impl RequestBody {
    /// Lets the head go. To be called first, also where there is no body.
    ///
    /// # Errors
    /// The server takes nothing; its answer, or the lack of it, tells why. So everywhere below.
    pub(crate) async fn begin(&mut self) -> Result<(), ExchangeError> {
        match self {
            Self::Http2(_sent_already) => Ok(()),
            Self::Http1(out) => out.begin().await,
        }
    }

    /// Sends a piece, as fast as the server takes it.
    pub(crate) async fn send(&mut self, bytes: Bytes) -> Result<(), ExchangeError> {
        match self {
            Self::Http2(out) => out.send(bytes).await,
            Self::Http1(out) => out.send(&bytes).await,
        }
    }

    /// Ends the body. HTTP/1.1 has no trailers behind a body of known length: they are left out there.
    pub(crate) async fn finish(&mut self, trailers: HeaderMap) -> Result<(), ExchangeError> {
        match self {
            Self::Http2(out) => out.finish(trailers),
            Self::Http1(out) => out.finish(&trailers).await,
        }
    }
}

impl Answer {
    /// Waits for the final head.
    ///
    /// # Errors
    /// There is no answer; says whether the request may be sent again.
    pub(crate) async fn head(self) -> Result<Response<AnswerBody>, SendFailure> {
        match self {
            Self::Http2(answer) => Ok(answer.head().await?.map(AnswerBody::Http2)),
            Self::Http1(answer) => Ok(answer.head().await?.map(AnswerBody::Http1)),
        }
    }
}

impl AnswerBody {
    /// Is there nothing more?
    pub(crate) fn is_end(&self) -> bool {
        match self {
            Self::Http2(body) => body.is_end(),
            Self::Http1(body) => body.is_end(),
        }
    }

    /// The next piece, `None` at the end. Asking for it says that the piece before was taken. Cancel safe.
    ///
    /// # Errors
    /// The body is not whole.
    pub(crate) async fn data(&mut self) -> Result<Option<Bytes>, ExchangeError> {
        match self {
            Self::Http2(body) => Ok(body.data().await?),
            Self::Http1(body) => body.data().await,
        }
    }

    /// What followed the body, once `data` has returned `None`.
    ///
    /// # Errors
    /// As [`Self::data`].
    pub(crate) async fn trailers(&mut self) -> Result<HeaderMap, ExchangeError> {
        match self {
            Self::Http2(body) => Ok(body.trailers().await?),
            Self::Http1(body) => Ok(body.take_trailers()),
        }
    }

    /// No other exchange on this connection.
    pub(crate) fn retire(&mut self) {
        match self {
            Self::Http2(body) => body.retire(),
            Self::Http1(body) => body.retire(),
        }
    }
}
