//! One exchange on a link: a stream of bytes each way.
//!
//! Each half ends by itself: `finish` says that all was said, `reset` that the rest will not come,
//! `stop` that the rest is not wanted. A half that is dropped before its end is reset or stopped, so
//! that dropping an exchange cancels it on the far side.

use std::fmt;
use std::future::Future;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::{Bytes, BytesMut};
use hawser_kube::close::CloseReason;

use crate::connection::Connection;
use crate::error::StreamError;
use crate::wire::{
    self, BodyDecoder, BodyEvent, CHUNK_BYTES_MAX, Control, EnrollV1, Enrollment, Fields, Frame, Message,
    REFUSED, ReplyV1, RequestV1, WireError, code_of,
};

/// Most bytes that one [`RecvHalf::read`] returns.
pub const READ_BYTES_MAX: usize = 64 << 10;

/// A stream, whole; its halves may go to different tasks.
#[derive(Debug)]
pub struct TunnelStream {
    /// Bytes to the far side.
    pub send: SendHalf,
    /// Bytes from the far side.
    pub recv: RecvHalf,
}

impl TunnelStream {
    pub(crate) fn new(
        connection: &Connection,
        send: quinn::SendStream,
        recv: quinn::RecvStream,
        in_flight: Option<InFlight>,
    ) -> Self {
        Self {
            send: SendHalf {
                quic: send,
                connection: connection.clone(),
                ended: false,
                _in_flight: in_flight.clone(),
            },
            recv: RecvHalf {
                quic: recv,
                connection: connection.clone(),
                held: Bytes::new(),
                ended: false,
                _in_flight: in_flight,
            },
        }
    }

    /// Turns the stream down without having looked at it: the far side may send its request again
    /// elsewhere.
    pub fn refuse(mut self) {
        self.recv.end(REFUSED);
        self.send.end(REFUSED);
    }
}

/// The sending half of a [`TunnelStream`].
pub struct SendHalf {
    quic: quinn::SendStream,
    connection: Connection,
    ended: bool,
    _in_flight: Option<InFlight>,
}

/// How the far side took what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// All of it arrived.
    Delivered,
    /// It will not read further.
    Early(StreamError),
}

impl SendHalf {
    /// Sends `bytes`; waits while the far side has no room for them. If dropped before its end, a part
    /// of the bytes may have been sent.
    ///
    /// # Errors
    /// [`StreamError::Stopped`], [`StreamError::Refused`], [`StreamError::LinkLost`], or
    /// [`StreamError::Ended`] after `finish` or `reset`.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.quic.write_chunk(bytes).await.map_err(|error| self.explain(error))
    }

    /// Sends several pieces in order, like [`SendHalf::write`].
    ///
    /// # Errors
    /// As [`SendHalf::write`].
    pub async fn write_all(&mut self, pieces: &mut [Bytes]) -> Result<(), StreamError> {
        self.quic.write_all_chunks(pieces).await.map_err(|error| self.explain(error))
    }

    /// All was said; what was written is still delivered.
    pub fn finish(&mut self) {
        // An error says that the half has ended already, which is what was asked for.
        self.quic.finish().ok();
        self.ended = true;
    }

    /// The rest will not come, and what was written need not arrive.
    pub fn reset(&mut self, reason: &CloseReason) {
        self.end(code_of(reason));
    }

    /// Waits until the far side has everything (after `finish`) or will not read further. Does not
    /// borrow the half, so that it can wait beside a `write`.
    pub fn stopped(&self) -> impl Future<Output = Stopped> + Send + 'static {
        let (stopped, connection) = (self.quic.stopped(), self.connection.clone());
        async move {
            match stopped.await {
                Ok(None) => Stopped::Delivered,
                Ok(Some(code)) => Stopped::Early(StreamError::stopped(code)),
                Err(quinn::StoppedError::ConnectionLost(error)) => {
                    Stopped::Early(connection.explain(&error).into())
                }
                Err(quinn::StoppedError::ZeroRttRejected) => Stopped::Early(StreamError::Ended),
            }
        }
    }

    /// Sends the head of an exchange.
    ///
    /// # Errors
    /// As [`SendHalf::write`]; [`StreamError::Wire`] if it is too long.
    pub async fn send_request(&mut self, request: &RequestV1) -> Result<(), StreamError> {
        self.write(wire::encode(request)?).await
    }

    /// Sends what became of the exchange so far.
    ///
    /// # Errors
    /// As [`SendHalf::send_request`].
    pub async fn send_reply(&mut self, reply: &ReplyV1) -> Result<(), StreamError> {
        self.write(wire::encode(reply)?).await
    }

    /// Sends a message about the link.
    ///
    /// # Errors
    /// As [`SendHalf::send_request`].
    pub async fn send_control(&mut self, control: &Control) -> Result<(), StreamError> {
        self.write(control.encode()?).await
    }

    /// Asks to be let in.
    ///
    /// # Errors
    /// As [`SendHalf::send_request`].
    pub async fn send_enroll(&mut self, enroll: &EnrollV1) -> Result<(), StreamError> {
        self.write(wire::encode(enroll)?).await
    }

    /// Answers [`EnrollV1`].
    ///
    /// # Errors
    /// As [`SendHalf::send_request`].
    pub async fn send_enrollment(&mut self, enrollment: &Enrollment) -> Result<(), StreamError> {
        self.write(enrollment.encode()?).await
    }

    /// Sends a piece of a framed body (see [`RequestV1::trailers`]).
    ///
    /// # Errors
    /// As [`SendHalf::write`].
    pub async fn write_framed(&mut self, mut bytes: Bytes) -> Result<(), StreamError> {
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES_MAX));
            let head = Bytes::copy_from_slice(&wire::chunk_head(chunk.len())?);
            self.write_all(&mut [head, chunk]).await?;
        }
        Ok(())
    }

    /// Ends a framed body with its trailers, and the half with it.
    ///
    /// # Errors
    /// As [`SendHalf::write`]; [`StreamError::Wire`] if they are too long.
    pub async fn finish_framed(&mut self, trailers: &Fields) -> Result<(), StreamError> {
        self.write(wire::trailers(trailers)?).await?;
        self.finish();
        Ok(())
    }

    fn end(&mut self, code: u32) {
        // As in `finish`.
        self.quic.reset(code.into()).ok();
        self.ended = true;
    }

    fn explain(&self, error: quinn::WriteError) -> StreamError {
        match error {
            quinn::WriteError::Stopped(code) => StreamError::stopped(code),
            quinn::WriteError::ConnectionLost(error) => self.connection.explain(&error).into(),
            quinn::WriteError::ClosedStream | quinn::WriteError::ZeroRttRejected => StreamError::Ended,
        }
    }
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        if !self.ended {
            self.reset(&self.connection.dropped_here());
        }
    }
}

