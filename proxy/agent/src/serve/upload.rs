//! The request's body on its way to the API server, kept (up to a bound) until the response begins, so that a request
//! the API server says it never processed can be sent again.

use std::{cell::Cell, rc::Rc};

use bytes::Bytes;
use hawser_tunnel::{BodyReader, StreamError};
use http::HeaderMap;

use crate::apiserver::RequestBody;

/// What all exchanges of an agent may keep together, bytes.
pub(crate) struct Budget(Cell<usize>);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Rc<Self> {
        Rc::new(Self(Cell::new(bytes)))
    }

    fn take(&self, bytes: usize) -> bool {
        let left = self.0.get().checked_sub(bytes);
        if let Some(left) = left {
            self.0.set(left);
        }
        left.is_some()
    }

    fn give(&self, bytes: usize) {
        self.0.set(self.0.get() + bytes);
    }
}

/// A body that may have to be sent again.
pub(super) struct Upload {
    body: BodyReader,
    budget: Rc<Budget>,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    torn: bool,
    ended: bool,
    trailers: HeaderMap,
}

impl Upload {
    /// `ended` says that there is no body.
    pub(super) fn new(body: BodyReader, budget: Rc<Budget>, ended: bool) -> Self {
        Self { body, budget, kept: Vec::new(), kept_bytes: 0, torn: false, ended, trailers: HeaderMap::new() }
    }

    /// Could the whole body be sent again?
    pub(super) fn replayable(&self) -> bool {
        !self.torn
    }

    /// Is there nothing to send?
    pub(super) fn is_empty(&self) -> bool {
        self.ended && self.kept.is_empty() && !self.torn && self.trailers.is_empty()
    }

    /// Sends head and body from the start. An API server that does not want it is not reported here: its response tells.
    /// Once `answered`, nothing more is kept.
    ///
    /// # Errors
    /// The edge's side is over.
    pub(super) async fn pump(
        &mut self,
        out: &mut RequestBody,
        answered: &Cell<bool>,
    ) -> Result<(), StreamError> {
        if out.begin().await.is_err() {
            return Ok(());
        }
        for bytes in &self.kept {
            if out.send(bytes.clone()).await.is_err() {
                return Ok(());
            }
        }
        while !self.ended {
            match self.body.read().await? {
                Some(bytes) => {
                    self.keep(&bytes, answered.get());
                    if out.send(bytes).await.is_err() {
                        return Ok(());
                    }
                }
                None => {
                    self.ended = true;
                    if answered.get() {
                        self.forget();
                    }
                    self.trailers = self.body.take_trailers();
                }
            }
        }
        if let Err(error) = out.finish(self.trailers.clone()).await {
            tracing::debug!(%error, "the API server did not wait for the end of the body");
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.torn = true;
        self.kept.clear();
        self.budget.give(std::mem::take(&mut self.kept_bytes));
    }

    fn keep(&mut self, bytes: &Bytes, answered: bool) {
        if self.torn {
            return;
        }
        if answered || self.kept_bytes + bytes.len() > KEPT_BYTES_MAX || !self.budget.take(bytes.len()) {
            return self.forget();
        }
        self.kept_bytes += bytes.len();
        self.kept.push(bytes.clone());
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.budget.give(self.kept_bytes);
    }
}

/// kube-apiserver's own limit for bodies: what is larger is a stream for somebody else.
const KEPT_BYTES_MAX: usize = 3 << 20;
