//! The last words: frames for the server's direction that make the client show a reason and exit with an error.
//!
//! Without them a client over SPDY ends with exit code 0, as if the command had succeeded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::channel::{Channels, ERROR, Protocol};
use crate::session::{Kind, Session, Walker};
use crate::websocket::{BINARY, CLOSE, CONTINUATION, TEXT};

/// Bytes of the reason that are shown; the rest is left out.
pub const REASON_BYTES_MAX: usize = 1024;

impl Session {
    /// Frames to send to the client, after everything forwarded to it so far, so that it shows `reason` and exits
    /// with an error; afterwards both sides are to be closed. Ends the session: nothing can be walked any more.
    ///
    /// Where the server had already said how the command ended, the frames only end the streams, and the client
    /// shows that. A SPDY DATA frame of which a part has gone on is filled up with zero bytes first: wrong bytes in an
    /// output that ends with an error are better than a cut that looks like success. `None` when the client could not read
    /// the frames: the server's direction stands inside another frame or was closed, or no error stream is open. Then
    /// dropping the connection is all that can be done.
    #[must_use]
    pub fn closing_frames(&mut self, reason: &str) -> Option<Vec<u8>> {
        self.stop();
        let (owed, ended) = match &self.server.walker {
            Walker::Spdy(walker) => walker.owed(),
            Walker::WebSocket(_) => (0, None),
        };
        if owed == 0 && !self.server.walker.takes_more() {
            return None;
        }
        let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
        match &self.server.walker {
            Walker::Spdy(walker) if walker.gone() => None,
            Walker::Spdy(_) => {
                let mut frames = vec![0; owed];
                frames.extend(self.spdy_frames(reason, ended)?);
                Some(frames)
            }
            Walker::WebSocket(walker) if walker.tunnel().is_some() => {
                if walker.tunnel().is_some_and(crate::spdy::FrameWalker::gone) {
                    return None;
                }
                let opcode = if walker.continues_message() { CONTINUATION } else { BINARY };
                let mut frames = message(opcode, &self.spdy_frames(reason, None)?);
                frames.extend(close(CLOSE_NORMAL, ""));
                Some(frames)
            }
            Walker::WebSocket(_) => Some(self.channel_frames(reason)),
        }
    }

    /// The reason on every error stream, then the end of every stream but the one that has `ended`. DATA needs no header
    /// compression state.
    fn spdy_frames(&self, reason: &str, ended: Option<u32>) -> Option<Vec<u8>> {
        let errors = self.streams.error_streams_open();
        if errors.is_empty() {
            return None;
        }
        let mut frames = Vec::new();
        if self.delivery.error.is_empty() {
            let text = self.last_words(reason);
            for id in errors {
                frames.extend(data_frame(id, 0, &text));
            }
        }
        for id in self.streams.server_unfinished().into_iter().filter(|id| Some(*id) != ended) {
            frames.extend(data_frame(id, FLAG_FIN, &[]));
        }
        Some(frames)
    }

    /// The reason on every error channel, then a close frame.
    fn channel_frames(&self, reason: &str) -> Vec<u8> {
        let Some(protocol) = self.protocol else {
            let short = &reason[..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)];
            return close(CLOSE_INTERNAL_ERROR, short);
        };
        let mut frames = Vec::new();
        if self.delivery.error.is_empty() {
            let text = self.last_words(reason);
            let channels = match protocol.channels {
                Channels::Exec(_) => ERROR..=ERROR,
                Channels::Forward(count) => 1..=count - 1,
            };
            for channel in channels.step_by(2) {
                frames.extend(channel_message(protocol, channel, &text));
            }
        }
        frames.extend(close(CLOSE_NORMAL, ""));
        frames
    }

    /// A `Status` where the client decodes one, else plain text.
    fn last_words(&self, reason: &str) -> Vec<u8> {
        let has_status = match self.kind {
            Kind::Exec | Kind::Attach => self.delivery.error.is_json(),
            Kind::PortForward | Kind::Logs | Kind::Watch => false,
        };
        let status = Failure {
            metadata: Empty {},
            status: "Failure",
            message: reason,
            reason: "InternalError",
            code: 500,
        };
        let json = if has_status { serde_json::to_vec(&status).ok() } else { None };
        json.unwrap_or_else(|| reason.as_bytes().to_vec())
    }
}

/// `metav1.Status`.
#[derive(Serialize)]
struct Failure<'a> {
    metadata: Empty,
    status: &'static str,
    message: &'a str,
    reason: &'static str,
    code: u16,
}

#[derive(Serialize)]
struct Empty {}

fn data_frame(id: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
    let mut frame = id.to_be_bytes().to_vec();
    frame.push(flags);
    frame.extend(length);
    frame.extend(bytes);
    frame
}

fn channel_message(protocol: Protocol, channel: u8, text: &[u8]) -> Vec<u8> {
    if protocol.base64 {
        let mut encoded = vec![b'0' + channel];
        encoded.extend(STANDARD.encode(text).bytes());
        return message(TEXT, &encoded);
    }
    message(BINARY, &[&[channel], text].concat())
}

fn close(code: u16, reason: &str) -> Vec<u8> {
    message(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// A server frame: FIN, no mask, the length in its shortest form.
fn message(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![FIN | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..=125), _) => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        (_, Err(_)) => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

const FIN: u8 = 0x80;
const FLAG_FIN: u8 = 1;
const CLOSE_NORMAL: u16 = 1000;
const CLOSE_INTERNAL_ERROR: u16 = 1011;
/// A control frame has room for 125 bytes, two of which are the code.
const CLOSE_REASON_BYTES_MAX: usize = 123;
