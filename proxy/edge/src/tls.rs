//! TLS of client connections: the cluster is known from the ClientHello (or the address dialled) before any asymmetric
//! cryptography; no ALPN means HTTP/1.1; a certificate that is worth nothing is answered later, with a 401.

use std::{net::SocketAddr, os::fd::AsRawFd as _, rc::Rc, sync::Arc};

use hawser_identity::client;
use hawser_transport::{Coalesced, dead_peer};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::{Config, conn::Conn, downstream, hosts::Host, worker::Worker};

/// Serves one accepted connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, config: Arc<Config>, stream: TcpStream, peer: SocketAddr) {
    let handshake = handshake(&worker, stream);
    let (host, stream) = match timeout(config.limits.handshake_timeout, handshake).await {
        Ok(Ok(done)) => done,
        Ok(Err(refused)) => {
            worker.shared.metrics.failed_handshakes.inc();
            return tracing::debug!(%peer, %refused, "TLS handshake");
        }
        Err(_elapsed) => {
            worker.shared.metrics.failed_handshakes.inc();
            return tracing::debug!(%peer, "TLS handshake not finished in time");
        }
    };
    let session = stream.get_ref().1;
    let certificate = session.peer_certificates().map(|chain| {
        client::verify(worker.shared.keys.current().clients.bundle(), chain, worker.shared.clock.wall())
    });
    let http2 = session.alpn_protocol() == Some(b"h2");
    let scope = worker.scope.child();
    let conn = Rc::new(Conn::new(worker, config, host, peer, certificate, scope));
    // The descriptor is open as long as the driver runs, and is not looked at afterwards.
    let descriptor = stream.get_ref().0.as_raw_fd();
    let (stranger, driven) = (Rc::clone(&conn), conn);
    let driver = async {
        if http2 {
            downstream::http2::serve(Coalesced::new(stream), driven).await;
        } else {
            downstream::http1::serve(stream, driven).await;
        }
    };
    tokio::select! {
        () = driver => {}
        () = dead_peer(descriptor) => tracing::debug!(%peer, "the client vanished"),
        () = overstayed(&stranger) => tracing::debug!(%peer, "nobody signed in in time"),
    }
}

/// Waits until the time for strangers is up, if nobody has signed in on the connection by then.
async fn overstayed(conn: &Conn) {
    tokio::time::sleep(conn.config.limits.unauthenticated_timeout).await;
    if conn.authenticated() {
        std::future::pending().await
    }
}

/// Why no TLS session came to be.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("no cluster is known as {0}")]
    UnknownHost(String),
}

async fn handshake(worker: &Worker, stream: TcpStream) -> Result<(Arc<Host>, TlsStream<TcpStream>), Refused> {
    let local = stream.local_addr()?.ip();
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let sni = start.client_hello().server_name().map(str::to_owned);
    let host = worker.shared.hosts.find(sni.as_deref(), local);
    let host = host.ok_or_else(|| Refused::UnknownHost(sni.unwrap_or_else(|| local.to_string())))?;
    let stream = start.into_stream(Arc::clone(&host.tls)).await?;
    Ok((host, stream))
}
