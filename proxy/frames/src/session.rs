//! Both directions of one upgraded connection.
//!
//! The driver reads bytes from one side, calls [`Session::walk`] and writes what was appended to `forward` to the
//! other side. It must write that even when `walk` returns a [`Cut`], and stop after it.

use bytes::BytesMut;

use crate::channel::{Channels, FORWARD_PORTS_MAX, MessageReader, Protocol};
use crate::delivery::Delivery;
use crate::error::{Cut, Unsupported, Violation};
use crate::event::{Direction, Event, Sink};
use crate::exit::{ErrorText, ExitStatus};
use crate::spdy::streams::Streams;
use crate::{spdy, websocket};

/// Bytes held of a tunnelled SPDY frame that is not whole, with the WebSocket frames it is spread over.
pub const TUNNEL_HELD_BYTES_MAX: usize = 256 * 1024;

/// What the connection was upgraded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `Upgrade: SPDY/3.1`.
    Spdy,
    /// `Upgrade: websocket`.
    WebSocket,
}

/// What the request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `pods/exec`.
    Exec,
    /// `pods/attach`.
    Attach,
    /// `pods/portforward`.
    PortForward,
    /// `pods/log`.
    Logs,
    /// A watch of any resource.
    Watch,
}

/// What the query of the request asks for; nothing else may flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `stdin=true`.
    pub stdin: bool,
    /// `stdout=true`.
    pub stdout: bool,
    /// `stderr=true`; without effect where `tty` is.
    pub stderr: bool,
    /// `tty=true`.
    pub tty: bool,
    /// The number of `ports` (port-forward over WebSocket channels only).
    pub ports: usize,
}

impl Asked {
    /// The number of SPDY streams the server waits for: those asked for, and the error stream.
    pub(crate) fn spdy_streams(self) -> usize {
        let wanted = [self.stdin, self.stdout, self.stderr && !self.tty, self.tty];
        1 + wanted.into_iter().filter(|wanted| *wanted).count()
    }
}

/// All that is known when the 101 has been validated.
#[derive(Clone, Copy, Debug)]
pub struct SessionSpec<'a> {
    /// The transport of the 101.
    pub transport: Transport,
    /// What the request is for.
    pub kind: Kind,
    /// The protocol the 101 names (`v4.channel.k8s.io`, ...), empty if none.
    pub protocol: &'a str,
    /// What the request asks for.
    pub asked: Asked,
}

/// The gate of one upgraded connection.
#[derive(Debug)]
pub struct Session {
    pub(crate) kind: Kind,
    pub(crate) client: Lane,
    pub(crate) server: Lane,
    pub(crate) streams: Streams,
    pub(crate) delivery: Delivery,
    pub(crate) protocol: Option<Protocol>,
    over: Option<Cut>,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) walker: Walker,
    held: BytesMut,
    held_bytes_max: usize,
    forwarded: u64,
    end: Option<End>,
}

#[derive(Debug)]
pub(crate) enum Walker {
    Spdy(spdy::FrameWalker),
    WebSocket(websocket::FrameWalker),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    AtBoundary,
    InsideFrame,
}

impl Session {
    /// A session that has seen no byte after the 101.
    ///
    /// # Errors
    /// [`Unsupported`] where no walker reads what was negotiated.
    pub fn new(spec: SessionSpec<'_>) -> Result<Self, Unsupported> {
        use Direction::{ClientToServer, ServerToClient};
        let (layout, json) = Layout::of(&spec)?;
        let streams = match spec.kind {
            Kind::PortForward => Streams::forward(),
            Kind::Exec | Kind::Attach | Kind::Logs | Kind::Watch => Streams::exec(spec.asked),
        };
        let protocol = match layout {
            Layout::Channels(protocol) => Some(protocol),
            Layout::Spdy | Layout::Tunnel | Layout::Output => None,
        };
        Ok(Self {
            kind: spec.kind,
            client: Lane::new(&layout, ClientToServer),
            server: Lane::new(&layout, ServerToClient),
            streams,
            delivery: Delivery::new(ErrorText::new(json)),
            protocol,
            over: None,
        })
    }

