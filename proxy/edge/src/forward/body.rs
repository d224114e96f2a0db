//! Requests and responses. At most once: a request that may have reached the API server is sent again only if it is a
//! GET or HEAD whose answer had not begun; a request that the agent did not take goes to another link.

use std::{
    pin::{Pin, pin},
    time::Duration,
};

use bytes::Bytes;
use hawser_kube::{close::CloseReason, headers, status::Status};
use hawser_tunnel::{
    BodyReader, BodyWriter, Delivery, Link, StreamError, TunnelStream, Verdict,
    wire::{ReplyV1, RequestV1},
};
use http::{HeaderMap, StatusCode};

use super::{
    agent_status, final_reply, final_status, first_message, judge,
    length::Length,
    no_answer, not_taken, route,
    upload::{Dispatched, Upload},
    watch::Events,
};
use crate::{
    downstream::{ClientError, Request, Responder},
    error::EdgeError,
    exchange::Exchange,
    record::Record,
};

/// How one attempt on one link went, where that leaves a choice.
enum Attempt {
    /// The response went to the client, whole.
    Done,
    /// The API server has not seen the request.
    NotTaken(Status),
    /// No response; the API server may have acted on the request.
    Lost(String),
}

/// Carries one exchange to its end.
pub(crate) async fn forward(
    exchange: &Exchange,
    request: &mut Request<'_>,
    responder: &mut Responder<'_>,
    record: &mut Record,
) -> Result<(), EdgeError> {
    responder.proceed().await?;
    if exchange.attrs().is_long_running() {
        request.body.unhurried();
    }
    let message = first_message(exchange, request, false);
    let mut upload = Upload::new(&mut request.body, exchange.conn.config.limits.replay_bytes_max);
    let outcome = attempts(exchange, &message, &mut upload, responder, record).await;
    record.received(upload.bytes());
    outcome
}

async fn attempts(
    exchange: &Exchange,
    message: &RequestV1,
    upload: &mut Upload<'_, '_>,
    responder: &mut Responder<'_>,
    record: &mut Record,
) -> Result<(), EdgeError> {
    let mut delivery = Delivery::new();
    let mut last = None;
    loop {
        let link = route(exchange, last).await?;
        last = Some(link.id());
        let (verdict, status) =
            match attempt(exchange, &link, message, upload, responder, record, &mut delivery).await? {
                Attempt::Done => return Ok(()),
                Attempt::NotTaken(status) => (delivery.on_refused(), status),
                Attempt::Lost(why) => {
                    let safe = exchange.attrs().is_safe();
                    (
                        delivery.on_loss(safe),
                        if safe { unread(exchange, &why) } else { maybe_delivered(exchange, &why) },
                    )
                }
            };
        match verdict {
            Verdict::Retry if upload.replayable() => exchange.conn.worker.shared.metrics.retries.inc(),
            Verdict::Retry | Verdict::NotDelivered | Verdict::MaybeDelivered | Verdict::Truncated => {
                return Err(status.into());
            }
        };
    }
}

/// Reading twice harms nobody: clients try again by themselves.
fn unread(exchange: &Exchange, why: &str) -> Status {
    let text = format!("cluster {}: {why} before the answer came; try again", exchange.cluster());
    Status::service_unavailable(text, Some(1))
}

/// Client-go takes a 504 for the last word, whatever was asked.
fn too_slow(exchange: &Exchange, wait: Duration) -> Status {
    let advice = if exchange.attrs().is_safe() {
        "try again, or ask for less at once (--chunk-size)"
    } else {
        "the request may have been carried out, check before repeating it"
    };
    Status::gateway_timeout(format!("cluster {}: no answer within {wait:?}; {advice}", exchange.cluster()))
}

/// No `Retry-After`: client-go would send the request again, and it may have been carried out.
fn maybe_delivered(exchange: &Exchange, why: &str) -> Status {
    Status::bad_gateway(format!(
        "cluster {}: {why} before the answer came; the request may have been carried out, check before repeating it",
        exchange.cluster()
    ))
}

