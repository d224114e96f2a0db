//! The HTTP/1.1 driver: strict heads and bodies (see `hawser_http1`), one exchange after the other on a connection,
//! and after a 101 the raw halves of it. Written against any byte stream.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use hawser_http1::{BodyDecoder, BodyLength, Decoded, HeadScan, RequestHead};
use hawser_kube::status::Status;
use hawser_tunnel::wire::BodyV1;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{ClientError, DRAIN_WAIT};
use crate::{conn::Conn, request, respond};

/// Serves a connection until it ends, is drained or turns into an upgraded stream that ends.
pub(crate) async fn serve<I>(io: I, conn: Rc<Conn>)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (read, write) = hawser_transport::split(io);
    let mut reader = Reader { io: Box::new(read), buffer: BytesMut::new() };
    let mut writer = Writer { io: Box::new(write), out: BytesMut::new(), broken: false };
    let mut scan = HeadScan::default();
    let mut fresh = true;
    while let Some(head) = next_head(&mut scan, &mut reader, &mut writer, &conn, fresh).await {
        fresh = false;
        let persistence = Cell::new(head.keep_alive && !conn.draining());
        match exchange(head, &mut reader, &mut writer, &persistence, &conn).await {
            Next::Another => {}
            Next::Close if writer.broken => return,
            Next::Close => break,
            // A TLS close would tell the client that the answer is whole.
            Next::Break => return,
        }
    }
    let drained = async {
        conn.worker.drain.cancelled().await;
        tokio::time::sleep(CLOSE_WAIT_DRAINING).await;
    };
    tokio::select! {
        () = linger(&mut reader, &mut writer) => {}
        () = tokio::time::sleep(CLOSE_WAIT) => {}
        () = drained => {}
    }
}

/// Ends our side and reads what the client still sends: a socket closed with bytes unread is reset, and a reset takes the
/// answer out of the client's hands.
async fn linger(reader: &mut Reader, writer: &mut Writer) {
    if writer.io.shutdown().await.is_err() {
        return;
    }
    while reader.buffer.len() < READ_AHEAD_BYTES_MAX && matches!(reader.fill(READ_BYTES).await, Ok(1..)) {
        reader.buffer.clear();
    }
}

/// What becomes of the connection after an exchange.
enum Next {
    Another,
    Close,
    Break,
}

/// Reads one head. `None` when the connection is over; a malformed head is answered first.
async fn next_head(
    scan: &mut HeadScan,
    reader: &mut Reader,
    writer: &mut Writer,
    conn: &Conn,
    fresh: bool,
) -> Option<RequestHead> {
    let limits = &conn.config.limits;
    let mut begun = !reader.buffer.is_empty();
    let mut deadline =
        tokio::time::Instant::now() + if begun { limits.head_timeout } else { conn.idle_timeout() };
    loop {
        if begun {
            match scan.request(&reader.buffer, &limits.http1()) {
                Ok(Some((head, consumed))) => {
                    reader.buffer.advance(consumed);
                    return Some(head);
                }
                Ok(None) => {}
                Err(error) => {
                    let status = refusal(&error);
                    respond::refused_head(conn, &status);
                    writer.status(&status, true).await;
                    return None;
                }
            }
        }
        tokio::select! {
            read = reader.fill(READ_BYTES) => match read {
                Ok(0) | Err(_) => return None,
                Ok(_) if !begun => {
                    begun = true;
                    deadline = tokio::time::Instant::now() + limits.head_timeout;
                }
                Ok(_) => {}
            },
            () = tokio::time::sleep_until(deadline) => return None,
            // A head that has begun, or a client that has just come, is still served; the answer then says `close`.
            _reason = conn.worker.drain.cancelled(), if !begun && !fresh => return None,
        }
    }
}

fn refusal(error: &hawser_http1::Error) -> Status {
    let text = format!("the request is not valid HTTP/1.1: {error}");
    match error.status_code() {
        431 | 414 => Status::header_fields_too_large(text),
        _ => Status::bad_request(text),
    }
}

