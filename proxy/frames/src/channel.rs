//! The channels inside WebSocket messages: `channel.k8s.io`, its v4 and v5, and their base64 forms.
//!
//! The first byte of each message says which channel the rest belongs to. The server takes each *frame* for a
//! message, so frames are never joined here. A raw message streams once its channel is judged; a base64 message is
//! held until it is decoded, because Go's decoder ignores line breaks and drops what it cannot decode.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::delivery::{Delivery, Unit};
use crate::error::Violation;
use crate::event::{Direction, Event, Sink, Stream};
use crate::session::Asked;

/// Bytes of one base64 message, channel included; servers send at most 44 KiB.
pub const BASE64_MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Ports of one port-forward over channels: two channels for each, all of them printable characters in base64.
pub const FORWARD_PORTS_MAX: usize = 32;

/// What the channels are, by the protocol of the 101.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Protocol {
    /// Messages are text: one character for the channel, then base64.
    pub(crate) base64: bool,
    /// `[255, channel]` from the client ends a channel.
    pub(crate) close_signal: bool,
    pub(crate) channels: Channels,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channels {
    Exec(Asked),
    /// This many channels, two for each port.
    Forward(u8),
}

/// Reader of the messages of one direction.
#[derive(Debug)]
pub(crate) struct MessageReader {
    direction: Direction,
    protocol: Protocol,
    message: Message,
    closed: [bool; 5],
}

#[derive(Debug)]
enum Message {
    /// Nothing read; the length of the whole is known.
    Start(usize),
    Data(Stream<'static>),
    CloseSignal,
    Base64(Vec<u8>),
}

impl MessageReader {
    pub(crate) const fn new(direction: Direction, protocol: Protocol) -> Self {
        Self { direction, protocol, message: Message::Start(0), closed: [false; 5] }
    }

    /// A message begins; judged by opcode and length alone.
    pub(crate) fn begin(&mut self, text: bool, length: u64) -> Result<(), Violation> {
        if text != self.protocol.base64 {
            return Err(Violation("text or binary against the protocol"));
        }
        let length = usize::try_from(length).or(Err(Violation("message too long")))?;
        self.message = Message::Start(length);
        if self.protocol.base64 {
            if length > BASE64_MESSAGE_BYTES_MAX {
                return Err(Violation("base64 message too long"));
            }
            if length > 0 && length % 4 != 1 {
                return Err(Violation("base64 message not in whole groups"));
            }
            self.message = Message::Base64(Vec::new());
        }
        Ok(())
    }

    /// Reads a piece of the message; returns how many of its bytes may go on.
    pub(crate) fn push(
        &mut self,
        piece: &[u8],
        delivery: &mut Delivery,
        events: &mut Sink<'_>,
    ) -> (usize, Result<(), Violation>) {
        let Some((first, rest)) = piece.split_first() else { return (0, Ok(())) };
        match &mut self.message {
            Message::Start(length) => {
                let body = *length - 1;
                match self.judge_channel(*first, body) {
                    Ok(message) => self.message = message,
                    Err(violation) => return (0, Err(violation)),
                }
                let (accepted, result) = self.push(rest, delivery, events);
                (if accepted > 0 { accepted + 1 } else { 0 }, result)
            }
            Message::Data(stream) => delivery.data(*stream, piece, false, Unit::Byte, events),
            Message::CloseSignal => (0, self.close_channel(*first, events)),
            Message::Base64(text) => {
                text.extend_from_slice(piece);
                (0, Ok(()))
            }
        }
    }

    /// The message is whole, and may go on with everything held for it.
    pub(crate) fn finish(&mut self, delivery: &mut Delivery, events: &mut Sink<'_>) -> Result<(), Violation> {
        let message = std::mem::replace(&mut self.message, Message::Start(0));
        let Message::Base64(text) = message else { return Ok(()) };
        let Some((first, encoded)) = text.split_first() else { return Ok(()) };
        let channel = first.checked_sub(b'0').ok_or(Violation("channel unknown"))?;
        let bytes = STANDARD.decode(encoded).or(Err(Violation("base64 does not decode")))?;
        let stream = self.judge_data(channel, bytes.len())?;
        delivery.data(stream, &bytes, false, Unit::Message, events).1
    }

    fn judge_channel(&self, channel: u8, body: usize) -> Result<Message, Violation> {
        let client = self.direction == Direction::ClientToServer;
        if client && self.protocol.close_signal && channel == CLOSE_SIGNAL {
            return if body == 1 { Ok(Message::CloseSignal) } else { Err(Violation("close signal length")) };
        }
        Ok(Message::Data(self.judge_data(channel, body)?))
    }

    fn judge_data(&self, channel: u8, body: usize) -> Result<Stream<'static>, Violation> {
        let client = self.direction == Direction::ClientToServer;
        let asked = match self.protocol.channels {
            Channels::Forward(count) if channel < count && (!client || channel.is_multiple_of(2)) => {
                return Ok(Stream::Channel(channel));
            }
            Channels::Forward(_) => return Err(Violation("channel unknown")),
            Channels::Exec(asked) => asked,
        };
        let (stream, wanted) = match (channel, client) {
            (STDIN, true) => (Stream::Stdin, asked.stdin),
            (RESIZE, true) => (Stream::Resize, true),
            (STDOUT, false) => (Stream::Stdout, asked.stdout),
            (STDERR, false) => (Stream::Stderr, asked.stderr),
            (ERROR, false) => (Stream::Error, true),
            _ => return Err(Violation("channel unknown")),
        };
        if !wanted && body > 0 {
            return Err(Violation("channel not asked for in the request"));
        }
        if client && self.closed[usize::from(channel)] {
            return Err(Violation("data after the channel was closed"));
        }
        Ok(stream)
    }

    fn close_channel(&mut self, channel: u8, events: &mut Sink<'_>) -> Result<(), Violation> {
        let stream = match channel {
            STDIN => Stream::Stdin,
            RESIZE => Stream::Resize,
            _ => return Err(Violation("close signal for an unknown channel")),
        };
        let closed = &mut self.closed[usize::from(channel)];
        if std::mem::replace(closed, true) {
            return Err(Violation("channel closed twice"));
        }
        events(Event::Fin { stream });
        Ok(())
    }
}

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
pub(crate) const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE_SIGNAL: u8 = 255;
