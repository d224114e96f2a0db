//! An upgraded stream. The bytes go on unchanged, through the walker of each direction; a session that must end early tells
//! the user why, and does not look like a success.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use hawser_frames::{Cut, Direction, Event, Session};
use hawser_kube::close::CloseReason;
use hawser_tunnel::{RecvHalf, SendHalf, StreamError};

use crate::{
    downstream::{
        ClientError,
        http1::{Reader, Writer},
    },
    error::EdgeError,
    exchange::Exchange,
    record::Record,
};

/// The running stream. Both directions run at once in one task; the walkers are borrowed between awaits only.
pub(super) struct Stream<'a> {
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

impl<'a> Stream<'a> {
    /// `session` walks the bytes; without one they are the backend's own.
    pub(super) fn new(exchange: &'a Exchange, session: Option<Session>) -> Self {
        Self {
            exchange,
            session: RefCell::new(session),
            to_client: RefCell::default(),
            taken: Cell::default(),
            client_ended: Cell::default(),
        }
    }

    /// Carries it to its end.
    pub(super) async fn run(
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
