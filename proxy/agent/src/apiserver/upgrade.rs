//! An upgrade at the API server: HTTP/1.1 on a connection of its own, never used again.

use std::{rc::Rc, time::Duration};

use bytes::{Bytes, BytesMut};
use hawser_http1::{BodyDecoder, Decoded, ResponseHead};
use http::{HeaderMap, Method, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::{ApiServer, ConnectError, ExchangeError, http1::final_head};

/// What the API server made of the request.
pub(crate) enum Upgraded {
    /// 101: the raw stream, with what was read behind the head.
    Switched {
        headers: HeaderMap,
        early: Bytes,
        read: ReadHalf<TlsStream<TcpStream>>,
        write: WriteHalf<TlsStream<TcpStream>>,
    },
    /// Anything else, with its body.
    Refused { status: StatusCode, headers: HeaderMap, body: Bytes },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpgradeError {
    /// Nothing was sent.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The request may have been acted on.
    #[error("the API server broke off the upgrade: {0}")]
    Broken(#[from] ExchangeError),
    /// The refusal is longer than a refusal.
    #[error("the API server's refusal of the upgrade is longer than {REFUSAL_BYTES_MAX} bytes")]
    TooLong,
    /// No head in time.
    #[error("the API server did not answer the upgrade within {0:?}")]
    Timeout(Duration),
}

/// Asks for an upgrade on a connection of its own.
pub(crate) async fn upgrade(
    server: &Rc<ApiServer>,
    method: &Method,
    target: &str,
    headers: &HeaderMap,
) -> Result<Upgraded, UpgradeError> {
    let io = server.dial(&[b"http/1.1"]).await?;
    let (mut read, mut write) = tokio::io::split(io);
    send_head(&mut write, method, target, headers).await?;
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    let head = match tokio::time::timeout(ANSWER_TIMEOUT, final_head(&mut read, method, &mut buffer)).await {
        Err(_elapsed) => return Err(UpgradeError::Timeout(ANSWER_TIMEOUT)),
        Ok(head) => head?,
    };
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Upgraded::Switched { headers: head.headers, early: buffer.freeze(), read, write });
    }
    let body = refusal(&mut read, &head, buffer).await?.ok_or(UpgradeError::TooLong)?;
    Ok(Upgraded::Refused { status: head.status, headers: head.headers, body })
}

async fn send_head(
    write: &mut WriteHalf<TlsStream<TcpStream>>,
    method: &Method,
    target: &str,
    headers: &HeaderMap,
) -> Result<(), ExchangeError> {
    let mut out = BytesMut::new();
    hawser_http1::write_request_head(&mut out, method, target, headers)?;
    write.write_all_buf(&mut out).await?;
    Ok(write.flush().await?)
}

/// The body of a refusal; `None` beyond its bound, because cut short it would look whole to the client.
async fn refusal(
    read: &mut ReadHalf<TlsStream<TcpStream>>,
    head: &ResponseHead,
    mut buffer: BytesMut,
) -> Result<Option<Bytes>, ExchangeError> {
    let mut decoder = BodyDecoder::new(head.body, &hawser_http1::Limits::default());
    let mut body = BytesMut::new();
    loop {
        match decoder.decode(&mut buffer)? {
            Decoded::Data(bytes) if body.len() + bytes.len() > REFUSAL_BYTES_MAX => return Ok(None),
            Decoded::Data(bytes) => body.extend_from_slice(&bytes),
            Decoded::End(_) => break,
            Decoded::NeedMore => {
                buffer.reserve(READ_BYTES);
                if read.read_buf(&mut buffer).await? == 0 {
                    decoder.eof()?;
                    break;
                }
            }
        }
    }
    Ok(Some(body.freeze()))
}

/// Body bytes of a refused upgrade that are passed on.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
/// How long the API server may take for the head (it waits up to 30 s for the container runtime).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(70);
const READ_BYTES: usize = 8 * 1024;