/// The receiving half of a [`TunnelStream`].
pub struct RecvHalf {
    quic: quinn::RecvStream,
    connection: Connection,
    /// Bytes received beyond the last message.
    held: Bytes,
    ended: bool,
    _in_flight: Option<InFlight>,
}

impl RecvHalf {
    /// Waits for bytes and returns all that are there, up to [`READ_BYTES_MAX`], as one piece; `None`
    /// when the far side has finished. Nothing is lost if dropped before its end.
    ///
    /// # Errors
    /// [`StreamError::Reset`], [`StreamError::Refused`], [`StreamError::LinkLost`], or
    /// [`StreamError::Ended`] after `stop`.
    pub async fn read(&mut self) -> Result<Option<Bytes>, StreamError> {
        if !self.held.is_empty() {
            return Ok(Some(mem::take(&mut self.held)));
        }
        self.read_new().await
    }

    /// The rest is not wanted.
    pub fn stop(&mut self, reason: &CloseReason) {
        self.end(code_of(reason));
    }

    /// Receives the head of an exchange.
    ///
    /// # Errors
    /// As [`RecvHalf::read`]; [`StreamError::Truncated`] when the stream ends before or within it,
    /// [`StreamError::Wire`] when something else came.
    pub async fn recv_request(&mut self) -> Result<RequestV1, StreamError> {
        self.recv_message().await
    }

    /// Receives what became of the exchange.
    ///
    /// # Errors
    /// As [`RecvHalf::recv_request`].
    pub async fn recv_reply(&mut self) -> Result<ReplyV1, StreamError> {
        self.recv_message().await
    }

    /// Receives a question to be let in.
    ///
    /// # Errors
    /// As [`RecvHalf::recv_request`].
    pub async fn recv_enroll(&mut self) -> Result<EnrollV1, StreamError> {
        self.recv_message().await
    }

    /// Receives the answer to [`EnrollV1`].
    ///
    /// # Errors
    /// As [`RecvHalf::recv_request`].
    pub async fn recv_enrollment(&mut self) -> Result<Enrollment, StreamError> {
        self.recv_with(|frame| Enrollment::from_frame(frame).map(Some)).await?.ok_or(StreamError::Truncated)
    }

    /// Receives the next message about the link, skipping those of a later version; `None` when the
    /// far side has finished.
    ///
    /// # Errors
    /// As [`RecvHalf::recv_request`].
    pub async fn recv_control(&mut self) -> Result<Option<Control>, StreamError> {
        self.recv_with(Control::from_frame).await
    }

