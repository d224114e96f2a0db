//! One exchange at the agent: the header is judged once more, then it goes to the API server, as a request on a shared
//! connection or as an upgrade on one of its own.

mod request;
mod token;
mod upgrade;
mod upload;

use std::rc::Rc;

pub(crate) use upload::Budget;

use hawser_kube::close::CloseReason;
use hawser_tunnel::{
    SendHalf, TunnelStream,
    wire::{ReplyV1, RequestV1},
};

use crate::{connect::Agent, identity};

/// Serves one stream that an edge opened.
pub(crate) async fn serve(agent: Rc<Agent>, stream: TunnelStream) {
    let TunnelStream { mut send, mut recv } = stream;
    let mut request = match recv.recv_request().await {
        Ok(request) => request,
        Err(error) => return tracing::debug!(%error, "a stream without a request"),
    };
    agent.metrics.exchanges.inc();
    let _live = Live::enter(&agent);
    let exchange = uuid::Uuid::from_bytes(request.exchange);
    tracing::debug!(%exchange, user = request.user, method = request.method, target = request.target, "exchange");
    match headers(&agent, &mut request) {
        Ok(headers) if request.upgrade => upgrade::serve(&agent, &request, headers, send, recv).await,
        Ok(headers) => request::serve(&agent, &request, headers, send, recv).await,
        Err((code, message)) => failed(&mut send, code, message, false).await,
    }
}

/// Waits until the edge has what was sent: an agent that drains closes its links when nothing runs any more, and what is
/// still on its way then is lost.
async fn delivered(send: &SendHalf) {
    if tokio::time::timeout(DELIVERY_WAIT, send.stopped()).await.is_err() {
        tracing::debug!("the edge has not confirmed the end of an answer");
    }
}

/// Counts a live exchange, until dropped.
struct Live<'a>(&'a Agent);

impl<'a> Live<'a> {
    fn enter(agent: &'a Agent) -> Self {
        agent.metrics.live_exchanges.inc();
        Self(agent)
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.metrics.live_exchanges.dec();
    }
}

fn headers(agent: &Agent, request: &mut RequestV1) -> Result<http::HeaderMap, (u16, String)> {
    let authorization =
        agent.server.authorization(&*agent.clock).map_err(|error| (503, error.to_string()))?;
    identity::headers(request, &agent.config.user_prefix, authorization)
        .map_err(|status| (status.code, status.message))
}

/// Nothing more will come; says whether the API server may have acted.
async fn failed(send: &mut SendHalf, code: u16, message: String, maybe_delivered: bool) {
    reply(send, &ReplyV1::Failed { code, message, maybe_delivered }).await;
}

/// The API server has not seen the request: another link may try.
async fn refused(send: &mut SendHalf, code: u16, message: String) {
    reply(send, &ReplyV1::Refused { code, message }).await;
}

async fn reply(send: &mut SendHalf, reply: &ReplyV1) {
    match send.send_reply(reply).await {
        Ok(()) => {
            send.finish();
            delivered(send).await;
        }
        Err(error) => {
            tracing::debug!(%error, "the edge did not take the answer");
            send.reset(&CloseReason::LinkLost);
        }
    }
}

/// How long the end of an answer may take to be confirmed.
const DELIVERY_WAIT: std::time::Duration = std::time::Duration::from_secs(5);
