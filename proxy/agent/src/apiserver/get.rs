//! Small questions the agent asks for itself.

use std::{rc::Rc, time::Duration};

use bytes::{Bytes, BytesMut};
use hawser_http1::BodyLength;
use hawser_kube::clock::Clock;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use serde_json::Value;

use super::{AnswerBody, ApiServer, Lease, Reuse, SendFailure};

/// GETs a JSON document as the agent itself.
///
/// # Errors
/// One sentence for the operator of the cluster.
pub(crate) async fn get(server: &Rc<ApiServer>, clock: &dyn Clock, path: &str) -> Result<Value, String> {
    in_time(path, ask(server, clock, Method::GET, path, Bytes::new())).await
}

/// POSTs a JSON document as the agent itself.
///
/// # Errors
/// As [`get`].
pub(crate) async fn post(
    server: &Rc<ApiServer>,
    clock: &dyn Clock,
    path: &str,
    document: &Value,
) -> Result<Value, String> {
    in_time(path, ask(server, clock, Method::POST, path, Bytes::from(document.to_string()))).await
}

async fn in_time<T>(path: &str, answer: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|what| format!("{path}: {what}")),
        Err(_elapsed) => Err(format!("{path}: no answer from the API server within {ANSWER_TIMEOUT:?}")),
    }
}

/// Does the API server accept this token?
///
/// # Errors
/// As [`get`].
pub(crate) async fn accepts(server: &Rc<ApiServer>, token: HeaderValue) -> Result<bool, String> {
    // Also where anybody may ask for it, a token that is not accepted is a 401.
    let path = "/version";
    let answer = async {
        let (status, _) = question(server, Method::GET, path, token, Bytes::new()).await?;
        Ok(status != StatusCode::UNAUTHORIZED)
    };
    in_time(path, answer).await
}

async fn ask(
    server: &Rc<ApiServer>,
    clock: &dyn Clock,
    method: Method,
    path: &str,
    document: Bytes,
) -> Result<Value, String> {
    let token = server.authorization(clock).map_err(|error| error.to_string())?;
    let (status, body) = question(server, method, path, token, document).await?;
    if status == StatusCode::UNAUTHORIZED {
        server.distrust_token();
    }
    if !status.is_success() {
        let message = serde_json::from_slice::<Value>(&body).ok();
        let message = message.as_ref().and_then(|status| status["message"].as_str()).unwrap_or_default();
        return Err(format!("the API server answers {status}: {message}"));
    }
    serde_json::from_slice(&body).map_err(|error| format!("the answer is not JSON: {error}"))
}

/// One question, asked once more where the connection for it had idled too long: none of them changes anything.
async fn question(
    server: &Rc<ApiServer>,
    method: Method,
    path: &str,
    token: HeaderValue,
    document: Bytes,
) -> Result<(StatusCode, Bytes), String> {
    let request = Request::builder()
        .method(method)
        .uri(format!("https://{}{path}", server.authority()))
        .version(Version::HTTP_2)
        .header(header::AUTHORIZATION, token)
        // The key set is offered as application/jwk-set+json only.
        .header(header::ACCEPT, "application/json, */*")
        .header(header::CONTENT_TYPE, "application/json")
        .body(())
        .map_err(|error| error.to_string())?;
    for reuse in [Reuse::Any, Reuse::NoKept] {
        let lease = server.pool().lease(server, reuse).await.map_err(|error| error.to_string())?;
        match exchange(lease, request.clone(), document.clone()).await {
            Ok(response) => return whole(response).await,
            Err(SendFailure::Stale(_) | SendFailure::NotProcessed(_)) if reuse == Reuse::Any => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("the API server closes every connection".to_owned())
}

async fn exchange(
    lease: Lease,
    request: Request<()>,
    document: Bytes,
) -> Result<Response<AnswerBody>, SendFailure> {
    let length =
        if document.is_empty() { BodyLength::None } else { BodyLength::Length(document.len() as u64) };
    let (answer, mut out) = lease.send(request, length)?;
    let sent = async {
        out.begin().await?;
        if !document.is_empty() {
            out.send(document).await?;
        }
        out.finish(HeaderMap::new()).await
    };
    if let Err(error) = sent.await {
        tracing::debug!(%error, "a question of the agent's own");
    }
    answer.head().await
}

async fn whole(response: Response<AnswerBody>) -> Result<(StatusCode, Bytes), String> {
    let status = response.status();
    let mut answer = response.into_body();
    let mut body = BytesMut::new();
    while let Some(bytes) = answer.data().await.map_err(|error| error.to_string())? {
        body.extend_from_slice(&bytes);
        if body.len() > BODY_BYTES_MAX {
            return Err("the answer is too long".to_owned());
        }
    }
    Ok((status, body.freeze()))
}

/// Of one question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers here are small: one namespace, one node, a key set.
const BODY_BYTES_MAX: usize = 1 << 20;