    /// Reads on in a framed body: `decoder` keeps its state between calls.
    ///
    /// # Errors
    /// As [`RecvHalf::read`]; [`StreamError::Truncated`] if the stream ends before the body does,
    /// [`StreamError::Wire`] if the framing is broken.
    pub async fn read_framed(&mut self, decoder: &mut BodyDecoder) -> Result<BodyEvent, StreamError> {
        loop {
            let mut bytes = self.read().await?.ok_or(StreamError::Truncated)?;
            let event = decoder.decode(&mut bytes)?;
            self.held = bytes;
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    async fn recv_message<M: Message>(&mut self) -> Result<M, StreamError> {
        let expected = M::KIND;
        let message = self.recv_with(|frame| match frame.kind {
            kind if kind == expected => wire::contents(frame).map(Some),
            got => Err(WireError::Unexpected { got, expected }),
        });
        message.await?.ok_or(StreamError::Truncated)
    }

    /// Receives frames until one yields something; `None` at a clean end of the stream.
    async fn recv_with<T>(
        &mut self,
        take: impl Fn(&Frame<'_>) -> Result<Option<T>, WireError>,
    ) -> Result<Option<T>, StreamError> {
        loop {
            while let Some(frame) = wire::parse_frame(&self.held)? {
                let (taken, consumed) = (take(&frame)?, frame.consumed);
                drop(self.held.split_to(consumed));
                if taken.is_some() {
                    return Ok(taken);
                }
            }
            match self.read_new().await? {
                Some(bytes) => self.held = join(mem::take(&mut self.held), bytes),
                None if self.held.is_empty() => return Ok(None),
                None => return Err(StreamError::Truncated),
            }
        }
    }

    async fn read_new(&mut self) -> Result<Option<Bytes>, StreamError> {
        const NONE: Bytes = Bytes::new();
        let mut chunks = [NONE; READ_CHUNKS_MAX];
        let read = match self.quic.read_chunks(&mut chunks).await {
            Ok(Some(read)) => read,
            Ok(None) => {
                self.ended = true;
                return Ok(None);
            }
            Err(error) => return Err(self.explain(error)),
        };
        let [first, rest @ ..] = &mut chunks[..read] else { return Ok(Some(NONE)) };
        if rest.is_empty() {
            return Ok(Some(mem::take(first)));
        }
        // QUIC delivers packet by packet. One copy here is cheaper than a TLS record or an h2 frame
        // for each packet later.
        let mut merged = BytesMut::with_capacity(chunks[..read].iter().map(Bytes::len).sum());
        for chunk in &chunks[..read] {
            merged.extend_from_slice(chunk);
        }
        Ok(Some(merged.freeze()))
    }

    fn end(&mut self, code: u32) {
        // An error says that the half has ended already, which is what was asked for.
        self.quic.stop(code.into()).ok();
        self.ended = true;
    }

    fn explain(&mut self, error: quinn::ReadError) -> StreamError {
        match error {
            quinn::ReadError::Reset(code) => {
                self.ended = true;
                StreamError::reset(code)
            }
            quinn::ReadError::ConnectionLost(error) => self.connection.explain(&error).into(),
            quinn::ReadError::ClosedStream
            | quinn::ReadError::ZeroRttRejected
            | quinn::ReadError::IllegalOrderedRead => StreamError::Ended,
        }
    }
}

impl Drop for RecvHalf {
    fn drop(&mut self) {
        if !self.ended {
            self.stop(&self.connection.dropped_here());
        }
    }
}

/// A message that came in pieces.
fn join(held: Bytes, more: Bytes) -> Bytes {
    if held.is_empty() {
        return more;
    }
    let mut joined = held.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    joined.extend_from_slice(&more);
    joined.freeze()
}

/// Counts a stream for as long as one of its halves lives.
#[derive(Clone)]
pub(crate) struct InFlight(#[expect(dead_code, reason = "held for its Drop")] Arc<Entered>);

struct Entered(Arc<AtomicU32>);

impl InFlight {
    pub(crate) fn enter(counter: &Arc<AtomicU32>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Entered(Arc::clone(counter))))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for SendHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendHalf").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl fmt::Debug for RecvHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvHalf")
            .field("held", &self.held.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// Chunks merged by one read. A chunk is what one packet carried, less than the 1472 bytes that an
/// endpoint accepts, so that as many stay below [`READ_BYTES_MAX`].
const READ_CHUNKS_MAX: usize = READ_BYTES_MAX / 1472;
