//! Accepts client connections and admits them: the budgets for connections in all and per source come before TLS.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use hawser_kube::source::SourcePlace;
use tokio::net::{TcpListener, TcpStream};

use crate::{
    Limits, tls,
    worker::{Shared, Worker},
};

/// Accepts until the worker drains.
pub(crate) async fn accept(worker: Rc<Worker>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _reason = worker.drain.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => admit(&worker, stream, peer),
            // Out of descriptors or a peer that left at once: neither may end the listener.
            Err(error) => {
                worker.shared.metrics.accept_errors.inc();
                tracing::warn!(%error, "accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr) {
    let config = worker.shared.config.current();
    let Some(slot) = Slot::take(&worker.shared, &config.limits, peer.ip()) else {
        worker.shared.metrics.refused_connections.inc();
        tracing::debug!(%peer, "connection refused: too many");
        return;
    };
    if let Err(error) = hawser_transport::tune(&stream) {
        return tracing::debug!(%peer, %error, "the connection ended before it began");
    }
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        tls::serve(worker, config, stream, peer).await;
        drop(slot);
    });
}

/// A connection's place in the budgets.
struct Slot {
    shared: Arc<Shared>,
    _of_source: SourcePlace,
}

impl Slot {
    fn take(shared: &Arc<Shared>, limits: &Limits, address: IpAddr) -> Option<Self> {
        let of_source = shared.sources.enter(address, limits.connections_per_source_max)?;
        let before = shared.metrics.connections.inc();
        let slot = Self { shared: Arc::clone(shared), _of_source: of_source };
        let full = usize::try_from(before).is_ok_and(|before| before >= limits.connections_max);
        (!full).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.metrics.connections.dec();
    }
}

/// After a failed accept, so that a full descriptor table does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
