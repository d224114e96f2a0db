//! The end that agents dial: one endpoint per worker, on a port all workers share.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use hawser_kube::close::CloseReason;
use hawser_kube::source::{SourcePlace, Sources};
use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn::{Endpoint, EndpointConfig, Runtime as _, ServerConfig, TokioRuntime};
use rustls_pki_types::CertificateDer;
use tokio::{sync::watch, task::JoinSet};

use crate::cid::{CidGenerator, CidKey};
use crate::config::LinkConfig;
use crate::connection::Connection;
use crate::error::LinkError;
use crate::handover::{HandoverHub, HandoverSocket};
use crate::wire::code_of;

/// What an endpoint needs.
pub struct AcceptorConfig {
    /// Bound with `SO_REUSEPORT`, non-blocking.
    pub socket: UdpSocket,
    /// Which worker this is.
    pub worker: usize,
    /// TLS 1.3 with the protocols in ALPN; the next one counts for handshakes from then on.
    pub tls: watch::Receiver<Arc<rustls::ServerConfig>>,
    /// Shared by all workers of the process.
    pub hub: HandoverHub,
    /// Parameters of the connections.
    pub link: LinkConfig,
}

/// A worker's endpoint.
pub struct Acceptor {
    endpoint: Endpoint,
    tls: watch::Receiver<Arc<rustls::ServerConfig>>,
    link: LinkConfig,
    handshakes: JoinSet<Result<Incoming, LinkError>>,
    strangers: Sources,
}

/// A connection that was just made. Nothing is known of the far side but what is here.
#[derive(Debug)]
pub struct Incoming {
    /// The protocol agreed on.
    pub alpn: Vec<u8>,
    /// Certificates of the far side, leaf first, verified as the TLS configuration does; empty if it
    /// showed none.
    pub peer_chain: Vec<CertificateDer<'static>>,
    /// Where it comes from.
    pub remote_addr: SocketAddr,
    /// Its place among the connections from there; to be kept until the far side has shown who it is.
    pub place: SourcePlace,
    /// The connection itself.
    pub connection: Connection,
}

impl Acceptor {
    /// Starts the endpoint. Must be called inside the worker's runtime.
    ///
    /// # Errors
    /// When the socket cannot be used, the TLS configuration cannot be used for QUIC, there is no such
    /// worker, or there is no randomness.
    pub fn bind(config: AcceptorConfig) -> io::Result<Self> {
        let AcceptorConfig { socket, worker, mut tls, hub, link } = config;
        let owner =
            hub.owner(worker).ok_or_else(|| io::Error::other(format!("there is no worker {worker}")))?;
        let nonce_key = CidKey::random().map_err(|_no_randomness| io::Error::other("no randomness"))?;
        let key = hub.key();
        // The default carries a random key for stateless resets, so that each worker of each process
        // has its own: with a shared one, a datagram at the wrong worker would end its connection.
        let mut endpoint = EndpointConfig::default();
        endpoint.cid_generator(move || Box::new(CidGenerator::new(key, owner, nonce_key)));

        let server = server(Arc::clone(&tls.borrow_and_update()), &link)?;
        let kernel = TokioRuntime.wrap_udp_socket(socket)?;
        let socket = Arc::new(HandoverSocket::new(kernel, hub, owner));
        let endpoint =
            Endpoint::new_with_abstract_socket(endpoint, Some(server), socket, Arc::new(TokioRuntime))?;
        Ok(Self { endpoint, tls, link, handshakes: JoinSet::new(), strangers: Sources::default() })
    }

    /// Waits for the next connection whose handshake is done; `None` after [`Acceptor::close`].
    /// Nothing is lost if dropped before its end.
    pub async fn accept(&mut self) -> Option<Incoming> {
        loop {
            tokio::select! {
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Ok(incoming)) => return Some(incoming),
                    Ok(Err(error)) => tracing::debug!(%error, "handshake failed"),
                    Err(error) => tracing::error!(%error, "handshake task panicked"),
                },
                attempt = self.endpoint.accept() => self.begin(attempt?),
                Ok(()) = self.tls.changed() => self.renew_tls(),
            }
        }
    }

    /// The address agents dial.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Ends every connection of this endpoint, and waits until the far sides know or the idle timeout
    /// has passed.
    pub async fn close(&self, reason: &CloseReason) {
        self.endpoint.close(code_of(reason).into(), reason.as_str().as_bytes());
        self.endpoint.wait_idle().await;
    }

    fn renew_tls(&mut self) {
        let tls = Arc::clone(&self.tls.borrow_and_update());
        match server(tls, &self.link) {
            Ok(server) => self.endpoint.set_server_config(Some(server)),
            Err(error) => tracing::error!(%error, "TLS stays as it was"),
        }
    }

    fn begin(&mut self, attempt: quinn::Incoming) {
        if self.handshakes.len() >= self.link.handshakes_max {
            tracing::debug!(remote = %attempt.remote_address(), "too many handshakes");
            attempt.refuse();
            return;
        }
        // With half the room taken, or another from the same source there, who comes must first show that it
        // can be reached at its address, so that forged addresses take neither the rest nor anybody's share.
        let source = attempt.remote_address().ip();
        let crowded =
            self.handshakes.len() >= self.link.handshakes_max / 2 || self.strangers.any_from(source);
        if crowded && !attempt.remote_address_validated() {
            attempt.retry().ok(); // can only fail for an address that was validated
            return;
        }
        let Some(place) = self.strangers.enter(source, self.link.strangers_per_source_max) else {
            tracing::debug!(remote = %attempt.remote_address(), "too many connections from there");
            attempt.refuse();
            return;
        };
        let link = self.link.clone();
        self.handshakes.spawn(async move {
            let timeout = link.handshake_timeout;
            match tokio::time::timeout(timeout, shake_hands(attempt, place, link)).await {
                Ok(outcome) => outcome,
                Err(_elapsed) => Err(LinkError::Handshake("took too long".to_owned())),
            }
        });
    }
}

fn server(tls: Arc<rustls::ServerConfig>, link: &LinkConfig) -> io::Result<ServerConfig> {
    let tls = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut server = ServerConfig::with_crypto(Arc::new(tls));
    let mut transport = link.transport();
    transport.receive_window(link.stranger_bytes_max.into());
    server.transport_config(Arc::new(transport)).max_incoming(link.handshakes_max);
    Ok(server)
}

async fn shake_hands(
    attempt: quinn::Incoming,
    place: SourcePlace,
    link: LinkConfig,
) -> Result<Incoming, LinkError> {
    let quic = attempt.await.map_err(|error| LinkError::Handshake(error.to_string()))?;
    let alpn = quic
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok())
        .and_then(|data| data.protocol)
        .unwrap_or_default();
    let peer_chain = quic
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .map_or_else(Vec::new, |chain| *chain);
    let remote_addr = quic.remote_address();
    Ok(Incoming { alpn, peer_chain, remote_addr, place, connection: Connection::new(quic, link) })
}