/// One exchange.
async fn exchange(
    head: RequestHead,
    reader: &mut Reader,
    writer: &mut Writer,
    persistence: &Cell<bool>,
    conn: &Rc<Conn>,
) -> Next {
    let limits = &conn.config.limits;
    let body = Body {
        decoder: BodyDecoder::new(head.body, &limits.http1()),
        ended: head.body == BodyLength::None,
        trailers: None,
        wait: limits.body_wait,
        reader,
    };
    let mut responder = Responder {
        writer,
        persistence,
        http10: head.http10,
        head_only: head.method == Method::HEAD,
        expects: head.expect_continue,
        state: State::Fresh,
    };
    let request = super::Request {
        authority: head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned),
        method: head.method,
        target: head.target,
        headers: head.headers,
        length: match head.body {
            BodyLength::None => BodyV1::None,
            BodyLength::Length(bytes) => BodyV1::Length(bytes),
            BodyLength::Chunked | BodyLength::UntilClose => BodyV1::Unknown,
        },
        body: super::RequestBody::Http1(body),
    };
    responder.expects &= request.length != BodyV1::None;
    let (body, responder) = request::serve(conn, request, super::Responder::Http1(responder)).await;
    let (super::RequestBody::Http1(mut body), super::Responder::Http1(responder)) = (body, responder) else {
        return Next::Break;
    };
    match responder.state {
        State::Done if persistence.get() && body.drain().await => Next::Another,
        State::Done | State::Switched => Next::Close,
        State::Fresh | State::Sized(_) | State::Plain | State::Chunked | State::Silent | State::Broken => {
            Next::Break
        }
    }
}

/// The receiving half with what was read ahead.
pub(crate) struct Reader {
    io: Box<dyn AsyncRead + Unpin>,
    buffer: BytesMut,
}

impl Reader {
    /// Reads once into the buffer; 0 = end. Cancel safe.
    async fn fill(&mut self, room: usize) -> std::io::Result<usize> {
        self.buffer.reserve(room);
        self.io.read_buf(&mut self.buffer).await
    }

    /// Raw bytes after a 101: what was read ahead first. Empty = end. Cancel safe.
    pub(crate) async fn raw(&mut self) -> std::io::Result<Bytes> {
        if self.buffer.is_empty() {
            self.fill(RAW_READ_BYTES).await?;
        }
        Ok(self.buffer.split().freeze())
    }

    /// Did bytes arrive that nobody asked for yet?
    pub(crate) fn has_early_bytes(&self) -> bool {
        !self.buffer.is_empty()
    }
}

/// The sending half; heads and small bodies are gathered in `out` and leave in one write.
pub(crate) struct Writer {
    io: Box<dyn AsyncWrite + Unpin>,
    out: BytesMut,
    broken: bool,
}

impl Writer {
    /// The connection must not end in good order.
    pub(crate) fn break_off(&mut self) {
        self.broken = true;
    }

    async fn flush(&mut self) -> Result<(), ClientError> {
        self.io.write_all_buf(&mut self.out).await.map_err(|_gone| ClientError::Gone)?;
        self.io.flush().await.map_err(|_gone| ClientError::Gone)
    }

    /// Writes some of the bytes in `from` and takes them out; what is left stays there, whenever this is dropped.
    pub(crate) async fn some(&mut self, from: &RefCell<BytesMut>) -> Result<usize, ClientError> {
        let written = std::future::poll_fn(|cx| {
            let mut from = from.borrow_mut();
            let poll = Pin::new(&mut self.io).poll_write(cx, &from);
            if let Poll::Ready(Ok(written)) = poll {
                from.advance(written);
            }
            poll
        });
        let written = written.await.map_err(|_gone| ClientError::Gone)?;
        self.io.flush().await.map_err(|_gone| ClientError::Gone)?;
        if written == 0 { Err(ClientError::Gone) } else { Ok(written) }
    }

