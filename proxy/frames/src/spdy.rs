//! SPDY/3.1 frames of one direction, as `spdystream` on both ends reads them but without what it leaves open.
//!
//! spdystream reads PING, RST_STREAM and SETTINGS without looking at their length, so that a length can hide frames
//! from whoever trusts it: every control frame is judged from its first 8 bytes, and has exactly one length. Types
//! that no client of Kubernetes sends are cut.

pub(crate) mod headers;
pub(crate) mod streams;

pub use headers::{
    HEADER_BLOCK_BYTES_MAX, HEADER_BLOCK_INFLATED_BYTES_MAX, HEADER_TEXT_BYTES_MAX, HEADERS_MAX,
};
pub use streams::{REQUEST_ID_BYTES_MAX, STREAMS_LIVE_MAX, STREAMS_RETIRED_MAX};

use headers::HeaderBlocks;
use streams::Streams;

use crate::delivery::{Delivery, Unit};
use crate::error::Violation;
use crate::event::{Direction, Event, Sink, Stream};

/// Reader of one direction of a SPDY connection.
#[derive(Debug)]
pub(crate) struct FrameWalker {
    direction: Direction,
    state: State,
    /// The header or the control frame that is not whole yet.
    held: Vec<u8>,
    headers: HeaderBlocks,
    gone: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    Control { kind: Control, length: usize },
    Data { id: u32, left: usize, fin: bool, late: bool, begun: bool },
}

#[derive(Clone, Copy, Debug)]
enum Control {
    SynStream { fin: bool },
    SynReply,
    RstStream,
    Ping,
    GoAway,
}

impl FrameWalker {
    pub(crate) fn new(direction: Direction) -> Self {
        let held = Vec::new();
        Self { direction, state: State::Header, held, headers: HeaderBlocks::default(), gone: false }
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
                    at += self.hold(&input[at..], FRAME_HEADER_BYTES);
                    let Some(header) = self.held.first_chunk().copied() else { return Ok(()) };
                    self.state = self.judge(header, streams)?;
                }
                State::Control { kind, length } => {
                    at += self.hold(&input[at..], FRAME_HEADER_BYTES + length);
                    if self.held.len() < FRAME_HEADER_BYTES + length {
                        return Ok(());
                    }
                    self.control(kind, streams, delivery, events)?;
                    self.next_frame();
                    *safe = at;
                }
                State::Data { id, left: 0, fin, .. } => {
                    if fin {
                        self.fin(id, streams, delivery, events);
                    }
                    self.next_frame();
                    *safe = at;
                }
                State::Data { id, left, fin, late, .. } => {
                    let take = left.min(input.len() - at);
                    if take == 0 {
                        return Ok(());
                    }
                    let stream = streams.name(id).ok_or(Violation("data on an unknown stream"))?;
                    let bytes = &input[at..at + take];
                    let (accepted, result) = delivery.data(stream, bytes, late, Unit::Byte, events);
                    at += accepted;
                    if accepted > 0 {
                        *safe = at;
                        self.state = State::Data { id, left: left - accepted, fin, late, begun: true };
                    }
                    result?;
                }
            }
        }
    }

    /// Nothing of an unfinished frame is held, so that everything read has been let go on.
    pub(crate) fn at_rest(&self) -> bool {
        self.held.is_empty() || self.mid_frame()
    }

    /// A frame has been let go on in part: nothing can be put between it and its end.
    pub(crate) const fn mid_frame(&self) -> bool {
        matches!(self.state, State::Data { begun: true, .. })
    }

    /// Bytes of a DATA frame that has been let go on in part, which the client still waits for; and whether that frame
    /// ends its stream.
    pub(crate) const fn owed(&self) -> (usize, Option<u32>) {
        match self.state {
            State::Data { begun: true, left, fin, id, .. } => (left, if fin { Some(id) } else { None }),
            State::Data { .. } | State::Header | State::Control { .. } => (0, None),
        }
    }

    /// GOAWAY has passed.
    pub(crate) const fn gone(&self) -> bool {
        self.gone
    }

    fn hold(&mut self, input: &[u8], until: usize) -> usize {
        let take = until.saturating_sub(self.held.len()).min(input.len());
        self.held.extend_from_slice(&input[..take]);
        take
    }

    fn next_frame(&mut self) {
        self.held.clear();
        self.state = State::Header;
    }

    /// What the first 8 bytes say, before anything is waited for.
    fn judge(&self, header: [u8; FRAME_HEADER_BYTES], streams: &Streams) -> Result<State, Violation> {
        let [a, b, c, d, flags, length @ ..] = header;
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        if a & CONTROL_BIT == 0 {
            return self.judge_data(u32::from_be_bytes([a, b, c, d]), flags, length, streams);
        }
        if u16::from_be_bytes([a & !CONTROL_BIT, b]) != VERSION {
            return Err(Violation("SPDY version is not 3"));
        }
        let kind = match (u16::from_be_bytes([c, d]), self.direction) {
            (1, Direction::ClientToServer) => Control::SynStream { fin: flags == FLAG_FIN },
            (2, Direction::ServerToClient) => Control::SynReply,
            (3, _) => Control::RstStream,
            (6, _) => Control::Ping,
            (7, _) => Control::GoAway,
            (1, Direction::ServerToClient) => return Err(Violation("server opens a stream")),
            (2, Direction::ClientToServer) => return Err(Violation("client replies to a stream")),
            _ => return Err(Violation("control frame of a type that nobody sends")),
        };
        if flags != 0 && !matches!(kind, Control::SynStream { fin: true }) {
            return Err(Violation("control frame flags"));
        }
        if !kind.lengths().contains(&length) {
            return Err(Violation("control frame length"));
        }
        if self.gone && matches!(kind, Control::SynStream { .. }) {
            return Err(Violation("stream opened after GOAWAY"));
        }
        Ok(State::Control { kind, length })
    }

    fn judge_data(&self, id: u32, flags: u8, length: usize, streams: &Streams) -> Result<State, Violation> {
        if flags & !FLAG_FIN != 0 {
            return Err(Violation("data frame flags"));
        }
        let empty = length == 0;
        let late = streams.check_write(id, self.direction, empty)?;
        if self.gone && !empty && self.direction == Direction::ClientToServer {
            return Err(Violation("data after GOAWAY"));
        }
        let late = late || self.gone;
        Ok(State::Data { id, left: length, fin: flags == FLAG_FIN, late, begun: false })
    }

    fn control(
        &mut self,
        kind: Control,
        streams: &mut Streams,
        delivery: &mut Delivery,
        events: &mut Sink<'_>,
    ) -> Result<(), Violation> {
        let body = self.held.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        match kind {
            Control::SynStream { fin } => {
                let (id, block) = split_syn_stream(body)?;
                streams.check_id(id)?;
                streams.open(id, &self.headers.read(block)?, fin)?;
                if streams.all_open() {
                    self.headers.finish();
                }
                report(streams, id, events, |stream| Event::Open { stream });
            }
            Control::SynReply => {
                let (id, block) = split_number(body)?;
                let headers = self.headers.read(block)?;
                if !headers.is_empty() {
                    return Err(Violation("reply with headers"));
                }
                streams.reply(id)?;
                if streams.all_replied() {
                    self.headers.finish();
                }
            }
            Control::RstStream => {
                let (id, rest) = split_number(body)?;
                let (status, _) = split_number(rest)?;
                streams.reset(id, self.direction)?;
                self.note_error_end(id, streams, delivery);
                report(streams, id, events, |stream| Event::Reset { stream, status });
            }
            Control::Ping => events(Event::KeepAlive),
            Control::GoAway => {
                self.gone = true;
                events(Event::Close { code: None });
            }
        }
        Ok(())
    }

    fn fin(&self, id: u32, streams: &mut Streams, delivery: &mut Delivery, events: &mut Sink<'_>) {
        if streams.fin(id, self.direction) {
            self.note_error_end(id, streams, delivery);
            report(streams, id, events, |stream| Event::Fin { stream });
        }
    }

    fn note_error_end(&self, id: u32, streams: &Streams, delivery: &mut Delivery) {
        if self.direction == Direction::ServerToClient && streams.is_exec_error(id) {
            delivery.error.end();
        }
    }
}

