//! One HTTP/2 connection, with the windows of Go's client (what kubectl has), and the streams on it.

use std::{future::poll_fn, sync::Arc, time::Instant};

use anyhow::Context as _;
use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Version, header};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Phase, Run};

/// A connection on which requests can be made.
#[derive(Clone)]
pub(crate) struct Client {
    send: SendRequest<Bytes>,
    request: Request<()>,
}

/// What one stream, or all of them, saw.
#[derive(Default)]
pub(crate) struct Tally {
    /// One entry per request.
    pub(crate) latencies_ns: Vec<u64>,
    pub(crate) bytes: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.latencies_ns.extend(other.latencies_ns);
        self.bytes += other.bytes;
    }
}

impl Client {
    /// Dials, and asks once, so that the whole chain behind is there.
    pub(crate) async fn connect(run: &Run) -> anyhow::Result<Self> {
        let target = &run.target;
        let stream = TcpStream::connect(&target.authority).await.with_context(|| target.authority.clone())?;
        hawser_transport::tune(&stream)?;
        let stream =
            TlsConnector::from(Arc::clone(&target.tls)).connect(target.server_name.clone(), stream).await?;
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_BYTES_MAX)
            .enable_push(false)
            .handshake::<_, Bytes>(stream)
            .await?;
        tokio::task::spawn_local(async move {
            // The streams say what was wrong.
            connection.await.ok();
        });
        let first = Self { send: send.clone(), request: get(&target.authority, &run.options.first)? };
        first.once().await.with_context(|| format!("GET {}", run.options.first))?;
        Ok(Self { send, request: get(&target.authority, &run.options.path)? })
    }

    /// One stream: asks as long as the run lasts, and counts while it measures.
    pub(crate) async fn ask(self, run: Arc<Run>) -> anyhow::Result<Tally> {
        run.begin().await;
        let mut tally = Tally::default();
        let left = |tally: &Tally| match run.options.requests {
            Some(requests) => (tally.latencies_ns.len() as u64) < requests,
            None => true,
        };
        while left(&tally) && run.phase() != Phase::Stop {
            let began = Instant::now();
            let bytes = self.once().await.with_context(|| format!("GET {}", run.options.path))?;
            if run.phase() == Phase::Measure {
                tally.latencies_ns.push(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
                tally.bytes += bytes;
            }
        }
        Ok(tally)
    }

    /// One request; the length of its body.
    async fn once(&self) -> anyhow::Result<u64> {
        let mut send = self.send.clone().ready().await?;
        let (response, _body) = send.send_request(self.request.clone(), true)?;
        let response = response.await?;
        let status = response.status();
        let mut body = response.into_body();
        let mut bytes = 0;
        let mut text = Vec::new();
        while let Some(piece) = poll_fn(|cx| body.poll_data(cx)).await {
            let piece = piece?;
            body.flow_control().release_capacity(piece.len())?;
            bytes += piece.len() as u64;
            if status != http::StatusCode::OK && text.len() < ERROR_BYTES_MAX {
                text.extend_from_slice(&piece);
            }
        }
        anyhow::ensure!(status == http::StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&text));
        Ok(bytes)
    }
}

/// A GET with kubectl's headers.
fn get(authority: &str, path: &str) -> anyhow::Result<Request<()>> {
    Ok(Request::get(format!("https://{authority}{path}"))
        .version(Version::HTTP_2)
        .header(header::ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
        .header(header::USER_AGENT, "kubectl/v1.37.0 (linux/amd64) kubernetes/0000000")
        .header("kubectl-command", "kubectl get")
        .header("kubectl-session", "5d3b1d1e-7c36-4c37-9f0e-0f4a3c1a9d11")
        .body(())?)
}

/// Go's `http2.Transport`.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 1 << 30;
const FRAME_BYTES_MAX: u32 = 16 << 10;
/// Of an error's body that is shown.
const ERROR_BYTES_MAX: usize = 1024;