    async fn raw(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.io.write_all(bytes).await.map_err(|_gone| ClientError::Gone)?;
        self.io.flush().await.map_err(|_gone| ClientError::Gone)
    }

    async fn status(&mut self, status: &Status, close: bool) {
        let (code, mut headers, body) = respond::status_parts(status);
        if close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        hawser_http1::write_response_head(&mut self.out, code, &headers);
        self.out.extend_from_slice(&body);
        if self.flush().await.is_err() {
            tracing::debug!("the client left before its answer");
        }
    }
}

/// A request body being read from the connection.
pub(crate) struct Body<'a> {
    reader: &'a mut Reader,
    decoder: BodyDecoder,
    ended: bool,
    trailers: Option<HeaderMap>,
    pub(super) wait: Duration,
}

impl Body<'_> {
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        while !self.ended {
            match self.decoder.decode(&mut self.reader.buffer) {
                Ok(Decoded::Data(bytes)) => return Ok(Some(bytes)),
                Ok(Decoded::End(trailers)) => {
                    self.ended = true;
                    self.trailers = trailers;
                }
                Ok(Decoded::NeedMore) => match timeout(self.wait, self.reader.fill(READ_BYTES)).await {
                    Ok(Ok(0) | Err(_)) => return Err(ClientError::Gone),
                    Ok(Ok(_)) => {}
                    Err(_elapsed) => return Err(ClientError::Stalled),
                },
                Err(error) => return Err(ClientError::Malformed(error.to_string())),
            }
        }
        Ok(None)
    }

    pub(super) fn trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }

    /// Watches for the client's leaving by reading ahead, up to a bound; beyond it a write will notice.
    pub(crate) async fn gone(&mut self) {
        while self.reader.buffer.len() < READ_AHEAD_BYTES_MAX {
            if matches!(self.reader.fill(READ_BYTES).await, Ok(0) | Err(_)) {
                return;
            }
        }
        std::future::pending().await
    }

    /// Reads what is left of a body that nobody wanted, within bounds. False when the connection must close instead.
    async fn drain(&mut self) -> bool {
        let rest = async {
            let mut left = DRAIN_BYTES_MAX;
            loop {
                match self.chunk().await {
                    Ok(None) => return true,
                    Ok(Some(bytes)) if bytes.len() <= left => left -= bytes.len(),
                    Ok(Some(_)) | Err(_) => return false,
                }
            }
        };
        timeout(DRAIN_WAIT, rest).await.unwrap_or(false)
    }

    /// The raw stream after a 101.
    pub(crate) fn raw(&mut self) -> &mut Reader {
        self.reader
    }
}

/// How far a response is.
#[derive(Clone, Copy)]
enum State {
    Fresh,
    /// Body of a length the client knows: so many bytes are still to come, and no more may.
    Sized(u64),
    /// Body that ends with the connection (HTTP/1.0).
    Plain,
    Chunked,
    /// No body allowed (HEAD, 204, 304): bytes are dropped.
    Silent,
    Done,
    /// The connection left HTTP, and has ended.
    Switched,
    Broken,
}

/// The response side of one exchange.
pub(crate) struct Responder<'a> {
    writer: &'a mut Writer,
    persistence: &'a Cell<bool>,
    http10: bool,
    head_only: bool,
    expects: bool,
    state: State,
}

