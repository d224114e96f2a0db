//! The far end of every chain: TLS and HTTP/2, a thread per core, connections dealt to them in turn, so that no run is
//! lucky or unlucky with how the kernel spreads them.

mod answers;

use std::{
    future::poll_fn,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    rc::Rc,
    sync::Arc,
};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use h2::{SendStream, server::SendResponse};
use hawser_transport::{Scope, Workers, WorkersConfig};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::{fixture, tls};
use answers::{Answer, Answers};

#[derive(Args)]
pub(crate) struct Options {
    /// Folder that `fixture` wrote
    #[arg(long)]
    dir: PathBuf,
    /// Address to listen on
    #[arg(long, value_name = "ADDR:PORT")]
    listen: SocketAddr,
}

/// Serves until the process is killed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let tls = TlsAcceptor::from(tls::server(&options.dir.join(fixture::SERVER_FILE))?);
    let jwks = std::fs::read_to_string(options.dir.join(fixture::JWKS_FILE))?;
    let listener = TcpListener::bind(options.listen).with_context(|| options.listen.to_string())?;
    let count = hawser_transport::cores().len();
    let (dealers, hands): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(DEALT_MAX)).unzip();
    let hands: Vec<_> = hands.into_iter().map(|hand| Mutex::new(Some(hand))).collect();
    let config = WorkersConfig { count, pin: false, name: "backend".to_owned() };
    let answers = Arc::new(Answers::new(&jwks)?);
    let _workers = Workers::start(&Scope::root(), &config, move |worker| {
        let hand = hands.get(worker.id).and_then(|hand| hand.lock().take());
        accept(hand, tls.clone(), Rc::new((*answers).clone()))
    })?;
    for (stream, dealer) in listener.incoming().zip(dealers.iter().cycle()) {
        dealer.blocking_send(stream?).context("a worker has ended")?;
    }
    Ok(())
}

async fn accept(hand: Option<mpsc::Receiver<TcpStream>>, tls: TlsAcceptor, answers: Rc<Answers>) {
    let Some(mut hand) = hand else { return };
    while let Some(stream) = hand.recv().await {
        let (tls, answers) = (tls.clone(), Rc::clone(&answers));
        tokio::task::spawn_local(async move {
            // A client that leaves is how every measurement ends.
            serve(stream, tls, answers).await.ok();
        });
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, answers: Rc<Answers>) -> anyhow::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let stream = tls.accept(tokio::net::TcpStream::from_std(stream)?).await?;
    let mut connection = h2::server::Builder::new()
        .max_concurrent_streams(STREAMS_MAX)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * STREAMS_MAX)
        .handshake::<_, Bytes>(stream)
        .await?;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request?;
        match answers.to(request.uri()) {
            Answer::Whole(head, body) => whole(respond, head.clone(), body)?,
            Answer::Stream(head, bytes) => {
                let stream = respond_with(respond, head.clone())?;
                tokio::task::spawn_local(async move {
                    pour(stream, bytes, answers::piece()).await.ok();
                });
            }
        }
    }
    Ok(())
}

fn whole(respond: SendResponse<Bytes>, head: http::Response<()>, body: Bytes) -> Result<(), h2::Error> {
    respond_with(respond, head)?.send_data(body, true)
}

fn respond_with(
    mut respond: SendResponse<Bytes>,
    head: http::Response<()>,
) -> Result<SendStream<Bytes>, h2::Error> {
    respond.send_response(head, false)
}

/// Sends `bytes` bytes in pieces, at the reader's pace.
async fn pour(mut stream: SendStream<Bytes>, mut bytes: u64, piece: Bytes) -> Result<(), h2::Error> {
    while bytes > 0 {
        let wanted = piece.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
        stream.reserve_capacity(wanted);
        let Some(capacity) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return Ok(()) };
        let part = piece.slice(..wanted.min(capacity?));
        bytes -= part.len() as u64;
        stream.send_data(part, bytes == 0)?;
    }
    Ok(())
}

/// Accepted connections that wait for their thread.
const DEALT_MAX: usize = 1024;
/// As kube-apiserver has them.
const STREAMS_MAX: u32 = 100;
const STREAM_WINDOW: u32 = 256 * 1024;