async fn attempt(
    exchange: &Exchange,
    link: &Link,
    message: &RequestV1,
    upload: &mut Upload<'_, '_>,
    responder: &mut Responder<'_>,
    record: &mut Record,
    delivery: &mut Delivery,
) -> Result<Attempt, EdgeError> {
    let TunnelStream { mut send, mut recv } = match link.open().await {
        Ok(stream) => stream,
        Err(error) => return Ok(Attempt::NotTaken(not_taken(exchange, &error.to_string()))),
    };
    // An agent that did not get the whole of it cannot have acted on it.
    if let Err(error) = send.send_request(message).await {
        return Ok(Attempt::NotTaken(not_taken(exchange, &error.to_string())));
    }
    delivery.on_sent();
    let dispatched = Dispatched::default();
    let mut out = BodyWriter::new(&mut send, message.trailers);
    let mut pump = pin!(upload.pump(&mut out, &dispatched));
    let wait = exchange.conn.config.limits.response_wait;
    let reply = tokio::select! {
        biased;
        reply = final_reply(&mut recv, delivery, || dispatched.set()) => reply,
        gone = &mut pump => return Err(gone.into()),
        () = responder.gone() => return Err(ClientError::Gone.into()),
        reason = exchange.scope().cancelled() => return Err(ended_early(&reason).into()),
        () = tokio::time::sleep(wait), if !exchange.attrs().is_long_running() => {
            return Err(too_slow(exchange, wait).into());
        }
    };
    let (status, mut headers, end) = match reply {
        Ok(ReplyV1::Head { status, headers, end }) => match final_status(status) {
            Some(status) => (status, headers, end),
            None => return Ok(Attempt::Lost(no_answer(format_args!("status {status}")))),
        },
        Ok(ReplyV1::Refused { code, message }) if delivery.may_move() => {
            return Ok(Attempt::NotTaken(retry_soon(agent_status(code, message))));
        }
        Err(StreamError::Refused) if delivery.may_move() => {
            return Ok(Attempt::NotTaken(not_taken(exchange, "the agent takes no more requests")));
        }
        // The agent has said before that the request went on.
        Ok(ReplyV1::Refused { message, .. }) => return Ok(Attempt::Lost(message)),
        Ok(ReplyV1::Failed { message, maybe_delivered: true, .. }) => return Ok(Attempt::Lost(message)),
        Ok(ReplyV1::Failed { code, message, maybe_delivered: false }) => {
            return Err(agent_status(code, message).into());
        }
        Ok(ReplyV1::Dispatched) => return Ok(Attempt::Lost("the reply ended before its head".to_owned())),
        Err(StreamError::Wire(error)) => return Ok(Attempt::Lost(no_answer(error))),
        Err(error) => return Ok(Attempt::Lost(format!("the link to the agent broke ({error})"))),
    };
    judge(exchange, status, &headers)?;
    headers::sanitize_response(&mut headers);
    let bodiless =
        message.method == "HEAD" || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let Some(length) = Length::announced(&headers, bodiless, end) else {
        return Ok(Attempt::Lost(no_answer("content-length")));
    };
    let end = end || bodiless;
    let response = Response { status, headers, end, length, body: BodyReader::new(recv, message.trailers) };
    respond(exchange, response, pump, responder, record).await?;
    Ok(Attempt::Done)
}

/// A response on its way to the client.
struct Response {
    status: StatusCode,
    headers: HeaderMap,
    end: bool,
    length: Length,
    body: BodyReader,
}

/// Passes a response on, while the rest of the request's body goes the other way (`pump`, which ends when the client is
/// gone).
async fn respond(
    exchange: &Exchange,
    response: Response,
    mut pump: Pin<&mut impl Future<Output = ClientError>>,
    responder: &mut Responder<'_>,
    record: &mut Record,
) -> Result<(), EdgeError> {
    let Response { status, headers, end, mut length, mut body } = response;
    record.head(status.as_u16());
    let mut events = exchange.attrs().is_watch().then(|| events(exchange, status, &headers)).flatten();
    responder.head(status, headers, end).await?;
    if end {
        return Ok(());
    }
    loop {
        let read = tokio::select! {
            biased;
            read = body.read() => read,
            gone = pump.as_mut() => return Err(gone.into()),
            () = responder.gone() => return Err(ClientError::Gone.into()),
            reason = exchange.cut() => return end_watch(events.as_ref(), responder, reason, record).await,
        };
        if let Ok(Some(bytes)) = &read {
            length.take(bytes.len()).map_err(EdgeError::Cut)?;
        }
        let bytes = match (read, &mut events) {
            (Ok(Some(bytes)), Some(events)) => events.push(bytes),
            (Ok(Some(bytes)), None) => bytes,
            (Ok(None), _) if length.is_complete() => break,
            (Ok(None), _) => return Err(EdgeError::Cut(CloseReason::UpstreamGone)),
            (Err(error), _) => {
                tracing::debug!(%error, "the response ended early");
                return end_watch(events.as_ref(), responder, CloseReason::LinkLost, record).await;
            }
        };
        if bytes.is_empty() {
            continue;
        }
        record.sent(&bytes);
        tokio::select! {
            biased;
            sent = exchange.taken(responder.data(bytes)) => sent?,
            gone = pump.as_mut() => return Err(gone.into()),
            reason = exchange.scope().cancelled() => return Err(EdgeError::Cut(reason)),
        }
    }
    if let Some(rest) = events.as_mut().map(Events::rest).filter(|rest: &Bytes| !rest.is_empty()) {
        responder.data(rest).await?;
    }
    let mut trailers = body.take_trailers();
    headers::sanitize_trailers(&mut trailers);
    responder.finish((!trailers.is_empty()).then_some(trailers)).await?;
    Ok(())
}

fn events(exchange: &Exchange, status: StatusCode, headers: &HeaderMap) -> Option<Events> {
    let bytes_max = exchange.conn.config.limits.watch_event_bytes_max;
    if status.is_success() { Events::new(headers, bytes_max) } else { None }
}

/// A watch that stands between two events ends as watches end; everything else must be seen to be unfinished.
async fn end_watch(
    events: Option<&Events>,
    responder: &mut Responder<'_>,
    reason: CloseReason,
    record: &mut Record,
) -> Result<(), EdgeError> {
    if events.is_some_and(Events::at_boundary) {
        record.cut(reason);
        return Ok(responder.finish(None).await?);
    }
    Err(EdgeError::Cut(reason))
}

/// What was refused was not carried out: clients may try again at once.
fn retry_soon(status: Status) -> Status {
    if status.code == 503 { Status::service_unavailable(status.message, Some(1)) } else { status }
}

fn ended_early(reason: &CloseReason) -> Status {
    Status::service_unavailable(reason.sentence(), None)
}
