//! Exec, attach, port-forward and the other streams that leave HTTP: asked for here, and granted only with a validated 101;
//! then [`stream`] carries them.

mod stream;

use bytes::{Bytes, BytesMut};
use hawser_frames::{Kind, Session, SessionSpec};
use hawser_kube::{
    close::CloseReason,
    headers,
    status::Status,
    upgrade::{self, Upgrade},
};
use hawser_tunnel::{
    Delivery, Link, RecvHalf, SendHalf, StreamError, TunnelStream, Verdict,
    wire::{ReplyV1, RequestV1},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use stream::Stream;

use super::{agent_status, final_reply, first_message, no_answer, not_taken, route};
use crate::{
    downstream::{ClientError, Request, RequestBody, Responder},
    error::EdgeError,
    exchange::Exchange,
    record::Record,
};

/// Carries one upgrade to its end.
pub(crate) async fn forward(
    exchange: &Exchange,
    upgrade: Upgrade,
    request: &mut Request<'_>,
    responder: &mut Responder<'_>,
    record: &mut Record,
) -> Result<(), EdgeError> {
    upgrade.forward_headers(&mut request.headers);
    let message = first_message(exchange, request, true);
    let (RequestBody::Http1(body), Responder::Http1(responder)) = (&mut request.body, responder) else {
        return Err(Status::bad_request("upgrades need HTTP/1.1").into());
    };
    responder.close_after();
    if body.raw().has_early_bytes() {
        // Nobody agrees whose bytes these are: the API server throws them away, others read them as stream data.
        return Err(Status::bad_request("bytes were sent before the connection was upgraded").into());
    }
    let opened = tokio::select! {
        biased;
        opened = open(exchange, &message) => opened?,
        () = body.gone() => return Err(ClientError::Gone.into()),
        reason = exchange.scope().cancelled() => return Err(Status::service_unavailable(reason.sentence(), None).into()),
    };
    let Opened { status, mut headers, send, mut recv } = opened;
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return refused(status, headers, &mut recv, responder, record, exchange).await;
    }
    let protocol = upgrade.check_response(status.as_u16(), &headers).map_err(Status::bad_gateway)?;
    let session = session(&upgrade, &protocol)?;
    upgrade.response_headers(&mut headers);
    record.head(status.as_u16());
    if body.raw().has_early_bytes() {
        return Err(EdgeError::Cut(CloseReason::BadStream("bytes before the 101".into())));
    }
    let writer = responder.switch(&headers).await?;
    let stream = Stream::new(exchange, session);
    stream.run(body.raw(), writer, send, recv, record).await
}

/// A tunnel stream with the cluster's answer to the upgrade.
struct Opened {
    status: StatusCode,
    headers: HeaderMap,
    send: SendHalf,
    recv: RecvHalf,
}

/// Asks one agent after the other, as long as they did not take the request.
async fn open(exchange: &Exchange, message: &RequestV1) -> Result<Opened, EdgeError> {
    let mut delivery = Delivery::new();
    let mut last = None;
    loop {
        let link = route(exchange, last).await?;
        last = Some(link.id());
        let (verdict, status) = match ask(exchange, &link, message, &mut delivery).await {
            Ok(opened) => return Ok(opened),
            Err(Asked::Answer(status)) => return Err(status.into()),
            Err(Asked::NotTaken(status)) => (delivery.on_refused(), status),
            // kubectl repeats a failed WebSocket exec over SPDY by itself; nothing is repeated here.
            Err(Asked::Lost(why)) => (delivery.on_loss(false), broken(exchange, &why)),
        };
        match verdict {
            Verdict::Retry => exchange.conn.worker.shared.metrics.retries.inc(),
            Verdict::MaybeDelivered | Verdict::NotDelivered | Verdict::Truncated => return Err(status.into()),
        };
    }
}

/// Why an agent did not open the upgrade.
enum Asked {
    /// The client gets this answer.
    Answer(Status),
    /// The API server has not seen the request.
    NotTaken(Status),
    /// It may have.
    Lost(String),
}

