//! WebSocket frames of one direction, in the part of RFC 6455 that every server of Kubernetes reads in one way.
//!
//! `golang.org/x/net/websocket` (channels, logs, watch) takes each frame for a message and checks neither FIN, RSV
//! nor opcode, so none of these may be out of the ordinary. The port-forward tunnel is read by `gorilla/websocket`,
//! which joins fragments; there they are allowed, and the payload is one stream of SPDY frames.

use crate::channel::{BASE64_MESSAGE_BYTES_MAX, MessageReader};
use crate::delivery::{Delivery, Unit};
use crate::error::Violation;
use crate::event::{Direction, Event, Sink, Stream};
use crate::spdy;
use crate::spdy::streams::Streams;

/// Payload of one frame; the server ends the connection above it.
pub const FRAME_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Reader of one direction of a WebSocket connection.
#[derive(Debug)]
pub(crate) struct FrameWalker {
    direction: Direction,
    payload: Payload,
    state: State,
    /// The frame header, or the control frame, that is not whole yet.
    held: Vec<u8>,
    /// The last data frame had no FIN (tunnel only).
    in_message: bool,
    /// The same of what has been let go on.
    forwarded_in_message: bool,
    /// Pings and pongs that wait behind something held, and are reported when it goes on.
    keep_alives: usize,
    mid_frame: bool,
    closed: bool,
}

/// What the data frames carry.
#[derive(Debug)]
pub(crate) enum Payload {
    /// Channels of exec, attach or the old port-forward.
    Channels(MessageReader),
    /// Logs and watch.
    Output,
    /// SPDY/3.1 (`SPDY/3.1+portforward.k8s.io`).
    Tunnel(spdy::FrameWalker),
}

#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    Control { opcode: u8, head: usize, length: usize },
    Data { left: u64, mask: Option<[u8; 4]> },
}

impl FrameWalker {
    pub(crate) const fn new(direction: Direction, payload: Payload) -> Self {
        Self {
            direction,
            payload,
            state: State::Header,
            held: Vec::new(),
            in_message: false,
            forwarded_in_message: false,
            keep_alives: 0,
            mid_frame: false,
            closed: false,
        }
    }

    /// Reads `input`. `safe` becomes the number of its bytes that may go on; what follows is held, or is cut.
    pub(crate) fn push(
        &mut self,
        input: &[u8],
        safe: &mut usize,
        streams: &mut Streams,
        delivery: &mut Delivery,
        events: &mut Sink<'_>,
    ) -> Result<(), Violation> {
        let mut at = 0;
        loop {
            match self.state {
                State::Header => {
                    if self.closed && at < input.len() {
                        return Err(Violation("bytes after the close frame"));
                    }
                    let Some(state) = self.header(input, &mut at)? else { return Ok(()) };
                    self.state = state;
                }
                State::Control { opcode, head, length } => {
                    at += self.hold(&input[at..], head + length);
                    if self.held.len() < head + length {
                        return Ok(());
                    }
                    self.control(opcode, head, delivery, events)?;
                    self.next_frame(at, safe, events);
                }
                State::Data { left: 0, .. } => {
                    if let Payload::Channels(reader) = &mut self.payload {
                        reader.finish(delivery, events)?;
                    }
                    self.next_frame(at, safe, events);
                }
                State::Data { left, mask } => {
                    let piece_max = if mask.is_some() { UNMASK_BYTES } else { usize::MAX };
                    let left_here = usize::try_from(left).unwrap_or(usize::MAX).min(piece_max);
                    let take = left_here.min(input.len() - at);
                    if take == 0 {
                        return Ok(());
                    }
                    let piece = &input[at..at + take];
                    let (accepted, result) = self.data(piece, mask, streams, delivery, events);
                    let whole = take as u64 == left;
                    if accepted > 0 {
                        *safe = at + accepted;
                        self.let_go(!(whole && accepted == take), events);
                    }
                    result?;
                    at += take;
                    let mask = mask.map(|mut mask| {
                        mask.rotate_left(take % 4);
                        mask
                    });
                    self.state = State::Data { left: left - take as u64, mask };
                }
            }
        }
    }

    /// A frame has been let go on in part: nothing can be put between it and its end.
    pub(crate) const fn mid_frame(&self) -> bool {
        self.mid_frame
    }

    /// A message has been let go on in part, up to the end of a frame: what follows is a continuation.
    pub(crate) const fn continues_message(&self) -> bool {
        self.forwarded_in_message
    }

    /// A close frame was read; nothing goes on after it.
    pub(crate) const fn closed(&self) -> bool {
        self.closed
    }

