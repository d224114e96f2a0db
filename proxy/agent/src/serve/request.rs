//! Requests and responses at the agent. A request that the API server says it never processed (GOAWAY, REFUSED_STREAM)
//! is sent again on another connection; one that it refused because the agent's own token had expired, too, with a fresh
//! token. Nothing else is ever sent twice.

use std::{
    cell::Cell,
    pin::{Pin, pin},
    rc::Rc,
};

use h2::RecvStream;
use hawser_kube::{close::CloseReason, headers};
use hawser_tunnel::{
    BodyReader, BodyWriter, RecvHalf, SendHalf, StreamError,
    wire::{BodyV1, Fields, ReplyV1, RequestV1},
};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version, header};

use super::{delivered, failed, refused, upload::Upload};
use crate::{apiserver::SendFailure, connect::Agent};

/// How one attempt went.
enum Attempt {
    /// The edge has its answer, or is gone.
    Done,
    /// There is no connection to the API server.
    NoConnection(String),
    /// The API server did not look at the request.
    NotProcessed(String),
    /// It did not accept the agent's token.
    Unauthorized,
    /// It may have acted on the request.
    Unknown(String),
}

/// Serves one request.
pub(super) async fn serve(
    agent: &Rc<Agent>,
    request: &RequestV1,
    headers: HeaderMap,
    mut send: SendHalf,
    recv: RecvHalf,
) {
    let Some(head) = head(agent, request, headers) else {
        return failed(&mut send, 400, "the request cannot be expressed in HTTP/2".to_owned(), false).await;
    };
    let none = request.body == BodyV1::None;
    let mut upload = Upload::new(BodyReader::new(recv, request.trailers), Rc::clone(&agent.kept), none);
    for attempts in 1.. {
        let first = attempts == 1;
        let (code, message, maybe_delivered) =
            match attempt(agent, request, head.clone(), &mut upload, &mut send, first).await {
                Attempt::Done => return,
                Attempt::NoConnection(message) if first => return refused(&mut send, 503, message).await,
                Attempt::NoConnection(message) => (503, message, false),
                Attempt::NotProcessed(message) => (503, message, false),
                Attempt::Unauthorized => {
                    agent.metrics.token_refusals.inc();
                    agent.server.distrust_token();
                    (502, "the API server does not accept the agent's ServiceAccount token".to_owned(), false)
                }
                Attempt::Unknown(message) => (502, message, true),
            };
        if maybe_delivered || !upload.replayable() || attempts == ATTEMPTS_MAX {
            return failed(&mut send, code, message, maybe_delivered).await;
        }
        agent.metrics.replays.inc();
    }
}

/// The request as the API server gets it.
fn head(agent: &Agent, request: &RequestV1, mut headers: HeaderMap) -> Option<Request<()>> {
    headers.remove(header::HOST);
    let mut head = Request::new(());
    *head.method_mut() = Method::from_bytes(request.method.as_bytes()).ok()?;
    *head.uri_mut() = Uri::builder()
        .scheme("https")
        .authority(agent.server.authority())
        .path_and_query(request.target.as_str())
        .build()
        .ok()?;
    // What http makes of the target must be the target: it is what was authorized.
    if head.uri().path_and_query().is_none_or(|target| target.as_str() != request.target) {
        return None;
    }
    *head.version_mut() = Version::HTTP_2;
    *head.headers_mut() = headers;
    Some(head)
}