async fn ask(
    exchange: &Exchange,
    link: &Link,
    message: &RequestV1,
    delivery: &mut Delivery,
) -> Result<Opened, Asked> {
    let not_taken = |why: &str| Asked::NotTaken(not_taken(exchange, why));
    let stream = link.open().await.map_err(|error| not_taken(&error.to_string()))?;
    let TunnelStream { mut send, mut recv } = stream;
    // An agent that did not get the whole of it cannot have acted on it.
    send.send_request(message).await.map_err(|error| not_taken(&error.to_string()))?;
    delivery.on_sent();
    match final_reply(&mut recv, delivery, || {}).await {
        Ok(ReplyV1::Head { status, headers, .. }) => {
            let status = StatusCode::from_u16(status).map_err(|_number| Asked::Lost(no_answer(status)))?;
            Ok(Opened { status, headers, send, recv })
        }
        Ok(ReplyV1::Refused { code, message }) if delivery.may_move() => {
            Err(Asked::NotTaken(agent_status(code, message)))
        }
        Err(StreamError::Refused) if delivery.may_move() => {
            Err(not_taken("the agent takes no more requests"))
        }
        // The agent has said before that the request went on.
        Ok(ReplyV1::Refused { message, .. }) => Err(Asked::Lost(message)),
        Ok(ReplyV1::Failed { code, message, .. }) => Err(Asked::Answer(agent_status(code, message))),
        Ok(ReplyV1::Dispatched) => Err(Asked::Lost("the reply ended before its head".to_owned())),
        Err(error) => Err(Asked::Lost(error.to_string())),
    }
}

fn broken(exchange: &Exchange, why: &str) -> Status {
    Status::bad_gateway(format!(
        "cluster {}: the session could not be opened ({why}); try again",
        exchange.cluster()
    ))
}

/// The cluster's own refusal, whole, with the length that waiting clients need; then the connection closes.
async fn refused(
    status: StatusCode,
    mut headers: HeaderMap,
    recv: &mut RecvHalf,
    responder: &mut crate::downstream::http1::Responder<'_>,
    record: &mut Record,
    exchange: &Exchange,
) -> Result<(), EdgeError> {
    if status.as_u16() < 400 {
        // A redirect or a success would be followed or believed (CVE-2020-8559, CVE-2018-1002105).
        return Err(Status::bad_gateway(format!("the cluster answered an upgrade with {status}")).into());
    }
    let wait = exchange.conn.config.limits.response_wait;
    let body = tokio::time::timeout(wait, refusal(recv, exchange)).await.map_err(|_elapsed| {
        Status::gateway_timeout(format!(
            "cluster {}: the session was refused, but not why within {wait:?}; try again",
            exchange.cluster()
        ))
    })??;
    headers::sanitize_response(&mut headers);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    record.head(status.as_u16());
    record.sent(&body);
    responder.whole(status, headers, body).await?;
    Ok(())
}

/// Its body, up to a bound.
async fn refusal(recv: &mut RecvHalf, exchange: &Exchange) -> Result<Bytes, Status> {
    let mut body = BytesMut::new();
    while let Some(bytes) = recv.read().await.map_err(|error| broken(exchange, &error.to_string()))? {
        body.extend_from_slice(&bytes);
        if body.len() > REFUSAL_BYTES_MAX {
            return Err(Status::bad_gateway(
                "the cluster refused the session with more words than are passed on; see the API server's log",
            ));
        }
    }
    Ok(body.freeze())
}

/// The walkers for what was negotiated; `None` below `*/proxy`, where the protocol is the backend's own.
fn session(upgrade: &Upgrade, protocol: &str) -> Result<Option<Session>, Status> {
    let kind = match upgrade.session {
        upgrade::Session::Exec => Kind::Exec,
        upgrade::Session::Attach => Kind::Attach,
        upgrade::Session::PortForward => Kind::PortForward,
        upgrade::Session::Watch => Kind::Watch,
        upgrade::Session::Log => Kind::Logs,
        upgrade::Session::Raw => return Ok(None),
    };
    let spec = SessionSpec {
        transport: match upgrade.transport {
            upgrade::Transport::Spdy => hawser_frames::Transport::Spdy,
            upgrade::Transport::WebSocket => hawser_frames::Transport::WebSocket,
        },
        kind,
        protocol,
        asked: hawser_frames::Asked {
            stdin: upgrade.asked.stdin,
            stdout: upgrade.asked.stdout,
            stderr: upgrade.asked.stderr,
            tty: upgrade.asked.tty,
            ports: upgrade.asked.ports,
        },
    };
    Session::new(spec).map(Some).map_err(|unsupported| Status::bad_gateway(unsupported.to_string()))
}

/// Longest refusal of an upgrade that is passed on.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