    /// A close frame has been let go on.
    pub(crate) fn said_goodbye(&self) -> bool {
        self.closed && self.nothing_held_inside()
    }

    /// The walker of the SPDY frames inside.
    pub(crate) const fn tunnel(&self) -> Option<&spdy::FrameWalker> {
        match &self.payload {
            Payload::Tunnel(walker) => Some(walker),
            Payload::Channels(_) | Payload::Output => None,
        }
    }

    fn hold(&mut self, input: &[u8], until: usize) -> usize {
        let take = until.saturating_sub(self.held.len()).min(input.len());
        self.held.extend_from_slice(&input[..take]);
        take
    }

    /// Reads a frame header, judging each part of it as soon as it is there.
    fn header(&mut self, input: &[u8], at: &mut usize) -> Result<Option<State>, Violation> {
        *at += self.hold(&input[*at..], 2);
        let Some(&[first, second]) = self.held.first_chunk() else { return Ok(None) };
        self.judge_start(first, second)?;
        let mask_bytes = if self.is_client() { 4 } else { 0 };
        let head = 2 + length_bytes(second) + mask_bytes;
        *at += self.hold(&input[*at..], head);
        if self.held.len() < 2 + length_bytes(second) {
            return Ok(None);
        }
        let length = frame_length(&self.held)?;
        if self.held.len() < head {
            return Ok(None);
        }
        let opcode = first & OPCODE_BITS;
        if opcode >= CLOSE {
            let length = usize::try_from(length).or(Err(Violation("control frame length")))?;
            return Ok(Some(State::Control { opcode, head, length }));
        }
        self.begin(opcode, first & FIN != 0, length)?;
        let mask = if self.is_client() { self.held.last_chunk().copied() } else { None };
        Ok(Some(State::Data { left: length, mask }))
    }

    fn judge_start(&self, first: u8, second: u8) -> Result<(), Violation> {
        let (fin, opcode) = (first & FIN != 0, first & OPCODE_BITS);
        if first & RSV_BITS != 0 {
            return Err(Violation("reserved bit set"));
        }
        if (second & MASKED != 0) != self.is_client() {
            return Err(Violation("mask missing, or on a server frame"));
        }
        match opcode {
            CONTINUATION | TEXT | BINARY => {}
            CLOSE | PING | PONG if fin && second & LENGTH_BITS <= CONTROL_PAYLOAD_MAX => return Ok(()),
            CLOSE | PING | PONG => return Err(Violation("control frame fragmented or too long")),
            _ => return Err(Violation("reserved opcode")),
        }
        match self.payload {
            Payload::Tunnel(_) if opcode == TEXT => Err(Violation("text or binary against the protocol")),
            Payload::Tunnel(_) if (opcode == CONTINUATION) != self.in_message => {
                Err(Violation("fragments out of order"))
            }
            Payload::Channels(_) | Payload::Output if !fin || opcode == CONTINUATION => {
                Err(Violation("fragmented message"))
            }
            Payload::Tunnel(_) | Payload::Channels(_) | Payload::Output => Ok(()),
        }
    }

    fn begin(&mut self, opcode: u8, fin: bool, length: u64) -> Result<(), Violation> {
        match &mut self.payload {
            Payload::Channels(reader) => reader.begin(opcode == TEXT, length)?,
            Payload::Output if self.direction == Direction::ClientToServer && length > 0 => {
                return Err(Violation("client sends data where it may only listen"));
            }
            Payload::Output => {}
            Payload::Tunnel(_) => self.in_message = !fin,
        }
        Ok(())
    }

    /// Reads a piece of payload; returns how many of its bytes may go on.
    fn data(
        &mut self,
        piece: &[u8],
        mask: Option<[u8; 4]>,
        streams: &mut Streams,
        delivery: &mut Delivery,
        events: &mut Sink<'_>,
    ) -> (usize, Result<(), Violation>) {
        let mut unmasked = [0; UNMASK_BYTES];
        let piece = match mask {
            None => piece,
            Some(mask) => unmask(piece, mask, &mut unmasked),
        };
        match &mut self.payload {
            Payload::Channels(reader) => reader.push(piece, delivery, events),
            Payload::Output => delivery.data(Stream::Output, piece, false, Unit::Byte, events),
            Payload::Tunnel(walker) => {
                let mut accepted = 0;
                let result = walker.push(piece, &mut accepted, streams, delivery, events);
                (accepted, result)
            }
        }
    }

