//! Upgrades at the agent: the 101 and then the raw bytes both ways. What they may be is judged at the edge.

use std::{pin::pin, rc::Rc};

use bytes::{Bytes, BytesMut};
use hawser_kube::close::CloseReason;
use hawser_tunnel::{
    RecvHalf, SendHalf,
    wire::{ReplyV1, RequestV1},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    delivered, failed, refused,
    token::{TOKEN_REFUSED, token_refused},
};
use crate::{
    apiserver::{UpgradeError, Upgraded, upgrade},
    connect::Agent,
};

/// Serves one upgrade.
pub(super) async fn serve(
    agent: &Rc<Agent>,
    request: &RequestV1,
    mut headers: HeaderMap,
    mut send: SendHalf,
    recv: RecvHalf,
) {
    let Ok(method) = Method::from_bytes(request.method.as_bytes()) else {
        return failed(&mut send, 400, "the method is no token".to_owned(), false).await;
    };
    let Ok(host) = HeaderValue::from_str(&agent.server.authority()) else {
        return failed(&mut send, 500, "the API server's address is no host".to_owned(), false).await;
    };
    headers.insert(header::HOST, host);
    let mut edge_left = pin!(send.stopped());
    let upgraded = tokio::select! {
        upgraded = upgrade_trusted(agent, request, &method, headers) => upgraded,
        _left = &mut edge_left => return,
    };
    match upgraded {
        Ok(Some(Upgraded::Switched { headers, early, read, write })) => {
            let head = ReplyV1::Head { status: 101, headers, end: false };
            if let Err(error) = send.send_reply(&head).await {
                return tracing::debug!(%error, "the edge did not take the upgrade");
            }
            stream(early, read, write, send, recv).await;
        }
        Ok(None) => failed(&mut send, 502, TOKEN_REFUSED.to_owned(), false).await,
        Ok(Some(Upgraded::Refused { status, headers, body })) => {
            let head = ReplyV1::Head { status: status.as_u16(), headers, end: false };
            let sent = async {
                send.send_reply(&head).await?;
                send.write(body).await
            };
            match sent.await {
                Ok(()) => {
                    send.finish();
                    delivered(&send).await;
                }
                Err(error) => tracing::debug!(%error, "the edge did not take the refusal"),
            }
        }
        Err(UpgradeError::Connect(error)) => refused(&mut send, 503, error.to_string()).await,
        Err(error) => failed(&mut send, 502, error.to_string(), true).await,
    }
}

/// Asks for the upgrade, and once more with the token read anew where the API server did not accept the agent's own;
/// `None` where that did not help.
async fn upgrade_trusted(
    agent: &Rc<Agent>,
    request: &RequestV1,
    method: &Method,
    mut headers: HeaderMap,
) -> Result<Option<Upgraded>, UpgradeError> {
    for _attempt in 0..TOKENS_TRIED {
        let token = agent.server.authorization(&*agent.clock)?;
        headers.insert(header::AUTHORIZATION, token.clone());
        let upgraded = upgrade(&agent.server, method, &request.target, &headers).await?;
        let unauthorized = matches!(upgraded, Upgraded::Refused { status: StatusCode::UNAUTHORIZED, .. });
        if !unauthorized || !token_refused(agent, request, token).await {
            return Ok(Some(upgraded));
        }
    }
    Ok(None)
}

/// Carries the bytes both ways until the API server ends the connection or the edge gives up.
async fn stream(
    early: Bytes,
    mut read: impl AsyncRead + Unpin,
    mut write: impl AsyncWrite + Unpin,
    mut send: SendHalf,
    mut recv: RecvHalf,
) {
    let mut edge_left = pin!(send.stopped());
    let down = async {
        if !early.is_empty() && send.write(early).await.is_err() {
            return;
        }
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(READ_BYTES);
            match read.read_buf(&mut buffer).await {
                Ok(0) => return send.finish(),
                Ok(_) if send.write(buffer.split().freeze()).await.is_ok() => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::debug!(%error, "the API server broke off an upgraded connection");
                    return send.reset(&CloseReason::UpstreamGone);
                }
            }
        }
    };
    let up = async {
        loop {
            match recv.read().await {
                Ok(Some(bytes)) => {
                    if write.write_all(&bytes).await.is_err() || write.flush().await.is_err() {
                        return std::future::pending().await;
                    }
                }
                // The client's half is over; the API server ends the other one.
                Ok(None) => {
                    if write.shutdown().await.is_err() {
                        tracing::debug!("the API server's connection was gone already");
                    }
                    return std::future::pending().await;
                }
                Err(error) => return tracing::debug!(%error, "the edge gave up an upgraded stream"),
            }
        }
    };
    tokio::select! {
        () = down => {}
        () = up => {}
        _left = &mut edge_left => {}
    }
    delivered(&send).await;
}

/// The one that was there, and the one read anew.
const TOKENS_TRIED: u32 = 2;
/// Room per read of the API server's side.
const READ_BYTES: usize = 32 * 1024;
