//! The bodies of an exchange: raw bytes to the end of the stream, or chunk-framed where trailers may follow.

use bytes::Bytes;
use hawser_kube::close::CloseReason;
use http::HeaderMap;

use crate::{
    error::StreamError,
    stream::{RecvHalf, SendHalf},
    wire::{BodyDecoder, BodyEvent, WireError},
};

/// A body on its way out.
#[derive(Debug)]
pub struct BodyWriter<'a> {
    send: &'a mut SendHalf,
    framed: bool,
}

impl<'a> BodyWriter<'a> {
    /// `framed` as [`RequestV1::trailers`](crate::wire::RequestV1::trailers) says.
    #[must_use]
    pub fn new(send: &'a mut SendHalf, framed: bool) -> Self {
        Self { send, framed }
    }

    /// Sends a piece; waits for room on the far side. Not cancel safe.
    ///
    /// # Errors
    /// As [`SendHalf::write`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        if self.framed { self.send.write_framed(bytes).await } else { self.send.write(bytes).await }
    }

    /// Ends the body. Trailers that cannot be carried (a raw body) are dropped.
    ///
    /// # Errors
    /// As [`SendHalf::write`].
    pub async fn finish(&mut self, trailers: &HeaderMap) -> Result<(), StreamError> {
        if self.framed {
            return self.send.finish_framed(trailers).await;
        }
        self.send.finish();
        Ok(())
    }
}

/// A body on its way in.
#[derive(Debug)]
pub struct BodyReader {
    recv: RecvHalf,
    framing: Option<BodyDecoder>,
    trailers: HeaderMap,
    ended: bool,
}

impl BodyReader {
    /// `framed` as [`RequestV1::trailers`](crate::wire::RequestV1::trailers) says.
    #[must_use]
    pub fn new(recv: RecvHalf, framed: bool) -> Self {
        Self { recv, framing: framed.then(BodyDecoder::default), trailers: HeaderMap::new(), ended: false }
    }

    /// The next piece, `None` at the end. Cancel safe.
    ///
    /// # Errors
    /// As [`RecvHalf::read`] and [`RecvHalf::read_framed`].
    pub async fn read(&mut self) -> Result<Option<Bytes>, StreamError> {
        if self.ended {
            return Ok(None);
        }
        let Some(decoder) = &mut self.framing else { return self.recv.read().await };
        match self.recv.read_framed(decoder).await? {
            BodyEvent::Data(bytes) => Ok(Some(bytes)),
            BodyEvent::End(trailers) => {
                self.trailers = trailers;
                self.ended = true;
                // Taking in the end of the stream tells the far side that everything arrived; a stream
                // dropped before that would look stopped. The body is complete with or without it.
                match self.recv.read().await {
                    Ok(None) | Err(_) => Ok(None),
                    Ok(Some(_)) => Err(WireError::Body("bytes after the trailers").into()),
                }
            }
        }
    }

    /// What followed the body, once `read` has returned `None`.
    pub fn take_trailers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.trailers)
    }

    /// The rest is not wanted.
    pub fn stop(&mut self, reason: &CloseReason) {
        self.recv.stop(reason);
    }
}
