//! One exchange on a link: a stream of bytes each way.
//!
//! Each half ends by itself: `finish` says that all was said, `reset` that the rest will not come,
//! `stop` that the rest is not wanted. A half that is dropped before its end is reset or stopped, so
//! that dropping an exchange cancels it on the far side.

use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hawser_kube::close::CloseReason;

use crate::connection::Connection;
use crate::error::StreamError;
use crate::wire::{REFUSED, code_of};

mod messages;

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

    async fn read_new(&mut self) -> Result<Option<Bytes>, StreamError> {
        let first = match self.quic.read_chunk(READ_BYTES_MAX, ORDERED).await {
            Ok(Some(chunk)) => chunk.bytes,
            Ok(None) => {
                self.ended = true;
                return Ok(None);
            }
            Err(error) => return Err(self.explain(error)),
        };
        if first.len() >= MERGE_BELOW {
            return Ok(Some(first));
        }
        let mut first = Some(first);
        let merged = poll_fn(|cx| Poll::Ready(self.merge(cx, first.take().unwrap_or_default())));
        Ok(Some(merged.await))
    }

    /// Adds what has arrived already: QUIC delivers packet by packet, and one copy here is cheaper than a TLS record or an
    /// h2 frame for each packet later. No future, so that the pieces do not become a part of every exchange.
    fn merge(&mut self, cx: &mut Context<'_>, first: Bytes) -> Bytes {
        const NONE: Bytes = Bytes::new();
        let (mut chunks, mut count, mut total) = ([NONE; CHUNKS_MAX], 1, first.len());
        chunks[0] = first;
        while count < CHUNKS_MAX && total < READ_BYTES_MAX {
            let read = pin!(self.quic.read_chunk(READ_BYTES_MAX - total, ORDERED));
            // An end or an error found here is found again by the next read.
            let Poll::Ready(Ok(Some(chunk))) = read.poll(cx) else { break };
            total += chunk.bytes.len();
            chunks[count] = chunk.bytes;
            count += 1;
        }
        if let ([only], _) = chunks.split_at_mut(count) {
            return mem::take(only);
        }
        let mut merged = BytesMut::with_capacity(total);
        for chunk in &chunks[..count] {
            merged.extend_from_slice(chunk);
        }
        merged.freeze()
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

/// Pieces of at least this size go on as they are.
const MERGE_BELOW: usize = 16 << 10;

/// Pieces merged by one read. Most hold what one packet carried, so that as many fill
/// [`READ_BYTES_MAX`].
const CHUNKS_MAX: usize = 48;

const ORDERED: bool = true;