impl Control {
    /// The lengths this frame may have, header not counted.
    const fn lengths(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Self::SynStream { .. } => {
                SYN_STREAM_FIXED_BYTES..=SYN_STREAM_FIXED_BYTES + HEADER_BLOCK_BYTES_MAX
            }
            Self::SynReply => 4..=4 + HEADER_BLOCK_BYTES_MAX,
            Self::RstStream | Self::GoAway => 8..=8,
            Self::Ping => 4..=4,
        }
    }
}

fn report<'s>(
    streams: &'s Streams,
    id: u32,
    events: &mut Sink<'_>,
    event: impl FnOnce(Stream<'s>) -> Event<'s>,
) {
    if let Some(stream) = streams.name(id) {
        events(event(stream));
    }
}

/// Stream id and header block of a SYN_STREAM, whose other fields have no use here and must be zero.
fn split_syn_stream(body: &[u8]) -> Result<(u32, &[u8]), Violation> {
    let (id, rest) = split_number(body)?;
    let (associated, rest) = split_number(rest)?;
    let ([priority, slot], block) = rest.split_first_chunk().ok_or(Violation("control frame length"))?;
    if associated != 0 || *slot != 0 || priority & !PRIORITY_BITS != 0 {
        return Err(Violation("SYN_STREAM fields"));
    }
    Ok((id, block))
}

fn split_number(body: &[u8]) -> Result<(u32, &[u8]), Violation> {
    let (number, rest) = body.split_first_chunk().ok_or(Violation("control frame length"))?;
    Ok((u32::from_be_bytes(*number), rest))
}

const FRAME_HEADER_BYTES: usize = 8;
const SYN_STREAM_FIXED_BYTES: usize = 10;
const CONTROL_BIT: u8 = 0x80;
const VERSION: u16 = 3;
const FLAG_FIN: u8 = 1;
const PRIORITY_BITS: u8 = 0b1110_0000;
