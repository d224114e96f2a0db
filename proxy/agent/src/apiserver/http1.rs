//! An HTTP/1.1 connection: one exchange at a time, each half moving by itself, so that an answer may come while the
//! request's body is still on its way. After a whole exchange it is kept for another one; anything else closes it, which
//! is also how an exchange is cancelled.

mod kept;

use std::{cell::Cell, io, rc::Rc};

use bytes::{Buf, Bytes, BytesMut};
use hawser_http1::{BodyDecoder, BodyLength, Decoded, HeadScan, Limits, ResponseHead};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::client::TlsStream;

use kept::Place;

use super::{ExchangeError, SendFailure};

type Io = Box<TlsStream<TcpStream>>;
/// The idle connections to one API server.
pub(super) type Kept = kept::Kept<Io>;

/// A connection without an exchange.
pub(crate) struct Connection {
    io: Io,
    place: Place,
    home: Rc<Kept>,
    /// It has carried an exchange before: the server may be about to close it.
    kept: bool,
}

impl Connection {
    pub(super) fn new(io: Io, place: Place, home: Rc<Kept>) -> Self {
        Self { io, place, home, kept: false }
    }

    /// One that idles, if there is any.
    pub(super) fn idle(home: &Rc<Kept>) -> Option<Self> {
        let (io, place) = home.take(Instant::now())?;
        Some(Self { io, place, home: Rc::clone(home), kept: true })
    }

    pub(super) fn send(
        self,
        request: Request<()>,
        body: BodyLength,
    ) -> Result<(Answer, RequestBody), SendFailure> {
        let method = request.method().clone();
        let head = head(request, body).map_err(|error| SendFailure::NotProcessed(error.into()))?;
        let (read, write) = tokio::io::split(self.io);
        let shared = Rc::new(Shared {
            home: self.home,
            place: Cell::new(Some(self.place)),
            head: Cell::new(Head::Held),
            write: Cell::new(None),
        });
        let left = match body {
            BodyLength::Length(bytes) => Left::Bytes(bytes),
            BodyLength::Chunked => Left::Chunks,
            BodyLength::None | BodyLength::UntilClose => Left::Bytes(0),
        };
        let out = RequestBody { write: Some(write), out: head, left, shared: Rc::clone(&shared) };
        Ok((Answer { read, shared, method, kept: self.kept, buffer: BytesMut::new() }, out))
    }
}

/// The head as it goes out. Its framing says what follows, whatever the fields said that came with it.
fn head(request: Request<()>, body: BodyLength) -> Result<BytesMut, hawser_http1::Error> {
    let (parts, ()) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut headers = HeaderMap::with_capacity(parts.headers.len() + 2);
    let authority = parts.uri.authority().map_or("", |authority| authority.as_str());
    headers.insert(header::HOST, value(authority.as_bytes())?);
    headers.extend(parts.headers);
    // The body follows at once, whatever the client waited for.
    headers.remove(header::EXPECT);
    join_cookies(&mut headers)?;
    let announces = [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method);
    let framing = if body == BodyLength::None && announces { BodyLength::Length(0) } else { body };
    framing.set_framing(&mut headers);
    let mut head = BytesMut::new();
    hawser_http1::write_request_head(&mut head, &parts.method, target, &headers)?;
    Ok(head)
}

/// HTTP/2 clients send cookies one by one; HTTP/1.1 has one field for all (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), hawser_http1::Error> {
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1 {
        let joined = value(&cookies.join(&b"; "[..]))?;
        headers.insert(header::COOKIE, joined);
    }
    Ok(())
}

fn value(bytes: &[u8]) -> Result<HeaderValue, hawser_http1::Error> {
    HeaderValue::from_bytes(bytes)
        .map_err(|_bytes| hawser_http1::Error::Malformed("bad byte in a header value"))
}

/// What the two halves of an exchange know of each other.
struct Shared {
    home: Rc<Kept>,
    place: Cell<Option<Place>>,
    head: Cell<Head>,
    /// Here once the whole request was written.
    write: Cell<Option<WriteHalf<Io>>>,
}

/// How much of the request's head the server may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    /// Nothing was written.
    Held,
    /// Not all of it could be written: without its end it means nothing.
    Torn,
    /// It may be there.
    Sent,
}

/// The request on its way out.
pub(crate) struct RequestBody {
    /// `None` once the request is whole, or broken off.
    write: Option<WriteHalf<Io>>,
    /// Not written yet.
    out: BytesMut,
    left: Left,
    shared: Rc<Shared>,
}

/// What the head says is still to come.
enum Left {
    Bytes(u64),
    Chunks,
}

impl RequestBody {
    pub(super) async fn begin(&mut self) -> Result<(), ExchangeError> {
        self.shared.head.set(Head::Sent);
        let written = self.flush().await;
        if written.is_err() {
            self.shared.head.set(Head::Torn);
        }
        written
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), ExchangeError> {
        match &mut self.left {
            Left::Chunks => hawser_http1::write_chunk(&mut self.out, bytes),
            Left::Bytes(left) => {
                // A byte too many would be the beginning of another request.
                let Some(rest) = left.checked_sub(bytes.len() as u64) else { return self.break_off().await };
                *left = rest;
                self.out.extend_from_slice(bytes);
            }
        }
        self.flush().await
    }

