//! The request's body on its way up. Until the agent says that it has taken the request, what was sent is kept (up to a
//! bound), so that a request nobody took can be sent on another link.

use std::cell::Cell;

use bytes::Bytes;
use hawser_kube::headers::sanitize_trailers;
use hawser_tunnel::BodyWriter;
use http::HeaderMap;
use tokio::sync::Notify;

use crate::downstream::{ClientError, RequestBody};

/// Set when the agent has dispatched the request.
#[derive(Default)]
pub(super) struct Dispatched {
    done: Cell<bool>,
    told: Notify,
}

impl Dispatched {
    pub(super) fn set(&self) {
        self.done.set(true);
        self.told.notify_waiters();
    }

    async fn wait(&self) {
        while !self.done.get() {
            self.told.notified().await;
        }
    }
}

/// A body with what may have to be sent again.
pub(super) struct Upload<'b, 'a> {
    body: &'b mut RequestBody<'a>,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    bytes_max: usize,
    /// Something was sent that is not kept.
    torn: bool,
    ended: Option<HeaderMap>,
    taken: usize,
}

impl<'b, 'a> Upload<'b, 'a> {
    pub(super) fn new(body: &'b mut RequestBody<'a>, bytes_max: usize) -> Self {
        Self { body, kept: Vec::new(), kept_bytes: 0, bytes_max, torn: false, ended: None, taken: 0 }
    }

    /// Sends the body from its start, then watches the client until it is gone. A failing tunnel is not reported here:
    /// the reply side tells what became of the exchange.
    pub(super) async fn pump(&mut self, out: &mut BodyWriter<'_>, dispatched: &Dispatched) -> ClientError {
        if let Err(error) = self.send(out, dispatched).await {
            return error;
        }
        self.body.gone().await;
        ClientError::Gone
    }

    /// Could the whole body be sent again?
    pub(super) fn replayable(&self) -> bool {
        !self.torn
    }

    /// Bytes taken from the client.
    pub(super) fn bytes(&self) -> usize {
        self.taken
    }

    async fn send(&mut self, out: &mut BodyWriter<'_>, dispatched: &Dispatched) -> Result<(), ClientError> {
        for bytes in &self.kept {
            if out.write(bytes.clone()).await.is_err() {
                return Ok(());
            }
        }
        while self.ended.is_none() {
            if self.kept_bytes >= self.bytes_max {
                dispatched.wait().await;
            }
            let Some(bytes) = self.body.chunk().await? else {
                let mut trailers = self.body.trailers().await?.unwrap_or_default();
                sanitize_trailers(&mut trailers);
                self.ended = Some(trailers);
                break;
            };
            let length = bytes.len();
            self.taken += length;
            let keep = !dispatched.done.get();
            if keep {
                self.kept.push(bytes.clone());
                self.kept_bytes += length;
            } else {
                self.torn = true;
                self.kept.clear();
            }
            // Also where the tunnel fails: the bytes are kept or lost, but no longer the client's to account for.
            let written = out.write(bytes).await;
            self.body.release(length);
            if written.is_err() {
                return Ok(());
            }
        }
        let trailers = self.ended.clone().unwrap_or_default();
        // As above: what the tunnel thinks of it comes with the reply.
        out.finish(&trailers).await.ok();
        Ok(())
    }
}
