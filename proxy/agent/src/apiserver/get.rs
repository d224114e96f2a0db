//! Small questions the agent asks for itself.

use std::{rc::Rc, time::Duration};

use bytes::{Bytes, BytesMut};
use hawser_kube::clock::Clock;
use http::{Method, Request, Version, header};
use serde_json::Value;

use super::ApiServer;

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

async fn in_time(path: &str, answer: impl Future<Output = Result<Value, String>>) -> Result<Value, String> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|what| format!("{path}: {what}")),
        Err(_elapsed) => Err(format!("{path}: no answer from the API server within {ANSWER_TIMEOUT:?}")),
    }
}

async fn ask(
    server: &Rc<ApiServer>,
    clock: &dyn Clock,
    method: Method,
    path: &str,
    document: Bytes,
) -> Result<Value, String> {
    let authorization = server.authorization(clock).map_err(|error| error.to_string())?;
    let request = Request::builder()
        .method(method)
        .uri(format!("https://{}{path}", server.authority()))
        .version(Version::HTTP_2)
        .header(header::AUTHORIZATION, authorization)
        // The key set is offered as application/jwk-set+json only.
        .header(header::ACCEPT, "application/json, */*")
        .header(header::CONTENT_TYPE, "application/json")
        .body(())
        .map_err(|error| error.to_string())?;
    let lease = server.pool().lease(server).await.map_err(|error| error.to_string())?;
    let (response, mut send) = lease.send(request, document.is_empty()).map_err(|error| error.to_string())?;
    if !document.is_empty() {
        send.send_data(document, true).map_err(|error| error.to_string())?;
    }
    let response = response.await.map_err(|error| error.to_string())?;
    let status = response.status();
    let mut stream = response.into_body();
    let mut body = BytesMut::new();
    while let Some(bytes) = stream.data().await {
        let bytes = bytes.map_err(|error| error.to_string())?;
        stream.flow_control().release_capacity(bytes.len()).map_err(|error| error.to_string())?;
        body.extend_from_slice(&bytes);
        if body.len() > BODY_BYTES_MAX {
            return Err("the answer is too long".to_owned());
        }
    }
    if status.as_u16() == 401 {
        server.distrust_token();
    }
    if !status.is_success() {
        let message = serde_json::from_slice::<Value>(&body).ok();
        let message = message.as_ref().and_then(|status| status["message"].as_str()).unwrap_or_default();
        return Err(format!("the API server answers {status}: {message}"));
    }
    serde_json::from_slice(&body).map_err(|error| format!("the answer is not JSON: {error}"))
}

/// Of one question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers here are small: one namespace, one node, a key set.
const BODY_BYTES_MAX: usize = 1 << 20;
