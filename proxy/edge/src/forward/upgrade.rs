//! Exec, attach, port-forward and the other streams that leave HTTP. After a validated 101 the bytes go on unchanged,
//! through the walker of each direction; a session that must end early tells the user why, and does not look like a
//! success.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use hawser_frames::{Cut, Direction, Event, Kind, Session, SessionSpec};
use hawser_kube::{
    close::CloseReason,
    headers,
    status::Status,
    upgrade::{self, Upgrade},
};
use hawser_tunnel::{
    Delivery, Link, RecvHalf, SendHalf, StreamError, TunnelStream, Verdict,
    wire::{ReplyV1, RequestV1},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{agent_status, final_reply, first_message, no_answer, not_taken, route};
use crate::{
    downstream::{
        ClientError, Request, RequestBody, Responder,
        http1::{Reader, Writer},
    },
    error::EdgeError,
    exchange::Exchange,
    record::Record,
};

/// Carries one upgrade to its end.
pub(crate) async fn forward(
    exchange: &Exchange,
    upgrade: Upgrade,
    request: &mut Request<'_>,
    responder: &mut Responder<'_>,
    record: &mut Record,
) -> Result<(), EdgeError> {
    upgrade.forward_headers(&mut request.headers);
    let message = first_message(exchange, request, true);
    let (RequestBody::Http1(body), Responder::Http1(responder)) = (&mut request.body, responder) else {
        return Err(Status::bad_request("upgrades need HTTP/1.1").into());
    };
    responder.close_after();
    if body.raw().has_early_bytes() {
        // Nobody agrees whose bytes these are: the API server throws them away, others read them as stream data.
        return Err(Status::bad_request("bytes were sent before the connection was upgraded").into());
    }
    let opened = tokio::select! {
        biased;
        opened = open(exchange, &message) => opened?,
        () = body.gone() => return Err(ClientError::Gone.into()),
        reason = exchange.scope().cancelled() => return Err(Status::service_unavailable(reason.sentence(), None).into()),
    };
    let Opened { status, mut headers, send, mut recv } = opened;
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return refused(status, headers, &mut recv, responder, record, exchange).await;
    }
    let protocol = upgrade.check_response(status.as_u16(), &headers).map_err(Status::bad_gateway)?;
    let session = session(&upgrade, &protocol)?;
    upgrade.response_headers(&mut headers);
    record.head(status.as_u16());
    if body.raw().has_early_bytes() {
        return Err(EdgeError::Cut(CloseReason::BadStream("bytes before the 101".into())));
    }
    let writer = responder.switch(&headers).await?;
    let stream = Stream {
        exchange,
        session: RefCell::new(session),
        to_client: RefCell::new(BytesMut::new()),
        taken: Cell::new(0),
        client_ended: Cell::new(false),
    };
    stream.run(body.raw(), writer, send, recv, record).await
}

/// A tunnel stream with the cluster's answer to the upgrade.
struct Opened {
    status: StatusCode,
    headers: HeaderMap,
    send: SendHalf,
    recv: RecvHalf,
}

/// Asks one agent after the other, as long as they did not take the request.
async fn open(exchange: &Exchange, message: &RequestV1) -> Result<Opened, EdgeError> {
    let mut delivery = Delivery::new();
    let mut last = None;
    loop {
        let link = route(exchange, last).await?;
        last = Some(link.id());
        let (verdict, status) = match ask(exchange, &link, message, &mut delivery).await {
            Ok(opened) => return Ok(opened),
            Err(Asked::Answer(status)) => return Err(status.into()),
            Err(Asked::NotTaken(status)) => (delivery.on_refused(), status),
            // kubectl repeats a failed WebSocket exec over SPDY by itself; nothing is repeated here.
            Err(Asked::Lost(why)) => (delivery.on_loss(false), broken(exchange, &why)),
        };
        match verdict {
            Verdict::Retry => exchange.conn.worker.shared.metrics.retries.inc(),
            Verdict::MaybeDelivered | Verdict::NotDelivered | Verdict::Truncated => return Err(status.into()),
        };
    }
}

/// Why an agent did not open the upgrade.
enum Asked {
    /// The client gets this answer.
    Answer(Status),
    /// The API server has not seen the request.
    NotTaken(Status),
    /// It may have.
    Lost(String),
}

async fn ask(
    exchange: &Exchange,
    link: &Link,
    message: &RequestV1,
    delivery: &mut Delivery,
) -> Result<Opened, Asked> {
    let not_taken = |why: &str| Asked::NotTaken(not_taken(exchange, why));
    let stream = link.open().await.map_err(|error| not_taken(&error.to_string()))?;
    let TunnelStream { mut send, mut recv } = stream;
    // An agent that did not get the whole of it cannot have acted on it.
    send.send_request(message).await.map_err(|error| not_taken(&error.to_string()))?;
    delivery.on_sent();
    match final_reply(&mut recv, delivery, || {}).await {
        Ok(ReplyV1::Head { status, headers, .. }) => {
            let status = StatusCode::from_u16(status).map_err(|_number| Asked::Lost(no_answer(status)))?;
            Ok(Opened { status, headers, send, recv })
        }
        Ok(ReplyV1::Refused { code, message }) if delivery.may_move() => {
            Err(Asked::NotTaken(agent_status(code, message)))
        }
        Err(StreamError::Refused) if delivery.may_move() => {
            Err(not_taken("the agent takes no more requests"))
        }
        // The agent has said before that the request went on.
        Ok(ReplyV1::Refused { message, .. }) => Err(Asked::Lost(message)),
        Ok(ReplyV1::Failed { code, message, .. }) => Err(Asked::Answer(agent_status(code, message))),
        Ok(ReplyV1::Dispatched) => Err(Asked::Lost("the reply ended before its head".to_owned())),
        Err(error) => Err(Asked::Lost(error.to_string())),
    }
}