    /// Reads `input`, which came in `direction`, and appends to `forward` what may go on, unchanged: all bytes up
    /// to the last whole frame header or control frame, and payload as far as it is there. The rest is held.
    /// `events` is told what the appended bytes mean.
    ///
    /// # Errors
    /// [`Cut`] when the bytes left the grammar; what came before the offending frame has been appended. Every
    /// later call gives the same answer.
    pub fn walk(
        &mut self,
        direction: Direction,
        input: &[u8],
        forward: &mut BytesMut,
        events: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Cut> {
        if let Some(cut) = self.over {
            return Err(cut);
        }
        let lane = match direction {
            Direction::ClientToServer => &mut self.client,
            Direction::ServerToClient => &mut self.server,
        };
        lane.walk(input, forward, &mut self.streams, &mut self.delivery, events).map_err(|Violation(rule)| {
            let cut = Cut { direction, rule, forwarded: lane.forwarded };
            self.over = Some(cut);
            cut
        })
    }

    /// No more bytes will come in `direction`; what is held of it is dropped.
    pub fn end(&mut self, direction: Direction) {
        let lane = match direction {
            Direction::ClientToServer => &mut self.client,
            Direction::ServerToClient => &mut self.server,
        };
        let inside = lane.walker.mid_frame() || !lane.held.is_empty();
        lane.held = BytesMut::new();
        lane.end = Some(if inside { End::InsideFrame } else { End::AtBoundary });
    }

    /// How the command ended; `None` until the server has said so, and for what is not exec or attach.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.has_command().then(|| self.delivery.error.exit_status()).flatten()
    }

    /// Is this an exec or attach whose server has not said yet how the command ended? A client that sees the bare end
    /// of such a session over SPDY takes it for success.
    #[must_use]
    pub fn owes_status(&self) -> bool {
        self.has_command() && !self.delivery.error.has_ended()
    }

    /// The session has ended in an orderly way: the server said goodbye (a close frame, GOAWAY) or ended between two
    /// frames, for exec and attach it has said how the command ended, and the client has ended as well (kubectl
    /// stops in the middle of a frame when the server is done). Closing such a session hides nothing from the user.
    #[must_use]
    pub fn finished(&self) -> bool {
        let answered = !self.has_command() || self.delivery.error.has_ended();
        self.over.is_none() && answered && self.client.is_done() && self.server.is_done_at_boundary()
    }

    /// Nothing may be walked any more: the last bytes of the server's direction have been made by us.
    pub(crate) fn stop(&mut self) {
        let forwarded = self.server.forwarded;
        let cut = Cut { direction: Direction::ServerToClient, rule: "session was ended", forwarded };
        self.over.get_or_insert(cut);
    }

    const fn has_command(&self) -> bool {
        matches!(self.kind, Kind::Exec | Kind::Attach)
    }
}

impl Lane {
    fn new(layout: &Layout, direction: Direction) -> Self {
        use websocket::{FrameWalker, Payload};
        let (walker, held_bytes_max) = match layout {
            Layout::Spdy => {
                (Walker::Spdy(spdy::FrameWalker::new(direction)), websocket::MESSAGE_HELD_BYTES_MAX)
            }
            Layout::Tunnel => {
                let payload = Payload::Tunnel(spdy::FrameWalker::new(direction));
                (Walker::WebSocket(FrameWalker::new(direction, payload)), TUNNEL_HELD_BYTES_MAX)
            }
            Layout::Channels(protocol) => {
                let payload = Payload::Channels(MessageReader::new(direction, *protocol));
                (Walker::WebSocket(FrameWalker::new(direction, payload)), websocket::MESSAGE_HELD_BYTES_MAX)
            }
            Layout::Output => {
                let walker = FrameWalker::new(direction, Payload::Output);
                (Walker::WebSocket(walker), websocket::MESSAGE_HELD_BYTES_MAX)
            }
        };
        Self { walker, held: BytesMut::new(), held_bytes_max, forwarded: 0, end: None }
    }

