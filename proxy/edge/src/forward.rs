//! Carrying a permitted exchange to its cluster: [`body`] for requests and responses, [`upgrade`] for streams that leave
//! HTTP. Both open one tunnel stream per attempt and begin it with the same header.

pub(crate) mod body;
mod length;
pub(crate) mod upgrade;
mod upload;
mod watch;

use std::fmt;

use hawser_kube::status::Status;
use hawser_tunnel::{
    Delivery, Link, LinkId, RecvHalf, StreamError,
    wire::{BodyV1, Class, Message as _, ReplyV1, RequestV1, WireError},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::{downstream::Request, error::EdgeError, exchange::Exchange};

/// A link to the exchange's cluster; waits a little for one that is just coming back. This is asked before anything was
/// sent, so a client may ask again: soon, where the wait was worth it.
async fn route(exchange: &Exchange, avoid: Option<LinkId>) -> Result<Link, EdgeError> {
    let worker = &exchange.conn.worker;
    let links = &worker.shared.links;
    // Upgrades, logs and proxied bodies travel apart from requests that answer in milliseconds.
    let class = if exchange.attrs().is_bulk() { Class::Bulk } else { Class::General };
    let other = avoid.and_then(|avoid| links.route_avoiding(exchange.cluster(), class, worker.id, avoid));
    if let Some(link) = other.or_else(|| links.route(exchange.cluster(), class, worker.id)) {
        return Ok(link);
    }
    let now = worker.shared.clock.now();
    // Links that take nothing, as in a drain, have others that follow them.
    let expected = links.replicas(exchange.cluster()).is_some()
        || worker.shared.last_seen.is_recent(exchange.cluster(), now);
    if !expected {
        return Err(not_connected(exchange, None));
    }
    let deadline = now + exchange.conn.config.limits.route_wait;
    let link = links.wait_for(exchange.cluster(), class, worker.id, deadline).await;
    link.ok_or_else(|| not_connected(exchange, Some(1)))
}

fn not_connected(exchange: &Exchange, retry_after_seconds: Option<u32>) -> EdgeError {
    let cluster = exchange.cluster();
    let seen = exchange.conn.worker.shared.last_seen.sentence(cluster);
    let text = format!(
        "cluster {cluster}: no agent is connected to this edge ({seen}); see `hawser status` on the edge, or {AGENT_LOGS}"
    );
    Status::service_unavailable(text, retry_after_seconds).into()
}

/// The first message of the exchange's stream; takes the request's header fields.
fn first_message(exchange: &Exchange, request: &mut Request<'_>, upgrade: bool) -> RequestV1 {
    let mut headers = std::mem::take(&mut request.headers);
    let id = uuid::Uuid::from_bytes(exchange.id).to_string();
    let source = exchange.conn.peer.ip().to_canonical().to_string();
    for (name, text) in [("audit-id", id), ("x-forwarded-for", source)] {
        // Hexadecimal digits, dots and colons are a value.
        headers.extend(HeaderValue::try_from(text).ok().map(|value| (HeaderName::from_static(name), value)));
    }
    RequestV1 {
        exchange: exchange.id,
        method: request.method.as_str().to_owned(),
        target: request.target.clone(),
        headers,
        user: exchange.user.clone(),
        groups: exchange.permit.groups().iter().map(ToString::to_string).collect(),
        extra: Vec::new(),
        upgrade,
        body: if upgrade { BodyV1::None } else { request.length },
        trailers: exchange.attrs().is_proxy() && !upgrade,
        extensions: Vec::new(),
    }
}

/// The reply that ends the waiting: head, refusal or failure. Before it an agent says once at most that the request went
/// on: one that says it without end would keep this worker busy with nothing else.
async fn final_reply(
    recv: &mut RecvHalf,
    delivery: &mut Delivery,
    on_dispatched: impl Fn(),
) -> Result<ReplyV1, StreamError> {
    loop {
        let reply = recv.recv_reply().await?;
        let said_before = !delivery.may_move();
        delivery.on_reply(&reply);
        match reply {
            ReplyV1::Dispatched if said_before => {
                return Err(WireError::Malformed { kind: ReplyV1::KIND }.into());
            }
            ReplyV1::Dispatched => on_dispatched(),
            reply @ (ReplyV1::Head { .. } | ReplyV1::Refused { .. } | ReplyV1::Failed { .. }) => {
                return Ok(reply);
            }
        }
    }
}

/// Redirects leave only from below `*/proxy`, where they are the backend's own (CVE-2022-3172).
fn judge(exchange: &Exchange, status: StatusCode, headers: &HeaderMap) -> Result<(), Status> {
    if status.is_redirection() && headers.contains_key(header::LOCATION) && !exchange.attrs().is_proxy() {
        return Err(Status::bad_gateway(
            "the cluster answered with a redirect, which is not followed nor passed on: an API server gives none for its own \
             resources, see what stands in front of it",
        ));
    }
    Ok(())
}

/// A plain request is answered with one final response (RFC 9110, 15.2).
fn final_status(status: u16) -> Option<StatusCode> {
    StatusCode::from_u16(status).ok().filter(|status| !status.is_informational())
}

/// The API server has not seen the request: a client may try again at once.
fn not_taken(exchange: &Exchange, why: &str) -> Status {
    let text = format!("cluster {}: {why}; try again in a moment", exchange.cluster());
    Status::service_unavailable(text, Some(1))
}

/// What no API server answers is the agent's fault.
fn no_answer(what: impl fmt::Display) -> String {
    format!("the agent sent what is no answer ({what}; see {AGENT_LOGS})")
}

const AGENT_LOGS: &str = "the logs of deployment hawser-agent in the cluster";

/// An answer the agent asks the edge to give in its place.
fn agent_status(code: u16, message: String) -> Status {
    Status::new(if (400..600).contains(&code) { code } else { 502 }, message)
}