fn broken(exchange: &Exchange, why: &str) -> Status {
    Status::bad_gateway(format!(
        "cluster {}: the session could not be opened ({why}); try again",
        exchange.cluster()
    ))
}

/// The cluster's own refusal, whole, with the length that waiting clients need; then the connection closes.
async fn refused(
    status: StatusCode,
    mut headers: HeaderMap,
    recv: &mut RecvHalf,
    responder: &mut crate::downstream::http1::Responder<'_>,
    record: &mut Record,
    exchange: &Exchange,
) -> Result<(), EdgeError> {
    if status.as_u16() < 400 {
        // A redirect or a success would be followed or believed (CVE-2020-8559, CVE-2018-1002105).
        return Err(Status::bad_gateway(format!("the cluster answered an upgrade with {status}")).into());
    }
    let wait = exchange.conn.config.limits.response_wait;
    let body = tokio::time::timeout(wait, refusal(recv, exchange)).await.map_err(|_elapsed| {
        Status::gateway_timeout(format!(
            "cluster {}: the session was refused, but not why within {wait:?}; try again",
            exchange.cluster()
        ))
    })??;
    headers::sanitize_response(&mut headers);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    record.head(status.as_u16());
    record.sent(&body);
    responder.whole(status, headers, body).await?;
    Ok(())
}

/// Its body, up to a bound.
async fn refusal(recv: &mut RecvHalf, exchange: &Exchange) -> Result<Bytes, Status> {
    let mut body = BytesMut::new();
    while let Some(bytes) = recv.read().await.map_err(|error| broken(exchange, &error.to_string()))? {
        body.extend_from_slice(&bytes);
        if body.len() > REFUSAL_BYTES_MAX {
            return Err(Status::bad_gateway(
                "the cluster refused the session with more words than are passed on; see the API server's log",
            ));
        }
    }
    Ok(body.freeze())
}

/// The walkers for what was negotiated; `None` below `*/proxy`, where the protocol is the backend's own.
fn session(upgrade: &Upgrade, protocol: &str) -> Result<Option<Session>, Status> {
    let kind = match upgrade.session {
        upgrade::Session::Exec => Kind::Exec,
        upgrade::Session::Attach => Kind::Attach,
        upgrade::Session::PortForward => Kind::PortForward,
        upgrade::Session::Watch => Kind::Watch,
        upgrade::Session::Log => Kind::Logs,
        upgrade::Session::Raw => return Ok(None),
    };
    let spec = SessionSpec {
        transport: match upgrade.transport {
            upgrade::Transport::Spdy => hawser_frames::Transport::Spdy,
            upgrade::Transport::WebSocket => hawser_frames::Transport::WebSocket,
        },
        kind,
        protocol,
        asked: hawser_frames::Asked {
            stdin: upgrade.asked.stdin,
            stdout: upgrade.asked.stdout,
            stderr: upgrade.asked.stderr,
            tty: upgrade.asked.tty,
            ports: upgrade.asked.ports,
        },
    };
    Session::new(spec).map(Some).map_err(|unsupported| Status::bad_gateway(unsupported.to_string()))
}

/// The running stream. Both directions run at once in one task; the walkers are borrowed between awaits only.
struct Stream<'a> {
    exchange: &'a Exchange,
    session: RefCell<Option<Session>>,
    /// Accepted bytes on their way to the client: kept here, so that none is lost when the session is cut.
    to_client: RefCell<BytesMut>,
    /// Bytes that the client has taken.
    taken: Cell<usize>,
    client_ended: Cell<bool>,
}

/// Why a direction ended.
enum End {
    /// The side it reads from has ended.
    Eof,
    /// The client's connection is broken.
    ClientGone,
    /// The stream must end now, for this reason.
    Cut(CloseReason),
}

