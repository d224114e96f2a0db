//! The streams of one SPDY connection, shared by its two walkers: who may open which, and who may still write to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Violation;
use super::headers::Headers;
use crate::event::{Direction, ForwardPart, Stream};
use crate::session::Asked;

/// Streams open at the same time; one forwarded connection has two. One more is cut.
pub const STREAMS_LIVE_MAX: usize = 4096;
/// Ended streams that are remembered for what may still be on the way; the oldest is forgotten.
pub const STREAMS_RETIRED_MAX: usize = 1024;
/// Bytes of a `requestid`; kubectl counts in decimal.
pub const REQUEST_ID_BYTES_MAX: usize = 64;

/// All streams of a connection.
#[derive(Debug)]
pub(crate) struct Streams {
    /// What exec and attach may open; `None` is port-forward.
    asked: Option<Asked>,
    entries: BTreeMap<u32, Entry>,
    retired: VecDeque<u32>,
    paired: BTreeSet<(ForwardPart, Box<str>)>,
    last_id: u32,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Entry {
    role: Role,
    client: Side,
    server: Side,
    replied: bool,
    retired: bool,
}

/// What a stream is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    Stdin,
    Stdout,
    Stderr,
    Error,
    Resize,
    Forward { part: ForwardPart, request_id: Box<str>, port: u16 },
}

/// How far one side of a stream has come.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    fin: bool,
    reset: bool,
}

impl Streams {
    pub(crate) const fn exec(asked: Asked) -> Self {
        Self::new(Some(asked))
    }

    pub(crate) const fn forward() -> Self {
        Self::new(None)
    }

    const fn new(asked: Option<Asked>) -> Self {
        Self {
            asked,
            entries: BTreeMap::new(),
            retired: VecDeque::new(),
            paired: BTreeSet::new(),
            last_id: 0,
        }
    }

    /// Judges the id of a SYN_STREAM, which comes before its headers are inflated.
    pub(crate) const fn check_id(&self, id: u32) -> Result<(), Violation> {
        if id > i32::MAX.unsigned_abs() || id.is_multiple_of(2) || id <= self.last_id {
            return Err(Violation("stream id not odd and rising"));
        }
        Ok(())
    }

    /// The client opens a stream, `fin` when it will not write to it.
    pub(crate) fn open(&mut self, id: u32, headers: &Headers, fin: bool) -> Result<(), Violation> {
        self.check_id(id)?;
        let role = match self.asked {
            Some(asked) => self.exec_role(headers, asked)?,
            None => self.forward_role(headers)?,
        };
        if fin && role == Role::Stdin {
            return Err(Violation("stdin opened with FIN"));
        }
        if self.entries.len() - self.retired.len() == STREAMS_LIVE_MAX {
            return Err(Violation("too many streams open"));
        }
        self.last_id = id;
        let client = Side { fin, reset: false };
        let entry = Entry { role, client, server: Side::default(), replied: false, retired: false };
        self.entries.insert(id, entry);
        Ok(())
    }

    fn exec_role(&self, headers: &Headers, asked: Asked) -> Result<Role, Violation> {
        let (role, wanted) = match headers.value("streamtype") {
            Some("stdin") => (Role::Stdin, asked.stdin),
            Some("stdout") => (Role::Stdout, asked.stdout),
            Some("stderr") => (Role::Stderr, asked.stderr && !asked.tty),
            Some("error") => (Role::Error, true),
            Some("resize") => (Role::Resize, asked.tty),
            Some(_) | None => return Err(Violation("stream type unknown")),
        };
        if !wanted {
            return Err(Violation("stream not asked for in the request"));
        }
        if self.entries.values().any(|entry| entry.role == role) {
            return Err(Violation("stream type opened twice"));
        }
        Ok(role)
    }

    fn forward_role(&mut self, headers: &Headers) -> Result<Role, Violation> {
        let part = match headers.value("streamtype") {
            Some("data") => ForwardPart::Data,
            Some("error") => ForwardPart::Error,
            Some(_) | None => return Err(Violation("stream type unknown")),
        };
        let port = headers.value("port").and_then(parse_port).ok_or(Violation("port header"))?;
        let request_id = headers
            .value("requestid")
            .filter(|id| (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()))
            .ok_or(Violation("requestid header"))?;
        if !self.paired.insert((part, request_id.into())) {
            return Err(Violation("requestid used twice"));
        }
        Ok(Role::Forward { part, request_id: request_id.into(), port })
    }

    /// The server accepts a stream.
    pub(crate) fn reply(&mut self, id: u32) -> Result<(), Violation> {
        let entry = self.entries.get_mut(&id).ok_or(Violation("reply to an unknown stream"))?;
        if entry.replied || entry.server.reset {
            return Err(Violation("reply twice"));
        }
        entry.replied = true;
        Ok(())
    }