async fn attempt(
    agent: &Rc<Agent>,
    request: &RequestV1,
    mut head: Request<()>,
    upload: &mut Upload,
    send: &mut SendHalf,
    first: bool,
) -> Attempt {
    let lease = match agent.server.pool().lease(&agent.server).await {
        Ok(lease) => lease,
        Err(error) => return Attempt::NoConnection(error.to_string()),
    };
    match agent.server.authorization(&*agent.clock) {
        Ok(token) => head.headers_mut().insert(header::AUTHORIZATION, token),
        Err(error) => return Attempt::NoConnection(error.to_string()),
    };
    if first && send.send_reply(&ReplyV1::Dispatched).await.is_err() {
        return Attempt::Done;
    }
    let (mut response, mut out) = match lease.send(head, upload.is_empty()) {
        Ok(sent) => sent,
        Err(error) => {
            lease.retire();
            return Attempt::NotProcessed(error.to_string());
        }
    };
    let answered = Cell::new(false);
    let mut edge_left = pin!(send.stopped());
    let mut body = Pumped { pump: pin!(upload.pump(&mut out, &answered)), over: false };
    let response = tokio::select! {
        biased;
        response = body.beside(&mut response) => response,
        _left = &mut edge_left => return Attempt::Done,
    };
    let response = match response {
        None => return Attempt::Done,
        Some(Ok(response)) => response,
        Some(Err(error)) => {
            return match SendFailure::of(error) {
                SendFailure::NotProcessed(error) => {
                    lease.retire();
                    Attempt::NotProcessed(error.to_string())
                }
                SendFailure::Unknown(error) => Attempt::Unknown(error.to_string()),
            };
        }
    };
    answered.set(true);
    if response.status() == StatusCode::UNAUTHORIZED {
        // The person's own credential never comes here, so it is the agent's; but what is proxied has a 401 of its own.
        lease.retire();
        if !request.trailers {
            return Attempt::Unauthorized;
        }
        agent.server.distrust_token();
    }
    match respond(response, request.trailers, send, &mut body).await {
        Ok(()) => delivered(send).await,
        Err(error) => {
            tracing::debug!(%error, "response");
            send.reset(&CloseReason::UpstreamGone);
        }
    }
    Attempt::Done
}

/// Why a response did not come to its end.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("edge: {0}")]
    Edge(#[from] StreamError),
    #[error("API server: {0}")]
    Server(#[from] h2::Error),
    #[error("the edge gave up the request")]
    GivenUp,
}

async fn respond<P>(
    response: Response<RecvStream>,
    framed: bool,
    send: &mut SendHalf,
    body: &mut Pumped<'_, P>,
) -> Result<(), Broken>
where
    P: Future<Output = Result<(), StreamError>>,
{
    let (mut head, mut stream) = response.into_parts();
    headers::sanitize_response(&mut head.headers);
    let end = stream.is_end_stream();
    let reply = ReplyV1::Head { status: head.status.as_u16(), headers: fields(&head.headers), end };
    body.beside(send.send_reply(&reply)).await.ok_or(Broken::GivenUp)??;
    if end {
        send.finish();
        return Ok(());
    }
    let mut edge_left = pin!(send.stopped());
    let mut out = BodyWriter::new(send, framed);
    loop {
        let data = tokio::select! {
            biased;
            data = body.beside(stream.data()) => data.ok_or(Broken::GivenUp)?,
            _left = &mut edge_left => return Err(Broken::GivenUp),
        };
        let Some(bytes) = data.transpose()? else { break };
        let length = bytes.len();
        body.beside(out.write(bytes)).await.ok_or(Broken::GivenUp)??;
        stream.flow_control().release_capacity(length)?;
    }
    let mut trailers = stream.trailers().await?.unwrap_or_default();
    headers::sanitize_trailers(&mut trailers);
    out.finish(&fields(&trailers)).await?;
    Ok(())
}

/// The request's body, which goes on being sent beside whatever else is waited for.
struct Pumped<'a, P> {
    pump: Pin<&'a mut P>,
    over: bool,
}

impl<P: Future<Output = Result<(), StreamError>>> Pumped<'_, P> {
    /// Waits for `future`; `None` when the edge gave up the body meanwhile.
    async fn beside<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                biased;
                output = &mut future => return Some(output),
                pumped = self.pump.as_mut(), if !self.over => {
                    self.over = true;
                    if pumped.is_err() {
                        return None;
                    }
                }
            }
        }
    }
}

fn fields(headers: &HeaderMap) -> Fields {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

/// Times one request is sent to the API server at most.
const ATTEMPTS_MAX: u32 = 4;
