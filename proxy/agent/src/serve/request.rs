//! Requests and responses at the agent. A request that the API server cannot have processed (GOAWAY, REFUSED_STREAM, a
//! connection that did not take its head) is sent again on another connection; one that it refused because the agent's own
//! token had expired, too, once, with the token read anew; a GET or HEAD (not below `*/proxy`) also where an idle HTTP/1.1
//! connection was closed before the answer began. Nothing else is ever sent twice.

use std::{
    cell::Cell,
    pin::{Pin, pin},
    rc::Rc,
};

use hawser_http1::BodyLength;
use hawser_kube::{close::CloseReason, headers, request_info::RequestAttributes};
use hawser_tunnel::{
    BodyReader, BodyWriter, RecvHalf, SendHalf, StreamError,
    wire::{BodyV1, ReplyV1, RequestV1},
};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version, header};

use super::{
    delivered, failed, refused,
    token::{TOKEN_REFUSED, token_refused},
    upload::Upload,
};
use crate::{
    apiserver::{AnswerBody, ExchangeError, Reuse, SendFailure},
    connect::Agent,
};

/// How one attempt went.
enum Attempt {
    /// The edge has its answer, or is gone.
    Done,
    /// There is no connection to the API server.
    NoConnection(String),
    /// The API server did not look at the request.
    NotProcessed(String),
    /// It closed an idle connection, most likely before it looked.
    Stale(String),
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
        return failed(&mut send, 400, "the request cannot be expressed in HTTP".to_owned(), false).await;
    };
    let none = request.body == BodyV1::None;
    let mut upload = Upload::new(BodyReader::new(recv, request.trailers), Rc::clone(&agent.kept), none);
    let mut distrusted = false;
    for attempts in 1.. {
        let first = attempts == 1;
        let (code, message, maybe_delivered, again) =
            match attempt(agent, request, head.clone(), &mut upload, &mut send, first).await {
                Attempt::Done => return,
                Attempt::NoConnection(message) if first => return refused(&mut send, 503, message).await,
                Attempt::NoConnection(message) | Attempt::NotProcessed(message) => {
                    (503, message, false, true)
                }
                Attempt::Stale(message) => (502, message, true, changes_nothing(request)),
                Attempt::Unauthorized => {
                    let again = !std::mem::replace(&mut distrusted, true);
                    (502, TOKEN_REFUSED.to_owned(), false, again)
                }
                Attempt::Unknown(message) => (502, message, true, false),
            };
        if !again || !upload.replayable() || attempts == ATTEMPTS_MAX {
            return failed(&mut send, code, message, maybe_delivered).await;
        }
        agent.metrics.replays.inc();
    }
}

/// May it be carried out twice? What is proxied answers to nobody's rules.
fn changes_nothing(request: &RequestV1) -> bool {
    RequestAttributes::parse(&request.method, &request.target).is_ok_and(|request| request.is_safe())
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
    let reuse = if first { Reuse::Any } else { Reuse::NoKept };
    let lease = match agent.server.pool().lease(&agent.server, reuse).await {
        Ok(lease) => lease,
        Err(error) => return Attempt::NoConnection(error.to_string()),
    };
    let token = match agent.server.authorization(&*agent.clock) {
        Ok(token) => token,
        Err(error) => return Attempt::NoConnection(error.to_string()),
    };
    head.headers_mut().insert(header::AUTHORIZATION, token.clone());
    if first && send.send_reply(&ReplyV1::Dispatched).await.is_err() {
        return Attempt::Done;
    }
    let length = match request.body {
        _ if upload.is_empty() => BodyLength::None,
        BodyV1::None => BodyLength::None,
        BodyV1::Unknown => BodyLength::Chunked,
        BodyV1::Length(bytes) => BodyLength::Length(bytes),
    };
    let (answer, mut out) = match lease.send(head, length) {
        Ok(sent) => sent,
        Err(failure) => return failure.into(),
    };
    let answered = Cell::new(false);
    let mut edge_left = pin!(send.stopped());
    let mut body = Pumped { pump: pin!(upload.pump(&mut out, &answered)), over: false };
    let response = tokio::select! {
        biased;
        response = body.beside(answer.head()) => response,
        _left = &mut edge_left => return Attempt::Done,
    };
    let mut response = match response {
        None => return Attempt::Done,
        Some(Ok(response)) => response,
        Some(Err(failure)) => return failure.into(),
    };
    answered.set(true);
    if response.status() == StatusCode::UNAUTHORIZED {
        match body.beside(token_refused(agent, request, token)).await {
            None => return Attempt::Done,
            Some(true) => {
                response.body_mut().retire();
                return Attempt::Unauthorized;
            }
            Some(false) => {}
        }
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

impl From<SendFailure> for Attempt {
    fn from(failure: SendFailure) -> Self {
        let message = failure.to_string();
        match failure {
            SendFailure::NotProcessed(_) => Self::NotProcessed(message),
            SendFailure::Stale(_) => Self::Stale(message),
            SendFailure::Unknown(_) => Self::Unknown(message),
        }
    }
}

/// Why a response did not come to its end.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("edge: {0}")]
    Edge(#[from] StreamError),
    #[error("API server: {0}")]
    Server(#[from] ExchangeError),
    #[error("the edge gave up the request")]
    GivenUp,
}

async fn respond<P>(
    response: Response<AnswerBody>,
    framed: bool,
    send: &mut SendHalf,
    body: &mut Pumped<'_, P>,
) -> Result<(), Broken>
where
    P: Future<Output = Result<(), StreamError>>,
{
    let (mut head, mut answer) = response.into_parts();
    headers::sanitize_response(&mut head.headers);
    let end = answer.is_end();
    let reply = ReplyV1::Head { status: head.status.as_u16(), headers: head.headers, end };
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
            data = body.beside(answer.data()) => data.ok_or(Broken::GivenUp)?,
            _left = &mut edge_left => return Err(Broken::GivenUp),
        };
        let Some(bytes) = data? else { break };
        body.beside(out.write(bytes)).await.ok_or(Broken::GivenUp)??;
    }
    let mut trailers = answer.trailers().await?;
    headers::sanitize_trailers(&mut trailers);
    out.finish(&trailers).await?;
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

/// Times one request is sent to the API server at most.
const ATTEMPTS_MAX: u32 = 4;