impl Stream<'_> {
    async fn run(
        self,
        reader: &mut Reader,
        writer: &mut Writer,
        send: SendHalf,
        mut recv: RecvHalf,
        record: &mut Record,
    ) -> Result<(), EdgeError> {
        let counts = RefCell::new((0_usize, 0_usize));
        let end = {
            let up = self.up(reader, send, &counts);
            let down = self.down(writer, &mut recv, &counts);
            let both = async {
                tokio::pin!(up, down);
                tokio::select! {
                    biased;
                    end = &mut down => end,
                    end = &mut up => match end {
                        End::Eof => self.farewell(down).await,
                        end @ (End::ClientGone | End::Cut(_)) => end,
                    },
                }
            };
            tokio::select! {
                biased;
                end = both => end,
                reason = self.exchange.scope().cancelled() => End::Cut(reason),
            }
        };
        let (received, sent) = *counts.borrow();
        record.received(received);
        record.streamed(sent);
        match end {
            End::Eof => Ok(()),
            End::ClientGone => Err(ClientError::Gone.into()),
            End::Cut(reason) => {
                self.exchange.conn.worker.shared.metrics.cut_sessions.inc();
                recv.stop(&reason);
                self.tell(writer, &reason).await;
                Err(EdgeError::Cut(reason))
            }
        }
    }

    /// What the server still has to say to a client that has said all: for as long as the client gets something.
    async fn farewell(&self, mut down: Pin<&mut impl Future<Output = End>>) -> End {
        loop {
            let before = self.taken.get();
            match tokio::time::timeout(FAREWELL, down.as_mut()).await {
                Ok(end) => return end,
                Err(_elapsed) if self.taken.get() > before => {}
                Err(_elapsed) => return End::ClientGone,
            }
        }
    }

    /// Client to cluster.
    async fn up(&self, reader: &mut Reader, mut send: SendHalf, counts: &RefCell<(usize, usize)>) -> End {
        loop {
            let Ok(bytes) = reader.raw().await else { return End::ClientGone };
            if bytes.is_empty() {
                self.client_ended.set(true);
                self.ended(Direction::ClientToServer);
                send.finish();
                return End::Eof;
            }
            let mut out = BytesMut::new();
            let verdict = self.walk(Direction::ClientToServer, bytes, &mut out);
            counts.borrow_mut().0 += out.len();
            if !out.is_empty() && send.write(out.freeze()).await.is_err() {
                // The other direction knows why.
                return std::future::pending().await;
            }
            if let Err(cut) = verdict {
                return End::Cut(CloseReason::BadStream(cut.rule.into()));
            }
        }
    }

    /// Cluster to client.
    async fn down(&self, writer: &mut Writer, recv: &mut RecvHalf, counts: &RefCell<(usize, usize)>) -> End {
        loop {
            let bytes = match recv.read().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return self.server_ended(),
                Err(StreamError::Reset(reason) | StreamError::Stopped(reason)) => return End::Cut(reason),
                Err(
                    StreamError::LinkLost(_)
                    | StreamError::Refused
                    | StreamError::Ended
                    | StreamError::Truncated
                    | StreamError::Wire(_),
                ) => return End::Cut(CloseReason::LinkLost),
            };
            let mut out = BytesMut::new();
            let verdict = self.walk(Direction::ServerToClient, bytes, &mut out);
            counts.borrow_mut().1 += out.len();
            self.to_client.borrow_mut().unsplit(out);
            while !self.to_client.borrow().is_empty() {
                let Ok(written) = self.exchange.taken(writer.some(&self.to_client)).await else {
                    return End::ClientGone;
                };
                self.taken.set(self.taken.get() + written);
            }
            if let Err(cut) = verdict {
                return End::Cut(CloseReason::BadStream(cut.rule.into()));
            }
        }
    }

    fn walk(&self, direction: Direction, bytes: Bytes, out: &mut BytesMut) -> Result<(), Cut> {
        match &mut *self.session.borrow_mut() {
            Some(session) => session.walk(direction, &bytes, out, &mut |_event: Event<'_>| {}),
            None => {
                out.extend_from_slice(&bytes);
                Ok(())
            }
        }
    }

    /// The server's direction has ended: in good order, unless a command still owes how it went. A SPDY client would take
    /// the bare end of its connection for success.
    fn server_ended(&self) -> End {
        let owing = match &mut *self.session.borrow_mut() {
            Some(session) => session.owes_status(),
            None => false,
        };
        self.ended(Direction::ServerToClient);
        if owing && !self.client_ended.get() { End::Cut(CloseReason::UpstreamGone) } else { End::Eof }
    }

    fn ended(&self, direction: Direction) {
        if let Some(session) = &mut *self.session.borrow_mut() {
            session.end(direction);
        }
    }

    /// Says on the user's screen why the session ends: a dropped SPDY connection looks like success.
    async fn tell(&self, writer: &mut Writer, reason: &CloseReason) {
        let closing =
            self.session.borrow_mut().as_mut().and_then(|session| session.closing_frames(&reason.sentence()));
        let closing_is_missing = closing.is_none();
        if let Some(frames) = closing {
            self.to_client.borrow_mut().extend_from_slice(&frames);
        }
        let flush = async {
            while !self.to_client.borrow().is_empty() {
                if writer.some(&self.to_client).await.is_err() {
                    return;
                }
            }
        };
        let taken = tokio::time::timeout(FAREWELL, flush).await.is_ok();
        if closing_is_missing || !taken {
            // Nothing readable can follow: only a broken connection does not look like a good end.
            writer.break_off();
        }
    }
}

/// How long the last words of either side may take, or a pause between them.
const FAREWELL: Duration = Duration::from_secs(5);
/// Longest refusal of an upgrade that is passed on.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