impl Responder<'_> {
    pub(super) fn started(&self) -> bool {
        !matches!(self.state, State::Fresh)
    }

    pub(super) async fn proceed(&mut self) -> Result<(), ClientError> {
        if std::mem::take(&mut self.expects) {
            self.writer.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.writer.flush().await?;
        }
        Ok(())
    }

    pub(super) async fn head(
        &mut self,
        status: StatusCode,
        mut headers: HeaderMap,
        end: bool,
    ) -> Result<(), ClientError> {
        // A client still waiting for `100 Continue` will not send the body: nothing can follow on this connection.
        if self.expects {
            self.persistence.set(false);
        }
        let bodiless = self.head_only || matches!(status.as_u16(), 204 | 304);
        self.state = if bodiless {
            State::Silent
        } else if let Some(length) = headers.get(header::CONTENT_LENGTH) {
            let length = length.to_str().ok().and_then(|text| text.parse().ok());
            State::Sized(
                length.ok_or_else(|| ClientError::Malformed("content-length of the answer".to_owned()))?,
            )
        } else if end {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            State::Sized(0)
        } else if self.http10 {
            self.persistence.set(false);
            State::Plain
        } else {
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            State::Chunked
        };
        if !self.persistence.get() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        } else if self.http10 {
            headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive"));
        }
        hawser_http1::write_response_head(&mut self.writer.out, status, &headers);
        self.writer.flush().await.inspect_err(|_gone| self.state = State::Broken)?;
        if end {
            self.finish(None).await?;
        }
        Ok(())
    }

    pub(super) async fn data(&mut self, bytes: Bytes) -> Result<(), ClientError> {
        let sent = match self.state {
            State::Plain => self.writer.raw(&bytes).await,
            State::Sized(left) => match left.checked_sub(bytes.len() as u64) {
                Some(left) => {
                    self.state = State::Sized(left);
                    self.writer.raw(&bytes).await
                }
                // More than announced would be read as the next answer.
                None => Err(ClientError::Malformed("the answer is longer than announced".to_owned())),
            },
            State::Chunked => {
                hawser_http1::write_chunk(&mut self.writer.out, &bytes);
                self.writer.flush().await
            }
            State::Silent => Ok(()),
            State::Fresh | State::Done | State::Switched | State::Broken => Err(ClientError::Gone),
        };
        sent.inspect_err(|_gone| self.state = State::Broken)
    }

    pub(super) async fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), ClientError> {
        if matches!(self.state, State::Chunked) {
            hawser_http1::write_last_chunk(&mut self.writer.out, trailers.as_ref());
            self.writer.flush().await.inspect_err(|_gone| self.state = State::Broken)?;
        }
        // A body shorter than announced leaves the client waiting: only the end of the connection tells it.
        self.state = if matches!(self.state, State::Sized(1..)) { State::Broken } else { State::Done };
        Ok(())
    }

    pub(super) fn abort(&mut self) {
        // What left HTTP has had its own last words.
        if !matches!(self.state, State::Switched) {
            self.state = State::Broken;
        }
    }

    /// Sends the 101 and gives the raw stream.
    pub(crate) async fn switch(&mut self, headers: &HeaderMap) -> Result<&mut Writer, ClientError> {
        self.state = State::Switched; // whatever happens, no second exchange here
        hawser_http1::write_response_head(&mut self.writer.out, StatusCode::SWITCHING_PROTOCOLS, headers);
        self.writer.flush().await?;
        Ok(self.writer)
    }

    /// Sends an answer that is there already.
    pub(crate) async fn whole(
        &mut self,
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), ClientError> {
        self.head(status, headers, false).await?;
        self.data(body).await?;
        self.finish(None).await
    }

    /// The next answer is the last on this connection.
    pub(crate) fn close_after(&self) {
        self.persistence.set(false);
    }
}

/// Room asked of the buffer per read of heads and bodies.
const READ_BYTES: usize = 16 * 1024;
/// Room per read of an upgraded stream.
const RAW_READ_BYTES: usize = 32 * 1024;
/// How far a client may send ahead of its answer before its connection is no longer read.
const READ_AHEAD_BYTES_MAX: usize = 64 * 1024;
/// How much of an unwanted body is read to keep the connection.
const DRAIN_BYTES_MAX: usize = 256 * 1024;
/// How long the end of a connection may take.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// The same once the edge drains.
const CLOSE_WAIT_DRAINING: Duration = Duration::from_millis(500);
