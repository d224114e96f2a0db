//! What the backend answers: as much of an API server as an agent needs to enrol and a load needs to measure.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderName, Response, StatusCode, Uri, header};
use serde_json::{Value, json};

use crate::fixture::ISSUER;

/// Every document, ready to send.
#[derive(Clone)]
pub(crate) struct Answers {
    documents: HashMap<&'static str, (Response<()>, Bytes)>,
    unknown: (Response<()>, Bytes),
    log: Response<()>,
}

/// One answer.
pub(crate) enum Answer<'a> {
    /// Head and whole body.
    Whole(&'a Response<()>, Bytes),
    /// Head, and so many bytes of body.
    Stream(&'a Response<()>, u64),
}

impl Answers {
    pub(crate) fn new(jwks: &str) -> anyhow::Result<Self> {
        let uid = json!({"metadata": {"name": "kube-system", "uid": "c0ffee00-0000-4000-8000-000000000001"}});
        let nodes = json!({"kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": [{"metadata": {"name": "node-1"}}]});
        let documents = [
            ("/version", json!({"major": "1", "minor": "37", "gitVersion": "v1.37.0"}).to_string()),
            ("/api/v1/namespaces/kube-system", uid.to_string()),
            ("/api/v1/nodes", nodes.to_string()),
            ("/.well-known/openid-configuration", json!({"issuer": ISSUER}).to_string()),
            (REVIEW, json!({"kind": "SelfSubjectAccessReview", "status": {"allowed": true}}).to_string()),
            ("/openid/v1/jwks", serde_json::from_str::<Value>(jwks)?.to_string()),
            (SMALL, small()),
        ];
        let document = |(path, text)| anyhow::Ok((path, whole(StatusCode::OK, text)?));
        let missing = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404});
        Ok(Self {
            documents: documents.into_iter().map(document).collect::<Result<_, _>>()?,
            unknown: whole(StatusCode::NOT_FOUND, missing.to_string())?,
            log: head(StatusCode::OK, "text/plain")?,
        })
    }

    pub(crate) fn to(&self, uri: &Uri) -> Answer<'_> {
        if uri.path() == LOG {
            return Answer::Stream(&self.log, limit_bytes(uri));
        }
        let (head, body) = self.documents.get(uri.path()).unwrap_or(&self.unknown);
        Answer::Whole(head, body.clone())
    }
}

/// What a log is made of.
pub(crate) fn piece() -> Bytes {
    static LINES: [u8; PIECE_BYTES] = lines();
    Bytes::from_static(&LINES)
}

const fn lines() -> [u8; PIECE_BYTES] {
    let mut bytes = [b'.'; PIECE_BYTES];
    let mut at = 127;
    while at < PIECE_BYTES {
        bytes[at] = b'\n';
        at += 128;
    }
    bytes
}

/// `limitBytes`, kubectl's own `--limit-bytes`.
fn limit_bytes(uri: &Uri) -> u64 {
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs
        .filter_map(|pair| pair.strip_prefix("limitBytes=")?.parse().ok())
        .next()
        .unwrap_or(PIECE_BYTES as u64)
}

fn whole(status: StatusCode, text: String) -> anyhow::Result<(Response<()>, Bytes)> {
    let mut head = head(status, "application/json")?;
    head.headers_mut().insert(header::CONTENT_LENGTH, text.len().into());
    Ok((head, Bytes::from(text)))
}

/// With the headers that every answer of an API server has.
fn head(status: StatusCode, content_type: &str) -> http::Result<Response<()>> {
    Response::builder()
        .status(status)
        .header(HeaderName::from_static("audit-id"), "5d3b1d1e-7c36-4c37-9f0e-0f4a3c1a9d11")
        .header(header::CACHE_CONTROL, "no-cache, private")
        .header(header::CONTENT_TYPE, content_type)
        .header(
            HeaderName::from_static("x-kubernetes-pf-flowschema-uid"),
            "0c2a4c50-56b1-4a8e-8a5e-0f5f5d0a7b11",
        )
        .header(
            HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid"),
            "4fd61ac6-7d2e-4b0a-9d05-1cc9d1b0d7a2",
        )
        .header(header::DATE, "Tue, 01 Dec 2026 12:00:00 GMT")
        .body(())
}

/// A ConfigMap of exactly [`SMALL_BYTES`].
fn small() -> String {
    let with = |fill: usize| {
        json!({
            "kind": "ConfigMap", "apiVersion": "v1",
            "metadata": {
                "name": "one", "namespace": "default", "uid": "9f1c7a55-6a0e-4b8c-8d59-31b9a3b3f0c4",
                "resourceVersion": "4711", "creationTimestamp": "2026-11-24T06:00:00Z",
            },
            "data": {"text": "x".repeat(fill)},
        })
        .to_string()
    };
    with(SMALL_BYTES - with(0).len())
}

/// Where an agent asks what it may do.
const REVIEW: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
/// The small answer.
const SMALL: &str = "/api/v1/namespaces/default/configmaps/one";
const SMALL_BYTES: usize = 1024;
/// The large one; its size is asked for with `limitBytes`.
const LOG: &str = "/api/v1/namespaces/default/pods/p/log";
/// Bytes that a log writes at a time.
const PIECE_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_is_a_kilobyte_and_logs_are_as_long_as_asked() {
        let answers = Answers::new(r#"{"keys": []}"#).unwrap();
        let Answer::Whole(head, body) = answers.to(&Uri::from_static(SMALL)) else { panic!() };
        assert_eq!((head.status(), body.len()), (StatusCode::OK, 1024));
        serde_json::from_slice::<Value>(&body).unwrap();
        let log = format!("https://a:1{LOG}?follow=false&limitBytes=5000000000");
        let Answer::Stream(_, bytes) = answers.to(&log.parse().unwrap()) else { panic!() };
        assert_eq!(bytes, 5_000_000_000);
        let Answer::Whole(head, _) = answers.to(&Uri::from_static("/nothing")) else { panic!() };
        assert_eq!(head.status(), StatusCode::NOT_FOUND);
    }
}
