//! What is remembered of an exchange: counters, and its audit events with the person's own identity. The record writes
//! its last event when it is dropped, so that nothing that ran is without one, however it ended.

use std::{rc::Rc, time::Instant};

use bytes::BytesMut;
use hawser_audit::Slot;
use hawser_kube::{
    audit_event::{CREDENTIAL_ID, DECISION, Event, ObjectRef, REASON, ResponseStatus, Stage, cut_user_agent},
    close::CloseReason,
    request_info::{Action, RequestAttributes},
    status::Status,
};
use hawser_policy::{Permit, Subject};
use http::{HeaderMap, header};
use uuid::Uuid;

use crate::{
    conn::Conn,
    downstream::Request,
    metrics::{ExchangeLabels, Outcome},
};

/// The growing record of one exchange.
pub(crate) struct Record {
    conn: Rc<Conn>,
    id: Uuid,
    began: Instant,
    event: Event,
    /// Kept in the audit queue for the last event, once the exchange was let in.
    slot: Option<Slot>,
    authenticated: bool,
    upgrade: bool,
    long_running: bool,
    started: bool,
    code: u16,
    /// The beginning of an answer that is a failure.
    failure: BytesMut,
    cut: Option<CloseReason>,
    bytes_in: u64,
    bytes_out: u64,
}

impl Record {
    /// `attrs` is `None` for a target that cannot be read.
    pub(crate) fn open(conn: &Rc<Conn>, request: &Request<'_>, attrs: Option<&RequestAttributes>) -> Self {
        let shared = &conn.worker.shared;
        let id = Uuid::new_v4();
        let received = shared.clock.wall();
        let user_agent = request.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let event = Event {
            audit_id: id.to_string(),
            request_uri: request.target.clone(),
            verb: attrs
                .map_or_else(|| request.method.as_str().to_ascii_lowercase(), |attrs| attrs.verb.clone()),
            source_ips: vec![conn.peer.ip().to_canonical().to_string()],
            user_agent: user_agent.map(cut_user_agent).unwrap_or_default(),
            object_ref: attrs.and_then(ObjectRef::of),
            request_received_timestamp: received,
            stage_timestamp: received,
            annotations: [
                ("hawser.dev/cluster".into(), conn.host.cluster.to_string()),
                ("hawser.dev/edge".into(), conn.config.edge_id.clone()),
            ]
            .into(),
            ..Event::default()
        };
        let mut record = Self {
            conn: Rc::clone(conn),
            id,
            began: shared.clock.now(),
            event,
            slot: None,
            authenticated: false,
            upgrade: request.headers.contains_key(header::UPGRADE),
            long_running: attrs.is_some_and(RequestAttributes::is_long_running),
            started: false,
            code: 0,
            failure: BytesMut::new(),
            cut: None,
            bytes_in: 0,
            bytes_out: 0,
        };
        if let Some(action) = attrs.and_then(action) {
            record.note("hawser.dev/action", action.to_owned());
        }
        if let Some(session) = kubectl_session(&request.headers) {
            record.note("hawser.dev/kubectl-session", session.to_string());
        }
        record
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

    pub(crate) fn subject(&mut self, subject: &Subject) {
        self.authenticated = true;
        let user = &mut self.event.user;
        user.username = subject.user.to_string();
        user.groups.push("system:authenticated".to_owned());
        user.extra.insert(CREDENTIAL_ID.to_owned(), vec![subject.credential.to_string()]);
        self.note("hawser.dev/credential", subject.credential.to_string());
        if self.conn.config.audit_request_received {
            let mut event = self.event.clone();
            event.annotations.clear();
            self.write(&event);
        }
    }

    pub(crate) fn denied(&mut self, reason: &str) {
        self.decision("forbid", reason);
    }

    /// The exchange is let in: its last event has a place in the queue from here on.
    pub(crate) fn permit(&mut self, permit: &Permit, slot: Slot) {
        let policies: Vec<&str> = permit.policies().collect();
        let policies = policies.join(",");
        self.decision("allow", &format!("Hawser: allowed by {policies}"));
        self.note("hawser.dev/policy", policies);
        self.slot = Some(slot);
    }

    /// The head of the answer has gone out.
    pub(crate) fn head(&mut self, code: u16) {
        self.code = code;
        if self.long_running && !std::mem::replace(&mut self.started, true) {
            let mut event = self.event.clone();
            event.stage = Stage::ResponseStarted;
            event.stage_timestamp = self.conn.worker.shared.clock.wall();
            event.response_status = Some(ResponseStatus::code(code));
            self.write(&event);
        }
    }

    /// An answer of our own.
    pub(crate) fn answered(&mut self, status: &Status) {
        self.code = status.code;
        self.event.response_status = Some(ResponseStatus::from(status));
    }

    /// The exchange ended before its end, for this reason.
    pub(crate) fn cut(&mut self, reason: CloseReason) {
        self.cut = Some(reason);
    }

    /// Bytes of the answer's body, on their way to the client.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        self.bytes_out += bytes.len() as u64;
        if self.code >= 400 && self.failure.len() + bytes.len() <= FAILURE_BYTES_MAX {
            self.failure.extend_from_slice(bytes);
        }
    }

