//! Answers of our own: a Kubernetes `Status`, small enough for every client that has to read it.

use bytes::Bytes;
use hawser_kube::status::Status;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{
    conn::Conn,
    downstream::{ClientError, Responder},
    record::Record,
};

/// Sends the status as the whole answer.
pub(crate) async fn status(
    responder: &mut Responder<'_>,
    status: &Status,
    record: &Record,
) -> Result<(), ClientError> {
    let (code, mut headers, body) = status_parts(status);
    if let Ok(id) = HeaderValue::from_str(&record.audit_id()) {
        headers.insert("audit-id", id);
    }
    if let Responder::Http1(http1) = responder
        && (record.is_upgrade() || code == StatusCode::UNAUTHORIZED)
    {
        http1.close_after();
    }
    responder.whole(code, headers, body).await
}

/// Status line, headers and body of an answer of our own.
pub(crate) fn status_parts(status: &Status) -> (StatusCode, HeaderMap, Bytes) {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // gorilla/websocket reads at most 1,024 bytes of a refusal, and other readers only to the announced length.
    let body = Bytes::from(status.to_json_max(BODY_BYTES_MAX));
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(seconds) = status.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    (code, headers, body)
}

/// A head that could not even be parsed: counted, since there is no request to record.
pub(crate) fn refused_head(conn: &Conn, status: &Status) {
    conn.worker.shared.metrics.malformed_heads.inc();
    tracing::debug!(peer = %conn.peer, code = status.code, message = %status.message, "malformed request head");
}

/// Answers are shorter than this, so that every upgrade client shows them.
const BODY_BYTES_MAX: usize = 1024;
