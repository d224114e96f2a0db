//! Messages and framed bodies on the halves of a stream.

use std::mem;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::{RecvHalf, SendHalf};
use crate::error::StreamError;
use crate::wire::{
    self, BodyDecoder, BodyEvent, CHUNK_BYTES_MAX, Control, EnrollV1, Enrollment, Frame, Message, ReplyV1,
    RequestV1, WireError,
};

impl SendHalf {
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
    pub async fn finish_framed(&mut self, trailers: &HeaderMap) -> Result<(), StreamError> {
        self.write(wire::trailers(trailers)?).await?;
        self.finish();
        Ok(())
    }
}

impl RecvHalf {
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
