//! One connection between an edge and an agent, as either end sees it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hawser_kube::close::CloseReason;

use crate::config::LinkConfig;
use crate::error::{LinkError, LinkLost, link_lost};
use crate::stream::{InFlight, TunnelStream};
use crate::wire::code_of;

/// A connection. Clones are the same connection; any thread may use it. When the last clone and the
/// last stream are gone, it is closed.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    quic: quinn::Connection,
    config: LinkConfig,
    /// Why this end closed it.
    closed_here: OnceLock<CloseReason>,
    /// Streams of the far side that are open, and how many it may have.
    accepted: Arc<AtomicU32>,
    granted: AtomicU32,
}

impl Connection {
    pub(crate) fn new(quic: quinn::Connection, config: LinkConfig) -> Self {
        let granted = AtomicU32::new(config.peer_streams);
        let accepted = Arc::default();
        Self(Arc::new(Inner { quic, config, closed_here: OnceLock::new(), accepted, granted }))
    }

    /// Opens a stream. The far side learns of it with the first byte written.
    ///
    /// # Errors
    /// [`LinkError::StreamLimit`] when the far side allows no more streams for
    /// [`LinkConfig::open_wait_max`]; [`LinkError::Lost`].
    pub async fn open(&self) -> Result<TunnelStream, LinkError> {
        self.open_counted(None).await
    }

    pub(crate) async fn open_counted(&self, in_flight: Option<InFlight>) -> Result<TunnelStream, LinkError> {
        match tokio::time::timeout(self.0.config.open_wait_max, self.0.quic.open_bi()).await {
            Ok(Ok((send, recv))) => Ok(TunnelStream::new(self, send, recv, in_flight)),
            Ok(Err(error)) => Err(self.explain(&error).into()),
            Err(_elapsed) => Err(self.lost().map_or(LinkError::StreamLimit, LinkError::Lost)),
        }
    }

    /// Waits for the next stream the far side opens.
    ///
    /// # Errors
    /// [`LinkError::Lost`] at the end of the connection.
    pub async fn accept(&self) -> Result<TunnelStream, LinkError> {
        let (send, recv) = self.0.quic.accept_bi().await.map_err(|error| self.explain(&error))?;
        let in_flight = InFlight::enter(&self.0.accepted);
        self.grant_more();
        Ok(TunnelStream::new(self, send, recv, Some(in_flight)))
    }

    /// The far side is known: only the windows of its streams bound what it sends.
    pub(crate) fn trust(&self) {
        self.0.quic.set_receive_window(quinn::VarInt::MAX);
    }

    /// Ends the connection and all its streams. The first reason counts.
    pub fn close(&self, reason: CloseReason) {
        let reason = self.0.closed_here.get_or_init(|| reason);
        self.0.quic.close(code_of(reason).into(), reason.as_str().as_bytes());
    }

    /// Waits for the end of the connection.
    pub async fn closed(&self) -> LinkLost {
        let error = self.0.quic.closed().await;
        self.explain(&error)
    }

    /// How the connection ended; `None` while it lives.
    #[must_use]
    pub fn lost(&self) -> Option<LinkLost> {
        self.0.quic.close_reason().map(|error| self.explain(&error))
    }

    /// Whether the connection lives, as far as this end knows.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.0.quic.close_reason().is_none()
    }

    /// Smoothed round-trip time.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.0.quic.rtt()
    }

    /// Where the far side's packets come from; changes when it roams.
    #[must_use]
    pub fn remote_addr(&self) -> SocketAddr {
        self.0.quic.remote_address()
    }

    pub(crate) fn explain(&self, error: &quinn::ConnectionError) -> LinkLost {
        link_lost(error, self.0.closed_here.get())
    }

    /// Why a stream that was dropped without a word ended: at an edge for its client's sake, at an
    /// agent for the API server's.
    pub(crate) fn dropped_here(&self) -> CloseReason {
        match self.0.quic.side() {
            quinn::Side::Server => CloseReason::ClientGone,
            quinn::Side::Client => CloseReason::UpstreamGone,
        }
    }

    /// Raises the far side's limit while it uses most of it, so that an idle link need not reserve
    /// room for thousands of streams.
    fn grant_more(&self) {
        let granted = self.0.granted.load(Ordering::Relaxed);
        let busy = self.0.accepted.load(Ordering::Relaxed) >= granted / 4 * 3;
        let next = granted.saturating_mul(2).min(self.0.config.peer_streams_max);
        if busy
            && next > granted
            && self.0.granted.compare_exchange(granted, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.0.quic.set_max_concurrent_bi_streams(next.into());
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("remote_addr", &self.remote_addr()).finish_non_exhaustive()
    }
}
