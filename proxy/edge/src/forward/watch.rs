//! Where a watch may be cut: clients take an end between two events as the normal end of a watch, and anything else as
//! an error event (client-go `streamwatcher.go`). So an event that is not whole yet is held back, up to a bound.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};

/// Passes whole events on and holds the beginning of the next. An event larger than the bound is passed on in pieces.
pub(crate) struct Events {
    framing: Framing,
    held: BytesMut,
    bytes_max: usize,
}

enum Framing {
    /// One JSON document a line; `inside` an oversized one there is no place to cut.
    Lines { inside: bool },
    /// `application/vnd.kubernetes.protobuf;stream=watch`: u32 big-endian length, then the event; `left` bytes of an
    /// oversized one are still to come.
    Lengths { left: usize },
}

impl Events {
    /// For a response with these headers; `None` if its events cannot be told apart (compressed, CBOR).
    pub(crate) fn new(headers: &HeaderMap, bytes_max: usize) -> Option<Self> {
        if headers.contains_key(header::CONTENT_ENCODING) {
            return None;
        }
        let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let framing = match kind.split(';').next()?.trim() {
            "application/json" => Framing::Lines { inside: false },
            "application/vnd.kubernetes.protobuf" => Framing::Lengths { left: 0 },
            _ => return None,
        };
        Some(Self { framing, held: BytesMut::new(), bytes_max })
    }

    /// Takes what came, gives what may go on.
    pub(crate) fn push(&mut self, bytes: Bytes) -> Bytes {
        let whole_lines =
            matches!(self.framing, Framing::Lines { inside: false }) && bytes.last() == Some(&b'\n');
        if self.held.is_empty() && whole_lines {
            return bytes;
        }
        self.held.extend_from_slice(&bytes);
        let ready = match &mut self.framing {
            Framing::Lines { inside } => lines(&self.held, inside, self.bytes_max),
            Framing::Lengths { left } => lengths(&self.held, left, self.bytes_max),
        };
        self.held.split_to(ready).freeze()
    }

    /// What is held when the stream has ended in good order.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// Does what was passed on end with a whole event?
    pub(crate) fn at_boundary(&self) -> bool {
        matches!(self.framing, Framing::Lines { inside: false } | Framing::Lengths { left: 0 })
    }
}

/// How many of the held bytes may go on: up to the last line's end, or all inside an oversized line.
fn lines(held: &[u8], inside: &mut bool, bytes_max: usize) -> usize {
    let end = held.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
    if end.is_some() {
        *inside = false;
    }
    let end = end.unwrap_or(0);
    if *inside || held.len() - end > bytes_max {
        *inside = true;
        return held.len();
    }
    end
}

fn lengths(held: &[u8], left: &mut usize, bytes_max: usize) -> usize {
    let mut at = 0;
    loop {
        let passing = (*left).min(held.len() - at);
        at += passing;
        *left -= passing;
        let Some(prefix) = held.get(at..at + LENGTH_BYTES) else { return at };
        let event = LENGTH_BYTES + prefix.iter().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
        if event <= bytes_max && held.len() - at < event {
            return at;
        }
        *left = event;
    }
}

/// Size of the length before a protobuf event.
const LENGTH_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn events(kind: &'static str) -> Events {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
        Events::new(&headers, 16).unwrap()
    }

    fn feed(events: &mut Events, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        pieces.iter().map(|piece| events.push(Bytes::copy_from_slice(piece)).to_vec()).collect()
    }

    #[test]
    fn lines_are_passed_on_whole() {
        let mut events = events("application/json;charset=utf-8");
        assert_eq!(
            feed(&mut events, &[b"{1}\n", b"{2", b"}\n{3}\n{", b"4}\n"]),
            [b"{1}\n".to_vec(), vec![], b"{2}\n{3}\n".to_vec(), b"{4}\n".to_vec()]
        );
        assert!(events.at_boundary());
    }

    #[test]
    fn lengths_are_passed_on_whole() {
        let mut events = events("application/vnd.kubernetes.protobuf;stream=watch");
        assert_eq!(
            feed(&mut events, &[&[0, 0], &[0, 2, 7], &[7, 0, 0, 0, 1], &[9]]),
            [vec![], vec![], vec![0, 0, 0, 2, 7, 7], vec![0, 0, 0, 1, 9]]
        );
    }

    #[test]
    fn an_event_beyond_the_bound_streams_and_has_no_boundary_inside() {
        let mut events = events("application/json");
        assert_eq!(feed(&mut events, &[&[b'x'; 16]]), [Vec::<u8>::new()], "at the bound it is held");
        assert_eq!(feed(&mut events, &[b"x"])[0].len(), 17, "beyond it goes on");
        assert!(!events.at_boundary());
        assert_eq!(feed(&mut events, &[b"x"])[0].len(), 1);
        assert_eq!(feed(&mut events, &[b"x\n{"])[0], b"x\n");
        assert!(events.at_boundary());
    }

    #[test]
    fn compressed_or_unknown_streams_have_no_boundaries() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/cbor-seq"));
        assert!(Events::new(&headers, 16).is_none());
        headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_ENCODING, http::HeaderValue::from_static("gzip"));
        assert!(Events::new(&headers, 16).is_none());
    }
}
