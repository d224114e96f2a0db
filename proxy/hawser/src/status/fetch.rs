//! One HTTP request to an edge's health listener.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::EdgeStatus;

/// `GET /status`.
pub(super) async fn status(health: SocketAddr) -> anyhow::Result<EdgeStatus> {
    let answer = timeout(ANSWER_WAIT, get(health))
        .await
        .with_context(|| format!("nothing came within {} s", ANSWER_WAIT.as_secs()))??;
    serde_json::from_slice(body(&answer)?)
        .context("the answer is not an edge's status; is it of another version?")
}

async fn get(health: SocketAddr) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(health).await?;
    let request = format!("GET /status HTTP/1.1\r\nHost: {health}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut answer).await?;
    anyhow::ensure!(
        answer.len() as u64 <= ANSWER_BYTES_MAX,
        "the answer is larger than {ANSWER_BYTES_MAX} bytes"
    );
    Ok(answer)
}

/// The body of a whole HTTP/1.1 answer that ended with the connection.
fn body(answer: &[u8]) -> anyhow::Result<&[u8]> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("the answer is not HTTP")?;
    let (head, body) = answer.split_at(end);
    let line = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default());
    let ok = line.strip_prefix("HTTP/1.1 ").is_some_and(|rest| rest.starts_with("200"));
    anyhow::ensure!(ok, "it answered {line:?}; is it another program that listens there?");
    Ok(body.strip_prefix(b"\r\n\r\n").unwrap_or_default())
}

/// How long an edge may take, connecting included.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Largest answer that is read: ten thousand clusters of a kilobyte, and some.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_follows_the_head() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}\r\n\r\n").unwrap(), b"{}\r\n\r\n");
        for bad in ["", "{}", "HTTP/1.1 200 OK\r\nA: b\r\n", "HTTP/1.1 503 x\r\n\r\n{}", "HTTP/2 200\r\n\r\n"]
        {
            assert!(body(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
