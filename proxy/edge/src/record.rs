//! What is remembered of an exchange: counters, and its audit events with the person's own identity.

use std::{rc::Rc, sync::Arc, time::Instant};

use hawser_kube::{
    audit_event::{ApiVersion, Event, Kind, Level, ObjectRef, ResponseStatus, Stage, UserInfo, cut_user_agent},
    close::CloseReason,
    request_info::RequestAttributes,
    status::Status,
};
use hawser_policy::{Permit, Subject};
use http::header;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    conn::Conn,
    downstream::{ClientError, Request},
    error::EdgeError,
    metrics::{ExchangeLabels, Outcome},
};

/// The growing record of one exchange.
pub(crate) struct Record {
    id: Uuid,
    received: Timestamp,
    began: Instant,
    event: Event,
    authenticated: bool,
    upgrade: bool,
    long_running: bool,
    started: bool,
    code: u16,
    bytes_in: u64,
    bytes_out: u64,
    cluster: Arc<str>,
}

impl Record {
    pub(crate) fn open(conn: &Rc<Conn>, request: &Request<'_>) -> Self {
        let shared = &conn.worker.shared;
        let id = Uuid::new_v4();
        let received = shared.clock.wall();
        let user_agent = request.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let event = Event {
            kind: Kind::Event,
            api_version: ApiVersion::V1,
            level: Level::Metadata,
            audit_id: id.to_string(),
            stage: Stage::RequestReceived,
            request_uri: request.target.clone(),
            verb: request.method.as_str().to_ascii_lowercase(),
            user: UserInfo::default(),
            impersonated_user: None,
            source_ips: vec![conn.peer.ip().to_canonical().to_string()],
            user_agent: user_agent.map(cut_user_agent).unwrap_or_default(),
            object_ref: None,
            response_status: None,
            request_object: None,
            response_object: None,
            request_received_timestamp: received,
            stage_timestamp: received,
            annotations: [
                ("hawser.dev/cluster".to_owned(), conn.host.cluster.to_string()),
                ("hawser.dev/edge".to_owned(), conn.worker.config.edge_id.clone()),
            ]
            .into(),
        };
        Self {
            id,
            received,
            began: shared.clock.now(),
            event,
            authenticated: false,
            upgrade: request.headers.contains_key(header::UPGRADE),
            long_running: false,
            started: false,
            code: 0,
            bytes_in: 0,
            bytes_out: 0,
            cluster: Arc::clone(&conn.host.cluster),
        }
    }

    pub(crate) fn exchange_id(&self) -> [u8; 16] {
        *self.id.as_bytes()
    }

    pub(crate) fn audit_id(&self) -> String {
        self.id.to_string()
    }

    pub(crate) fn is_upgrade(&self) -> bool {
        self.upgrade
    }

    pub(crate) fn attributes(&mut self, attrs: &RequestAttributes) {
        self.event.verb.clone_from(&attrs.verb);
        self.event.object_ref = ObjectRef::of(attrs);
        self.long_running = attrs.is_long_running();
        if attrs.policy_verb() != attrs.verb {
            self.note("action", attrs.policy_verb().to_owned());
        }
    }

    pub(crate) fn subject(&mut self, conn: &Conn, subject: &Subject) {
        self.authenticated = true;
        self.event.user.username = subject.user.to_string();
        self.event.user.groups.push("system:authenticated".to_owned());
        self.note("credential", subject.credential.to_string());
        if conn.worker.config.audit_request_received {
            let mut event = self.event.clone();
            event.annotations.clear();
            write(conn, event);
        }
    }

    pub(crate) fn denied(&mut self, reason: &str) {
        self.decision("forbid", reason);
    }

    pub(crate) fn permit(&mut self, permit: &Permit) {
        let policies: Vec<&str> = permit.policies().collect();
        let policies = policies.join(",");
        self.decision("allow", &format!("Hawser: allowed by {policies}"));
        self.note("policy", policies);
    }