    fn control(
        &mut self,
        opcode: u8,
        head: usize,
        delivery: &mut Delivery,
        events: &mut Sink<'_>,
    ) -> Result<(), Violation> {
        if opcode != CLOSE {
            self.keep_alives += 1;
            return Ok(());
        }
        let code = self.close_code(head)?;
        self.closed = true;
        if self.nothing_held_inside() {
            if self.direction == Direction::ServerToClient {
                delivery.error.end();
            }
            self.report_keep_alives(events);
            events(Event::Close { code });
        }
        Ok(())
    }

    fn close_code(&self, head: usize) -> Result<Option<u16>, Violation> {
        let payload = self.held.get(head..).unwrap_or_default();
        let Some(code) = payload.first_chunk::<2>() else {
            return if payload.is_empty() { Ok(None) } else { Err(Violation("close frame of one byte")) };
        };
        let mut code = *code;
        if self.is_client() {
            let mask = self.held.get(head - 4..).unwrap_or_default();
            code.iter_mut().zip(mask).for_each(|(byte, key)| *byte ^= key);
        }
        Ok(Some(u16::from_be_bytes(code)))
    }

    fn next_frame(&mut self, at: usize, safe: &mut usize, events: &mut Sink<'_>) {
        self.held.clear();
        self.state = State::Header;
        if self.nothing_held_inside() {
            *safe = at;
            self.let_go(false, events);
        }
    }

    /// All bytes read so far go on.
    fn let_go(&mut self, mid_frame: bool, events: &mut Sink<'_>) {
        self.mid_frame = mid_frame;
        self.forwarded_in_message = self.in_message;
        self.report_keep_alives(events);
    }

    fn nothing_held_inside(&self) -> bool {
        self.tunnel().is_none_or(spdy::FrameWalker::at_rest)
    }

    fn report_keep_alives(&mut self, events: &mut Sink<'_>) {
        for _ in 0..std::mem::take(&mut self.keep_alives) {
            events(Event::KeepAlive);
        }
    }

    fn is_client(&self) -> bool {
        self.direction == Direction::ClientToServer
    }
}

/// The bytes of `piece`, at most [`UNMASK_BYTES`], without their mask.
fn unmask<'b>(piece: &[u8], mask: [u8; 4], out: &'b mut [u8; UNMASK_BYTES]) -> &'b [u8] {
    let key = u32::from_ne_bytes(mask);
    let (words, rest) = piece.as_chunks::<4>();
    let (out_words, _) = out.as_chunks_mut::<4>();
    for (to, from) in out_words.iter_mut().zip(words) {
        *to = (u32::from_ne_bytes(*from) ^ key).to_ne_bytes();
    }
    let done = piece.len() - rest.len();
    for (to, (from, key)) in out[done..].iter_mut().zip(rest.iter().zip(mask)) {
        *to = from ^ key;
    }
    &out[..piece.len()]
}

/// Bytes that carry the length, after the first two.
const fn length_bytes(second: u8) -> usize {
    match second & LENGTH_BITS {
        LENGTH_16 => 2,
        LENGTH_64 => 8,
        _ => 0,
    }
}

/// The payload length, which must be written in its shortest form.
fn frame_length(head: &[u8]) -> Result<u64, Violation> {
    let short = head.get(1).map_or(0, |second| second & LENGTH_BITS);
    let written = head.get(2..2 + length_bytes(short)).unwrap_or_default();
    let length = written.iter().fold(0, |length: u64, byte| length << 8 | u64::from(*byte));
    match short {
        LENGTH_16 if length <= u64::from(CONTROL_PAYLOAD_MAX) => {
            Err(Violation("length not in its shortest form"))
        }
        LENGTH_64 if length <= u64::from(u16::MAX) => Err(Violation("length not in its shortest form")),
        LENGTH_64 if length > FRAME_BYTES_MAX => Err(Violation("frame too long")),
        LENGTH_16 | LENGTH_64 => Ok(length),
        _ => Ok(u64::from(short)),
    }
}

/// Header bytes at most: two, the longest length, the mask.
const HEADER_BYTES_MAX: usize = 14;
/// What can be held of one message outside a tunnel.
pub(crate) const MESSAGE_HELD_BYTES_MAX: usize = HEADER_BYTES_MAX + BASE64_MESSAGE_BYTES_MAX;
/// Payload is unmasked in pieces of this size, on the stack: an idle session keeps no buffer.
const UNMASK_BYTES: usize = 4096;
const CONTROL_PAYLOAD_MAX: u8 = 125;
const FIN: u8 = 0x80;
const RSV_BITS: u8 = 0x70;
const OPCODE_BITS: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH_BITS: u8 = 0x7f;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