    fn walk(
        &mut self,
        input: &[u8],
        forward: &mut BytesMut,
        streams: &mut Streams,
        delivery: &mut Delivery,
        events: &mut Sink<'_>,
    ) -> Result<(), Violation> {
        let mut safe = 0;
        let result = match &mut self.walker {
            Walker::Spdy(walker) => walker.push(input, &mut safe, streams, delivery, events),
            Walker::WebSocket(walker) => walker.push(input, &mut safe, streams, delivery, events),
        };
        let (safe, rest) = input.split_at(safe);
        if !safe.is_empty() {
            self.forwarded += (self.held.len() + safe.len()) as u64;
            forward.extend_from_slice(&self.held);
            forward.extend_from_slice(safe);
            self.held.clear();
            if self.held.capacity() > HELD_BYTES_KEPT {
                self.held = BytesMut::new();
            }
        }
        result?;
        if self.held.len() + rest.len() > self.held_bytes_max {
            return Err(Violation("too much to hold for one frame"));
        }
        self.held.extend_from_slice(rest);
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.end.is_some() || self.walker.said_goodbye()
    }

    fn is_done_at_boundary(&self) -> bool {
        self.is_done() && self.end != Some(End::InsideFrame)
    }
}

impl Walker {
    fn mid_frame(&self) -> bool {
        match self {
            Self::Spdy(walker) => walker.mid_frame(),
            Self::WebSocket(walker) => {
                walker.mid_frame() || walker.tunnel().is_some_and(spdy::FrameWalker::mid_frame)
            }
        }
    }

    fn said_goodbye(&self) -> bool {
        match self {
            Self::Spdy(walker) => walker.gone(),
            Self::WebSocket(walker) => walker.said_goodbye(),
        }
    }

    /// The bytes let go on end between two frames, and more may follow.
    pub(crate) fn takes_more(&self) -> bool {
        let closed = match self {
            Self::Spdy(_) => false,
            Self::WebSocket(walker) => walker.closed(),
        };
        !closed && !self.mid_frame()
    }
}

/// What the bytes of the connection are made of.
#[derive(Clone, Copy, Debug)]
enum Layout {
    Spdy,
    Tunnel,
    Channels(Protocol),
    Output,
}

impl Layout {
    /// The layout, and whether the error stream carries JSON.
    fn of(spec: &SessionSpec<'_>) -> Result<(Self, bool), Unsupported> {
        use Kind::{Attach, Exec, Logs, PortForward, Watch};
        let exec = Channels::Exec(spec.asked);
        let channels =
            |base64, close_signal, channels| Self::Channels(Protocol { base64, close_signal, channels });
        Ok(match (spec.transport, spec.kind, spec.protocol) {
            (Transport::Spdy, Exec | Attach, "v4.channel.k8s.io") => (Self::Spdy, true),
            (Transport::Spdy, PortForward, "portforward.k8s.io") => (Self::Spdy, false),
            (Transport::WebSocket, PortForward, "SPDY/3.1+portforward.k8s.io") => (Self::Tunnel, false),
            (Transport::WebSocket, Logs | Watch, _) => (Self::Output, false),
            (Transport::WebSocket, Exec | Attach, "v5.channel.k8s.io") => (channels(false, true, exec), true),
            (Transport::WebSocket, Exec | Attach, "v4.channel.k8s.io") => {
                (channels(false, false, exec), true)
            }
            (Transport::WebSocket, Exec | Attach, "v4.base64.channel.k8s.io") => {
                (channels(true, false, exec), true)
            }
            (Transport::WebSocket, Exec | Attach, "" | "channel.k8s.io") => {
                (channels(false, false, exec), false)
            }
            (Transport::WebSocket, Exec | Attach, "base64.channel.k8s.io") => {
                (channels(true, false, exec), false)
            }
            (Transport::WebSocket, PortForward, "" | "v4.channel.k8s.io") => {
                (channels(false, false, forward_channels(spec.asked.ports)?), false)
            }
            (Transport::WebSocket, PortForward, "v4.base64.channel.k8s.io") => {
                (channels(true, false, forward_channels(spec.asked.ports)?), false)
            }
            (Transport::Spdy | Transport::WebSocket, Exec | Attach | PortForward | Logs | Watch, _) => {
                return Err(Unsupported::Protocol {
                    transport: spec.transport,
                    kind: spec.kind,
                    protocol: spec.protocol.to_owned(),
                });
            }
        })
    }
}

/// Room for held bytes that a quiet direction keeps.
const HELD_BYTES_KEPT: usize = 4096;

fn forward_channels(ports: usize) -> Result<Channels, Unsupported> {
    let count = u8::try_from(ports).ok().filter(|_| (1..=FORWARD_PORTS_MAX).contains(&ports));
    count.map(|count| Channels::Forward(count * 2)).ok_or(Unsupported::Ports { got: ports })
}
