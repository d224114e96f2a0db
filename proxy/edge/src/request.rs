//! The story of a request: who, what, may they, carry it there, remember it.

use std::rc::Rc;

use hawser_kube::{headers, impersonation, request_info::RequestAttributes, status::Status, upgrade::Upgrade};

use crate::{
    authenticate::authenticate,
    conn::Conn,
    downstream::{Request, RequestBody, Responder},
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
    let mut record = Record::open(conn, &request);
    let outcome = try_serve(conn, &mut request, &mut responder, &mut record).await;
    if let Err(error) = &outcome {
        give_up(conn, error, &mut responder, &mut record).await;
    }
    record.close(conn, outcome.as_ref().err());
    (request.body, responder)
}

async fn try_serve(
    conn: &Rc<Conn>,
    request: &mut Request<'_>,
    responder: &mut Responder<'_>,
    record: &mut Record,
) -> Result<(), EdgeError> {
    same_host(conn, request)?;
    let table = conn.worker.shared.policy.snapshot();
    let subject = authenticate(conn, &table, &request.headers)?;
    record.subject(conn, &subject);
    conn.admit();
    let attrs = RequestAttributes::parse(request.method.as_str(), &request.target)
        .map_err(|bad| Status::bad_request(bad.to_string()))?;
    record.attributes(&attrs);
    let upgrade = Upgrade::detect(request.method.as_str(), &request.headers, &attrs)?;
    refuse_impersonation(request, &attrs, &subject.user)?;
    let permit = table
        .authorize(&subject, &conn.host.cluster, &attrs, conn.worker.shared.clock.wall())
        .inspect_err(|denial| record.denied(&denial.reason))
        .map_err(|denial| Status::forbidden(&attrs, &subject.user, &denial.reason))?;
    record.permit(&permit);
    drop(table);
    if !conn.worker.shared.audit.ready() {
        return Err(Status::service_unavailable("the audit log is full; nothing is let through unrecorded", None).into());
    }
    headers::sanitize_request(&mut request.headers, attrs.is_proxy())?;
    let exchange = Exchange::open(conn, subject, attrs, permit, record.exchange_id())?;
    match upgrade {
        None => forward::body::forward(&exchange, request, responder, record).await,
        Some(upgrade) => forward::upgrade::forward(&exchange, upgrade, request, responder, record).await,
    }
}

/// SNI (or the address dialled) and `Host` must name the same cluster (conformance: no domain fronting).
fn same_host(conn: &Conn, request: &Request<'_>) -> Result<(), Status> {
    match &request.authority {
        Some(authority) if conn.host.answers_to(authority) => Ok(()),
        Some(authority) => Err(Status::misdirected(format!(
            "this connection is to cluster {}, which is not known as {authority}",
            conn.host.cluster
        ))),
        None => Err(Status::bad_request("the request names no host")),
    }
}

/// `kubectl --as`: refused until policy can grant it, never silently dropped.
fn refuse_impersonation(request: &Request<'_>, attrs: &RequestAttributes, user: &str) -> Result<(), Status> {
    if impersonation::is_requested(&request.headers) {
        return Err(Status::forbidden(attrs, user, "impersonation (--as) is not allowed through Hawser"));
    }
    Ok(())
}

/// Tells the client, as far as it can still be told.
async fn give_up(conn: &Conn, error: &EdgeError, responder: &mut Responder<'_>, record: &mut Record) {
    match error {
        EdgeError::Answer(status) if !responder.started() => {
            if status.code == 401 {
                conn.turn_away();
            }
            record.answered(status);
            if respond::status(responder, status, record).await.is_err() {
                tracing::debug!(code = status.code, "the client left before its answer");
            }
        }
        EdgeError::Answer(_) | EdgeError::Client(_) | EdgeError::Cut(_) => responder.abort(),
    }
}
