//! HTTP/2 frame by frame, so that a test sees how a stream ended.

use super::{
    client::Client,
    edge::{Edge, HOST},
};

/// A connection to cluster `demo`.
pub(crate) struct Http2 {
    client: Client,
    held: Vec<u8>,
}

/// One frame from the edge.
#[derive(Debug)]
pub(crate) struct Frame {
    kind: u8,
    flags: u8,
    pub(crate) stream: u32,
    payload: Vec<u8>,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With END_STREAM.
    Whole,
    /// With RST_STREAM.
    Reset,
    /// With the connection.
    Connection,
}

impl Frame {
    /// The last stream that is served, where this is a goodbye.
    pub(crate) fn goodbye(&self) -> Option<u32> {
        let last = self.payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        last.filter(|_| self.kind == GOAWAY)
    }

    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

impl Http2 {
    pub(crate) fn connect(edge: &Edge) -> Self {
        let mut client = Client::connect(edge, "h2").unwrap();
        client.send(PREFACE);
        Self { client, held: Vec::new() }
    }

    /// Sends a request without a body.
    pub(crate) fn ask(&mut self, stream: u32, method: &str, path: &str, more: &[(&str, &str)]) {
        self.ask_at(HOST, stream, method, path, more);
    }

    pub(crate) fn ask_at(
        &mut self,
        authority: &str,
        stream: u32,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
    ) {
        let pseudo = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path)];
        let mut block = Vec::new();
        for (name, value) in pseudo.iter().chain(more) {
            // HPACK: a literal field, not indexed, with a new name. Lengths below 127 are one byte.
            block.push(0);
            for text in [name, value] {
                assert!(text.len() < 127, "{text} is too long for one byte of length");
                block.push(u8::try_from(text.len()).unwrap());
                block.extend_from_slice(text.as_bytes());
            }
        }
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &block);
    }

    /// The next frame, `None` at the end of the connection.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.held_frame() {
                match frame.kind {
                    SETTINGS if frame.flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]),
                    PING if frame.flags & ACK == 0 => self.send(PING, ACK, 0, &frame.payload),
                    _ => {}
                }
                return Some(frame);
            }
            let bytes = self.client.some();
            if bytes.is_empty() {
                return None;
            }
            self.held.extend(bytes);
        }
    }

    /// Data of a stream up to this many bytes, or to its end.
    pub(crate) fn data(&mut self, stream: u32, bytes_max: usize) -> (Vec<u8>, Option<End>) {
        let mut data = Vec::new();
        while data.len() < bytes_max {
            let Some(frame) = self.frame() else { return (data, Some(End::Connection)) };
            if frame.stream != stream {
                continue;
            }
            let whole = frame.ends_stream();
            match frame.kind {
                DATA => data.extend(frame.payload),
                RST_STREAM => return (data, Some(End::Reset)),
                _ => {}
            }
            if whole {
                return (data, Some(End::Whole));
            }
        }
        (data, None)
    }

    /// All that comes on a stream, and how it ends.
    pub(crate) fn rest(&mut self, stream: u32) -> (String, End) {
        let (data, end) = self.data(stream, usize::MAX);
        (String::from_utf8_lossy(&data).into_owned(), end.unwrap())
    }

    fn held_frame(&mut self) -> Option<Frame> {
        let head = self.held.first_chunk::<9>()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.held.get(9..9 + length)?.to_vec();
        self.held.drain(..9 + length);
        Some(Frame { kind, flags, stream, payload })
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.client.send([&head, payload].concat());
    }
}

/// Preface and empty SETTINGS.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
