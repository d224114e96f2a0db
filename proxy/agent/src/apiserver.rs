//! The client of the kube-apiserver: HTTP/2 connections shared by all exchanges or, where the server does not speak it, a
//! bounded number of HTTP/1.1 connections with one exchange at a time; and one HTTP/1.1 connection of its own for every
//! upgrade (it is closed with it: CVE-2018-1002105).

mod exchange;
mod get;
mod http1;
mod http2;
mod pool;
mod upgrade;

use std::{io, rc::Rc, sync::Arc, time::Duration};

use hawser_kube::clock::Clock;
use http::HeaderValue;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

pub(crate) use exchange::{AnswerBody, ExchangeError, Lease, RequestBody, SendFailure};
pub(crate) use get::{accepts, get, post};
pub(crate) use pool::{Pool, Reuse};
pub(crate) use upgrade::{UpgradeError, Upgraded, upgrade};

use crate::credentials::TokenFile;

/// How to reach the API server, and as whom.
pub(crate) struct ApiServer {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: Arc<rustls::ClientConfig>,
    token: TokenFile,
    pool: Pool,
}

/// No connection came to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// TCP or TLS failed.
    #[error("the API server at {0} cannot be reached: {1}")]
    Io(String, #[source] io::Error),
    /// It did not answer in time.
    #[error("the API server at {0} did not answer within {1:?}")]
    Timeout(String, Duration),
    /// The ServiceAccount token is not readable.
    #[error("the ServiceAccount token cannot be read: {0}")]
    Token(#[source] io::Error),
    /// It agreed to HTTP/2 and speaks something else.
    #[error("the API server at {0} does not speak HTTP/2: {1}")]
    Http2(String, #[source] h2::Error),
    /// The agent has as many HTTP/1.1 connections as it may.
    #[error("the API server speaks HTTP/1.1 only, and all connections that the agent may have are in use")]
    Full,
}

impl ApiServer {
    /// `tls` must trust the cluster's CA and offer no ALPN; the protocols are set here.
    pub(crate) fn new(
        host: &str,
        port: u16,
        tls: rustls::ClientConfig,
        token: TokenFile,
    ) -> Result<Rc<Self>, rustls_pki_types::InvalidDnsNameError> {
        let name = ServerName::try_from(host.to_owned())?;
        Ok(Rc::new(Self {
            host: host.to_owned(),
            port,
            name,
            tls: Arc::new(tls),
            token,
            pool: Pool::default(),
        }))
    }

    /// The `Host` and `:authority` of requests.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The agent's own bearer token, as a header.
    pub(crate) fn authorization(&self, clock: &dyn Clock) -> Result<HeaderValue, ConnectError> {
        self.token.authorization(clock.now()).map_err(ConnectError::Token)
    }

    /// The API server refused the token: read the file again before the next request.
    pub(crate) fn distrust_token(&self) {
        self.token.forget();
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// A fresh connection, offering these protocols.
    async fn dial(&self, alpn: &[&[u8]]) -> Result<TlsStream<TcpStream>, ConnectError> {
        let address = self.authority();
        let mut tls = (*self.tls).clone();
        tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let dial = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            hawser_transport::tune(&stream)?;
            TlsConnector::from(Arc::new(tls)).connect(self.name.clone(), stream).await
        };
        match tokio::time::timeout(DIAL_TIMEOUT, dial).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(ConnectError::Io(address, error)),
            Err(_elapsed) => Err(ConnectError::Timeout(address, DIAL_TIMEOUT)),
        }
    }
}

/// TCP connect and TLS handshake with the API server.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