    /// Judges a DATA frame by its header; returns whether its bytes come too late to be looked at.
    pub(crate) fn check_write(&self, id: u32, from: Direction, empty: bool) -> Result<bool, Violation> {
        let entry = self.entries.get(&id).ok_or(Violation("data on an unknown stream"))?;
        let (own, other) = match from {
            Direction::ClientToServer => (entry.client, entry.server),
            Direction::ServerToClient => (entry.server, entry.client),
        };
        if from == Direction::ServerToClient && !entry.replied {
            return Err(Violation("data before the reply"));
        }
        if empty {
            return Ok(false);
        }
        if own.fin {
            return Err(Violation("data after FIN"));
        }
        if own.reset {
            return Err(Violation("data after RST_STREAM"));
        }
        if !entry.role.may_carry(from) {
            return Err(Violation("data against the direction of the stream"));
        }
        if matches!(entry.role, Role::Stdout | Role::Stderr) && !self.all_open() {
            return Err(Violation("output before every stream asked for is open"));
        }
        Ok(other.reset)
    }

    /// One side ends its direction of a stream; false when it had done so before.
    pub(crate) fn fin(&mut self, id: u32, from: Direction) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        let side = entry.side_mut(from);
        let first = !side.fin;
        side.fin = true;
        if entry.client.fin && entry.server.fin {
            self.retire(id);
        }
        first
    }

    /// One side gives a stream up.
    pub(crate) fn reset(&mut self, id: u32, from: Direction) -> Result<(), Violation> {
        let entry = self.entries.get_mut(&id).ok_or(Violation("RST_STREAM on an unknown stream"))?;
        entry.side_mut(from).reset = true;
        self.retire(id);
        Ok(())
    }

    fn retire(&mut self, id: u32) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.retired || self.asked.is_some() {
            return; // exec has at most five streams, and their types stay taken
        }
        entry.retired = true;
        self.retired.push_back(id);
        if self.retired.len() > STREAMS_RETIRED_MAX {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.retired.pop_front().and_then(|id| self.entries.remove(&id));
        if let Some(Entry { role: Role::Forward { part, request_id, .. }, .. }) = oldest {
            self.paired.remove(&(part, request_id));
        }
    }

    /// The name of a known stream, for events.
    pub(crate) fn name(&self, id: u32) -> Option<Stream<'_>> {
        self.entries.get(&id).map(|entry| entry.role.name())
    }

    /// exec, attach: everything the request asked for is open, so that nothing more can be opened.
    pub(crate) fn all_open(&self) -> bool {
        self.asked.is_some_and(|asked| self.entries.len() == asked.spdy_streams())
    }

    /// exec, attach: everything is open and accepted, so that no reply can come any more.
    pub(crate) fn all_replied(&self) -> bool {
        self.all_open() && self.entries.values().all(|entry| entry.replied)
    }

    /// The server's error stream is there for the client to read, and not ended.
    pub(crate) fn error_streams_open(&self) -> Vec<u32> {
        self.open_to_client().filter(|(_, entry)| entry.role.is_error()).map(|(id, _)| id).collect()
    }

    /// Streams that the server can still end.
    pub(crate) fn server_unfinished(&self) -> Vec<u32> {
        self.open_to_client().map(|(id, _)| id).collect()
    }

    fn open_to_client(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.entries
            .iter()
            .filter(|(_, entry)| {
                entry.replied && !entry.server.fin && !entry.server.reset && !entry.client.reset
            })
            .map(|(id, entry)| (*id, entry))
    }

    /// The server has ended an error stream of exec or attach.
    pub(crate) fn is_exec_error(&self, id: u32) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.role == Role::Error)
    }
}

impl Entry {
    const fn side_mut(&mut self, from: Direction) -> &mut Side {
        match from {
            Direction::ClientToServer => &mut self.client,
            Direction::ServerToClient => &mut self.server,
        }
    }
}

impl Role {
    fn name(&self) -> Stream<'_> {
        match self {
            Self::Stdin => Stream::Stdin,
            Self::Stdout => Stream::Stdout,
            Self::Stderr => Stream::Stderr,
            Self::Error => Stream::Error,
            Self::Resize => Stream::Resize,
            Self::Forward { part, request_id, port } => {
                Stream::Forward { part: *part, request_id, port: *port }
            }
        }
    }

    const fn is_error(&self) -> bool {
        matches!(self, Self::Error | Self::Forward { part: ForwardPart::Error, .. })
    }

    const fn may_carry(&self, from: Direction) -> bool {
        match (self, from) {
            (Self::Stdin | Self::Resize, Direction::ClientToServer)
            | (Self::Stdout | Self::Stderr | Self::Error, Direction::ServerToClient)
            | (Self::Forward { part: ForwardPart::Data, .. }, _)
            | (Self::Forward { part: ForwardPart::Error, .. }, Direction::ServerToClient) => true,
            (
                Self::Stdin
                | Self::Resize
                | Self::Stdout
                | Self::Stderr
                | Self::Error
                | Self::Forward { part: ForwardPart::Error, .. },
                _,
            ) => false,
        }
    }
}

/// A port as kubectl writes it: no sign, no leading zero.
fn parse_port(text: &str) -> Option<u16> {
    let plain = text.len() <= 5 && text.starts_with(|first| matches!(first, '1'..='9'));
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::parse_port;

    #[test]
    fn ports_have_one_spelling() {
        for (text, port) in [("1", 1), ("8080", 8080), ("65535", 65535)] {
            assert_eq!(parse_port(text), Some(port));
        }
        for text in ["", "0", "08080", "+8080", "-1", "65536", "808080", "80 ", "0x50", "8e1"] {
            assert_eq!(parse_port(text), None, "{text}");
        }
    }
}
