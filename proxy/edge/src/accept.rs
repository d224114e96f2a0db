//! Accepts client connections and admits them: the budgets for connections in all and per source come before TLS.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

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
    let Some(slot) = Slot::take(&worker.shared, &config.limits, source(peer.ip())) else {
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

/// Whom a connection is counted for: an IPv6 client has a whole /64 to call from.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        address @ IpAddr::V4(_) => address,
    }
}

/// A connection's place in the budgets.
struct Slot {
    shared: Arc<Shared>,
    source: IpAddr,
}

impl Slot {
    fn take(shared: &Arc<Shared>, limits: &Limits, source: IpAddr) -> Option<Self> {
        let mut sources = shared.sources.0.lock();
        let all: i64 = shared.metrics.connections.get();
        let of_source = sources.entry(source).or_insert(0);
        if *of_source >= limits.connections_per_source_max
            || usize::try_from(all).is_ok_and(|all| all >= limits.connections_max)
        {
            if *of_source == 0 {
                sources.remove(&source);
            }
            return None;
        }
        *of_source += 1;
        shared.metrics.connections.inc();
        Some(Self { shared: Arc::clone(shared), source })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.metrics.connections.dec();
        let mut sources = self.shared.sources.0.lock();
        if let Some(of_source) = sources.get_mut(&self.source) {
            *of_source -= 1;
            if *of_source == 0 {
                sources.remove(&self.source);
            }
        }
    }
}

/// After a failed accept, so that a full descriptor table does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_ipv4_addresses_and_ipv6_networks() {
        for (address, counted_for) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ] {
            assert_eq!(source(address.parse().unwrap()), counted_for.parse::<IpAddr>().unwrap(), "{address}");
        }
    }
}
