//! The health listener: `/livez`, `/readyz`, `/metrics`, and on an edge `/status`. Apart from the data path, so that a
//! flood there does not silence it; by default on loopback only.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use hawser_kube::source::Sources;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, sync::Semaphore};

/// What the listener tells.
pub(crate) struct Answers {
    pub(crate) registry: Registry,
    pub(crate) ready: Box<dyn Fn() -> bool + Send + Sync>,
    /// Makes the JSON of `/status`.
    pub(crate) status: Option<StatusSource>,
}

/// See [`Answers::status`].
pub(crate) type StatusSource =
    Box<dyn Fn() -> futures_util::future::BoxFuture<'static, Vec<u8>> + Send + Sync>;

/// Binds the address.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} for metrics and health (choose with --health)"))
}

/// Answers until dropped.
pub(crate) async fn serve(listener: TcpListener, answers: Arc<Answers>) {
    let (places, sources) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Sources::default());
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "health listener");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let of_source = sources.enter(peer.ip(), CONNECTIONS_PER_SOURCE_MAX);
        let (Some(of_source), Ok(place)) = (of_source, Arc::clone(&places).try_acquire_owned()) else {
            continue;
        };
        let answers = Arc::clone(&answers);
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| answer(&answers, request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            match tokio::time::timeout(CONNECTION_TIME_MAX, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "health connection"),
                Err(_elapsed) => tracing::debug!("health connection: open for too long"),
            }
            drop((place, of_source));
        });
    }
}

async fn answer(
    answers: &Answers,
    request: Request<Incoming>,
) -> Result<Response<http_body_util::Full<Bytes>>, Infallible> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/livez") => (StatusCode::OK, TEXT, b"ok\n".to_vec()),
        (&Method::GET, "/readyz") if (answers.ready)() => (StatusCode::OK, TEXT, b"ok\n".to_vec()),
        (&Method::GET, "/readyz") => (StatusCode::SERVICE_UNAVAILABLE, TEXT, b"not ready\n".to_vec()),
        (&Method::GET, "/metrics") => metrics(&answers.registry),
        (&Method::GET, "/status") => match &answers.status {
            Some(status) => (StatusCode::OK, JSON, status().await),
            None => (StatusCode::NOT_FOUND, TEXT, b"an agent has no status\n".to_vec()),
        },
        _ => (StatusCode::NOT_FOUND, TEXT, b"/livez /readyz /metrics /status\n".to_vec()),
    };
    let mut response = Response::new(http_body_util::Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

fn metrics(registry: &Registry) -> (StatusCode, &'static str, Vec<u8>) {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => (StatusCode::OK, OPENMETRICS, text.into_bytes()),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string().into_bytes()),
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Connections at once; more are closed.
const CONNECTIONS_MAX: usize = 64;
/// Of these from one source, so that no other keeps probes and scrapes out.
const CONNECTIONS_PER_SOURCE_MAX: usize = 16;
/// How long one request may take, whatever it does.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);
/// A connection that says nothing for so long is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