    pub(super) async fn finish(&mut self, trailers: &HeaderMap) -> Result<(), ExchangeError> {
        match self.left {
            Left::Bytes(0) => Ok(()),
            Left::Bytes(_) => self.break_off().await,
            Left::Chunks => {
                hawser_http1::write_last_chunk(&mut self.out, Some(trailers));
                self.left = Left::Bytes(0);
                self.flush().await
            }
        }
    }

    /// Writes what is there, and lets go of the connection behind the last byte.
    async fn flush(&mut self) -> Result<(), ExchangeError> {
        let write = self.write.as_mut().ok_or(ExchangeError::Length)?;
        write.write_all_buf(&mut self.out).await?;
        write.flush().await?;
        if matches!(self.left, Left::Bytes(0)) {
            self.shared.write.set(self.write.take());
        }
        Ok(())
    }

    /// Lets the server see that no more will come.
    async fn break_off(&mut self) -> Result<(), ExchangeError> {
        if let Some(mut write) = self.write.take() {
            write.shutdown().await?;
        }
        Err(ExchangeError::Length)
    }
}

/// An answer that has not come yet.
pub(crate) struct Answer {
    read: ReadHalf<Io>,
    shared: Rc<Shared>,
    method: Method,
    kept: bool,
    buffer: BytesMut,
}

impl Answer {
    pub(super) async fn head(mut self) -> Result<Response<AnswerBody>, SendFailure> {
        match final_head(&mut self.read, &self.method, &mut self.buffer).await {
            Ok(head) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                Err(SendFailure::Unknown(ExchangeError::Switched))
            }
            Ok(head) => Ok(self.begun(head)),
            Err(error) => Err(self.lost(error)),
        }
    }

    fn begun(self, head: ResponseHead) -> Response<AnswerBody> {
        let mut body = AnswerBody {
            read: Some(self.read),
            shared: self.shared,
            decoder: BodyDecoder::new(head.body, &Limits::default()),
            buffer: self.buffer,
            keep: head.keep_alive,
            trailers: HeaderMap::new(),
        };
        if matches!(head.body, BodyLength::None | BodyLength::Length(0)) {
            body.end();
        }
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }

    fn lost(&self, error: ExchangeError) -> SendFailure {
        let silent = matches!(error, ExchangeError::Io(_)) && self.buffer.is_empty();
        match self.shared.head.get() {
            Head::Held | Head::Torn if silent => SendFailure::NotProcessed(error),
            Head::Sent if silent && self.kept => SendFailure::Stale(error),
            Head::Held | Head::Torn | Head::Sent => SendFailure::Unknown(error),
        }
    }
}

/// The first final head (a 101 is one), read into `buffer`, where what follows it is left.
pub(super) async fn final_head(
    read: &mut (impl AsyncRead + Unpin),
    method: &Method,
    buffer: &mut BytesMut,
) -> Result<ResponseHead, ExchangeError> {
    let limits = Limits::default();
    let mut scan = HeadScan::default();
    loop {
        while let Some((head, consumed)) = scan.response(buffer, method, &limits)? {
            buffer.advance(consumed);
            if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(head);
            }
        }
        buffer.reserve(READ_BYTES);
        if read.read_buf(buffer).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

/// The answer's body.
pub(crate) struct AnswerBody {
    /// `None` once it is whole.
    read: Option<ReadHalf<Io>>,
    shared: Rc<Shared>,
    decoder: BodyDecoder,
    buffer: BytesMut,
    keep: bool,
    trailers: HeaderMap,
}

impl AnswerBody {
    pub(super) fn is_end(&self) -> bool {
        self.read.is_none()
    }

    pub(super) async fn data(&mut self) -> Result<Option<Bytes>, ExchangeError> {
        while let Some(read) = &mut self.read {
            match self.decoder.decode(&mut self.buffer)? {
                Decoded::Data(bytes) => return Ok(Some(bytes)),
                Decoded::End(trailers) => {
                    self.trailers = trailers.unwrap_or_default();
                    self.end();
                }
                Decoded::NeedMore => {
                    self.buffer.reserve(READ_BYTES);
                    if read.read_buf(&mut self.buffer).await? == 0 {
                        self.decoder.eof()?;
                        self.end();
                    }
                }
            }
        }
        Ok(None)
    }

    pub(super) fn take_trailers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.trailers)
    }

    pub(super) fn retire(&mut self) {
        self.keep = false;
    }

    /// The answer is whole. The connection is good for another exchange if the request is whole, too, and the server
    /// sent nothing beyond.
    fn end(&mut self) {
        let Some(read) = self.read.take() else { return };
        if !self.keep || !self.buffer.is_empty() {
            return;
        }
        if let (Some(write), Some(place)) = (self.shared.write.take(), self.shared.place.take()) {
            self.shared.home.put(read.unsplit(write), place, Instant::now());
        }
    }
}

/// Room per read of the API server's side: two TLS records.
const READ_BYTES: usize = 32 * 1024;
