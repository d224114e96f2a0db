//! Many small writes become one.
//!
//! An HTTP/2 driver hands each frame over by itself, and over TLS each would be a record and a system call. What is
//! written here is held until the driver flushes, and the flush waits until the other tasks that are ready on this
//! worker have had their turn, because they may have more for the same connection. Large writes pass as they are.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes held: what one TLS record carries.
const HELD_BYTES_MAX: usize = 16 << 10;

/// Writes of this size are not worth a copy.
const DIRECT_BYTES_MIN: usize = 8 << 10;

/// A stream whose small writes are gathered; reads pass through. Holds no memory while there is nothing to flush.
#[derive(Debug)]
pub struct Coalesced<S> {
    stream: S,
    held: Vec<u8>,
    /// How much of `held` was written.
    written: usize,
    /// The flush under way has let others go first.
    yielded: bool,
}

impl<S> Coalesced<S> {
    /// Wraps the stream.
    pub const fn new(stream: S) -> Self {
        Self { stream, held: Vec::new(), written: 0, yielded: false }
    }
}

impl<S: AsyncWrite + Unpin> Coalesced<S> {
    /// Writes out all that is held.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.held.len() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.held[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        self.held = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Coalesced<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: usize = bufs.iter().map(|buf| buf.len()).sum();
        if bytes >= DIRECT_BYTES_MIN || self.held.len() == HELD_BYTES_MAX {
            ready!(self.poll_drain(cx))?;
        }
        if bytes >= DIRECT_BYTES_MIN {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        }
        let before = self.held.len();
        for buf in bufs {
            let room = HELD_BYTES_MAX - self.held.len();
            self.held.extend_from_slice(&buf[..buf.len().min(room)]);
        }
        Poll::Ready(Ok(self.held.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() && !self.yielded {
            self.yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_drain(cx))?;
        self.yielded = false;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Coalesced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}