    /// As [`Record::sent`], for a stream that is no answer's body.
    pub(crate) fn streamed(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    pub(crate) fn received(&mut self, bytes: usize) {
        self.bytes_in += bytes as u64;
    }

    /// Counts the exchange, and takes its event, completed.
    fn close(&mut self) -> Event {
        let shared = &self.conn.worker.shared;
        shared.metrics.exchanges.get_or_create(&self.labels()).inc();
        if !self.long_running {
            shared.metrics.seconds.observe(shared.clock.now().duration_since(self.began).as_secs_f64());
        }
        if let Some(reason) = &self.cut {
            let reason = reason.as_str().to_owned();
            self.note("hawser.dev/cut-reason", reason);
        }
        self.note("hawser.dev/bytes-in", self.bytes_in.to_string());
        self.note("hawser.dev/bytes-out", self.bytes_out.to_string());
        let mut event = std::mem::take(&mut self.event);
        event.response_status = event.response_status.or_else(|| {
            Some(match self.code {
                // What the API server writes where nothing was answered (audit.go).
                0 => ResponseStatus {
                    status: "Success".to_owned(),
                    message: "Connection closed early".to_owned(),
                    ..ResponseStatus::code(200)
                },
                code => ResponseStatus::of_answer(code, &self.failure)
                    .unwrap_or_else(|| ResponseStatus::code(code)),
            })
        });
        // A failed sign-in has one event, of this stage, as in the API server's own log.
        event.stage = if self.authenticated { Stage::ResponseComplete } else { Stage::ResponseStarted };
        event.stage_timestamp = self.conn.worker.shared.clock.wall();
        event
    }

    fn labels(&self) -> ExchangeLabels {
        let outcome = match self.code {
            _ if self.cut.is_some() => Outcome::Cut,
            0..200 => Outcome::Informational,
            200..300 => Outcome::Success,
            300..400 => Outcome::Redirection,
            400..500 => Outcome::ClientError,
            500.. => Outcome::ServerError,
        };
        ExchangeLabels { cluster: self.conn.host.cluster.to_string(), outcome }
    }

    fn decision(&mut self, decision: &str, reason: &str) {
        self.note(DECISION, decision.to_owned());
        self.note(REASON, reason.to_owned());
        self.note("hawser.dev/decision", decision.to_owned());
    }

    fn note(&mut self, key: &'static str, value: String) {
        self.event.annotations.insert(key.into(), value);
    }

    /// An event before the last. What does not fit is counted there.
    fn write(&self, event: &Event) {
        if self.conn.worker.shared.audit.record(event).is_err() {
            tracing::warn!("an audit event found the queue full");
        }
    }
}

/// What a request does inside a workload, whatever its method and so its verb are.
fn action(attrs: &RequestAttributes) -> Option<&'static str> {
    match attrs.action() {
        Action::Exec => Some("exec"),
        Action::Attach => Some("attach"),
        Action::PortForward => Some("portforward"),
        Action::EphemeralContainers => Some("debug"),
        Action::PodProxy | Action::ServiceProxy | Action::NodeProxy => Some("proxy"),
        Action::Other => None,
    }
}

/// Of all requests of one kubectl command, and so of a stream that was tried over WebSocket and again over SPDY. The client's
/// word, like its user agent.
fn kubectl_session(headers: &HeaderMap) -> Option<Uuid> {
    Uuid::try_parse_ascii(headers.get("kubectl-session")?.as_bytes()).ok()
}

impl Drop for Record {
    fn drop(&mut self) {
        let mut event = self.close();
        match self.slot.take() {
            Some(slot) => slot.record(&event),
            None if self.authenticated => self.write(&event),
            None => {
                // HTTP/2 lets any UTF-8 through to here.
                event.request_uri.truncate(event.request_uri.floor_char_boundary(STRANGER_URI_BYTES_MAX));
                self.conn.worker.shared.audit.record_stranger(&event);
            }
        }
    }
}

/// A `Status` longer than this is recorded by its code alone.
const FAILURE_BYTES_MAX: usize = 16 * 1024;
/// How much of the target is kept of requests by people who could not sign in.
const STRANGER_URI_BYTES_MAX: usize = 2048;
