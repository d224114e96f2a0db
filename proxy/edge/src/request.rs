//! The story of a request: who, what, may they, carry it there, remember it.

use std::rc::Rc;

use hawser_kube::{
    close::CloseReason, headers, impersonation, request_info::RequestAttributes, status::Status,
    upgrade::Upgrade,
};
use http::Method;
use tracing::{Instrument as _, field};

use crate::{
    authenticate::authenticate,
    conn::Conn,
    downstream::{ClientError, Request, RequestBody, Responder},
    error::EdgeError,
    exchange::Exchange,
    forward,
    record::Record,
    respond,
};

/// Serves one request to its end. Body and responder come back so that the driver can go on with its connection.
pub(crate) async fn serve<'a>(
    conn: &Rc<Conn>,
    mut request: Request<'a>,
    mut responder: Responder<'a>,
) -> (RequestBody<'a>, Responder<'a>) {
    let attrs = RequestAttributes::parse(request.method.as_str(), &request.target).map_err(Status::from);
    let mut record = Record::open(conn, &request, attrs.as_ref().ok());
    let span = tracing::debug_span!(
        "exchange", peer = %conn.peer, cluster = %conn.host.cluster, audit_id = %record.audit_id(), user = field::Empty
    );
    let outcome = try_serve(conn, attrs, &mut request, &mut responder, &mut record).instrument(span).await;
    if let Err(error) = outcome {
        give_up(conn, error, &mut responder, &mut record).await;
    }
    (request.body, responder)
}

async fn try_serve(
    conn: &Rc<Conn>,
    attrs: Result<RequestAttributes, Status>,
    request: &mut Request<'_>,
    responder: &mut Responder<'_>,
    record: &mut Record,
) -> Result<(), EdgeError> {
    same_host(conn, request)?;
    let table = conn.worker.shared.policy.snapshot();
    let subject = authenticate(conn, &table, &request.headers)?;
    record.subject(&subject);
    tracing::Span::current().record("user", &*subject.user);
    conn.admit();
    let attrs = attrs?;
    expressible(conn, request)?;
    let upgrade = Upgrade::detect(request.method.as_str(), &request.headers, &attrs)?;
    refuse_impersonation(request, &attrs, &subject.user)?;
    let permit = table
        .authorize(&subject, &conn.host.cluster, &attrs, conn.worker.shared.clock.wall())
        .inspect_err(|denial| record.denied(&denial.reason))
        .map_err(|denial| Status::forbidden(&attrs, &subject.user, &denial.reason))?;
    let slot =
        conn.worker.shared.audit.admit().map_err(|_full| Status::service_unavailable(AUDIT_FULL, None))?;
    record.permit(&permit, slot);
    drop(table);
    headers::sanitize_request(&mut request.headers, attrs.is_proxy())?;
    let exchange = Exchange::open(conn, subject, attrs, permit, record.exchange_id())?;
    match upgrade {
        None => forward::body::forward(&exchange, request, responder, record).await,
        // Boxed, so that ordinary requests do not carry its room with them.
        Some(upgrade) => {
            Box::pin(forward::upgrade::forward(&exchange, upgrade, request, responder, record)).await
        }
    }
}

const AUDIT_FULL: &str = "the audit log is full, and nothing is let through unrecorded: try again, or see \
                          the edge's log for why it is not written";

/// `Host` must not name another cluster than SNI (or the address dialled): no domain fronting.
fn same_host(conn: &Conn, request: &Request<'_>) -> Result<(), Status> {
    match &request.authority {
        Some(authority) if conn.worker.shared.hosts.agree(&conn.host, authority) => Ok(()),
        Some(authority) => Err(Status::misdirected(format!(
            "this connection is to cluster {}, which is not known as {authority}: use a kubeconfig of `hawser kubeconfig`, \
             whose `server` and `tls-server-name` go together",
            conn.host.cluster
        ))),
        None => Err(Status::bad_request("the request names no host: send a Host header")),
    }
}

/// What goes on must be what was judged: CONNECT has no path, TRACE answers with the request's own headers.
fn expressible(conn: &Conn, request: &Request<'_>) -> Result<(), Status> {
    if request.method == Method::CONNECT || request.method == Method::TRACE {
        return Err(Status::method_not_allowed(format!("{} is not forwarded", request.method)));
    }
    let fields_max = conn.config.limits.headers_max;
    if request.headers.len() > fields_max {
        return Err(Status::header_fields_too_large(format!(
            "{} header fields, at most {fields_max} are taken (limits.headersMax of this edge)",
            request.headers.len()
        )));
    }
    Ok(())
}

/// `kubectl --as`: refused until policy can grant it, never silently dropped.
fn refuse_impersonation(request: &Request<'_>, attrs: &RequestAttributes, user: &str) -> Result<(), Status> {
    if impersonation::is_requested(&request.headers) {
        return Err(Status::forbidden(attrs, user, "impersonation (--as) is not allowed through Hawser"));
    }
    Ok(())
}

/// Tells the client, as far as it can still be told.
async fn give_up(conn: &Conn, error: EdgeError, responder: &mut Responder<'_>, record: &mut Record) {
    let (status, reason) = match error {
        EdgeError::Answer(status) => (Some(*status), CloseReason::UpstreamGone),
        EdgeError::Client(ClientError::Gone) => (None, CloseReason::ClientGone),
        EdgeError::Client(ClientError::Stalled) => (
            Some(Status::new(
                408,
                "the request's body did not come in time: send it without long pauses (limits.bodyWait of this edge)",
            )),
            CloseReason::Timeout,
        ),
        EdgeError::Client(ClientError::Malformed(what)) => (
            Some(Status::bad_request(format!("malformed body: {what}"))),
            CloseReason::BadStream(what.into()),
        ),
        EdgeError::Cut(reason) => (None, reason),
    };
    match status.filter(|_status| !responder.started()) {
        Some(status) => {
            if status.code == 401 {
                conn.turn_away();
            }
            record.answered(&status);
            if respond::status(responder, &status, record).await.is_err() {
                tracing::debug!(code = status.code, "the client left before its answer");
            }
        }
        None => {
            record.cut(reason);
            responder.abort();
        }
    }
}