    /// The head of the answer has gone out.
    pub(crate) fn head(&mut self, conn: &Conn, code: u16) {
        self.code = code;
        if self.long_running && !std::mem::replace(&mut self.started, true) {
            let mut event = self.event.clone();
            event.stage = Stage::ResponseStarted;
            event.stage_timestamp = conn.worker.shared.clock.wall();
            event.response_status = Some(ResponseStatus::code(code));
            write(conn, event);
        }
    }

    /// An answer of our own.
    pub(crate) fn answered(&mut self, status: &Status) {
        self.code = status.code;
        self.event.response_status = Some(ResponseStatus::from(status));
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    pub(crate) fn received(&mut self, bytes: usize) {
        self.bytes_in += bytes as u64;
    }

    /// The end: the last event, and the counters.
    pub(crate) fn close(mut self, conn: &Conn, error: Option<&EdgeError>) {
        let shared = &conn.worker.shared;
        let cut = match error {
            None | Some(EdgeError::Answer(_)) => None,
            Some(EdgeError::Client(ClientError::Gone)) => Some(CloseReason::ClientGone),
            Some(EdgeError::Client(ClientError::Stalled)) => Some(CloseReason::Timeout),
            Some(EdgeError::Client(ClientError::Malformed(what))) => Some(CloseReason::BadStream(what.clone().into())),
            Some(EdgeError::Cut(reason)) => Some(reason.clone()),
        };
        shared.metrics.exchanges.get_or_create(&self.labels(cut.is_some())).inc();
        if !self.long_running {
            shared.metrics.seconds.observe(shared.clock.now().duration_since(self.began).as_secs_f64());
        }
        if let Some(reason) = cut {
            self.note("cut-reason", reason.as_str().to_owned());
        }
        self.note("bytes-in", self.bytes_in.to_string());
        self.note("bytes-out", self.bytes_out.to_string());
        if self.event.response_status.is_none() {
            self.event.response_status = Some(match self.code {
                // What the API server writes where nothing was answered (audit.go).
                0 => ResponseStatus {
                    status: "Success".to_owned(),
                    message: "Connection closed early".to_owned(),
                    ..ResponseStatus::code(200)
                },
                code => ResponseStatus::code(code),
            });
        }
        // A failed sign-in has one event, of this stage, as in the API server's own log.
        self.event.stage = if self.authenticated { Stage::ResponseComplete } else { Stage::ResponseStarted };
        self.event.stage_timestamp = shared.clock.wall();
        tracing::debug!(
            cluster = %self.cluster, user = %self.event.user.username, verb = %self.event.verb, code = self.code,
            received = %self.received, "exchange"
        );
        write(conn, self.event);
    }

    fn labels(&self, cut: bool) -> ExchangeLabels {
        let outcome = match self.code {
            _ if cut => Outcome::Cut,
            0..200 => Outcome::Informational,
            200..300 => Outcome::Success,
            300..400 => Outcome::Redirection,
            400..500 => Outcome::ClientError,
            500.. => Outcome::ServerError,
        };
        ExchangeLabels { cluster: self.cluster.to_string(), outcome }
    }

    fn decision(&mut self, decision: &str, reason: &str) {
        self.event.annotations.insert("authorization.k8s.io/decision".to_owned(), decision.to_owned());
        self.event.annotations.insert("authorization.k8s.io/reason".to_owned(), reason.to_owned());
        self.note("decision", decision.to_owned());
    }

    fn note(&mut self, key: &str, value: String) {
        self.event.annotations.insert(format!("hawser.dev/{key}"), value);
    }
}

/// Hands an event to the audit room. What does not fit is counted there, and `Audit::ready` keeps the next one out.
fn write(conn: &Conn, event: Event) {
    if conn.worker.shared.audit.record(event).is_err() {
        tracing::warn!("an audit event found the queue full");
    }
}
