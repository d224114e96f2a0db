//! The end that dials out: an agent.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, EndpointConfig, TokioRuntime};

use crate::config::LinkConfig;
use crate::connection::Connection;
use crate::error::LinkError;

/// Where to and how.
pub struct DialConfig {
    /// Non-blocking and bound to the family of `addr` (or to `[::]`, which reaches both). One socket
    /// per connection spreads the connections of an agent over the workers of an edge.
    pub socket: UdpSocket,
    /// The edge.
    pub addr: SocketAddr,
    /// Name in the edge's certificate.
    pub server_name: String,
    /// TLS 1.3 with the protocol in ALPN, the roots to trust and the certificate to show.
    pub tls: Arc<rustls::ClientConfig>,
    /// Parameters of the connection.
    pub link: LinkConfig,
}

/// Connects to an edge. Must be called inside a runtime.
///
/// # Errors
/// [`LinkError::Setup`] when the parameters cannot be used, [`LinkError::Handshake`] when no
/// connection came about within [`LinkConfig::handshake_timeout`].
pub async fn dial(config: DialConfig) -> Result<Connection, LinkError> {
    let DialConfig { socket, addr, server_name, tls, link } = config;
    let tls = QuicClientConfig::try_from(tls).map_err(|error| LinkError::Setup(error.to_string()))?;
    let mut client = ClientConfig::new(Arc::new(tls));
    client.transport_config(Arc::new(link.transport()));
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))
        .map_err(|error| LinkError::Setup(error.to_string()))?;
    let connecting = endpoint
        .connect_with(client, addr, &server_name)
        .map_err(|error| LinkError::Setup(error.to_string()))?;
    match tokio::time::timeout(link.handshake_timeout, connecting).await {
        Ok(Ok(quic)) => Ok(Connection::new(quic, link)),
        Ok(Err(error)) => Err(LinkError::Handshake(error.to_string())),
        Err(_elapsed) => Err(LinkError::Handshake(format!("no answer from {addr}"))),
    }
}
