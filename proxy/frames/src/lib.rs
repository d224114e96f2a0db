//! The gate for upgraded connections: after a validated 101 every byte of exec, attach, port-forward, logs and
//! watch passes a [`Session`], in both directions, before it goes on.
//!
//! The promise: what is forwarded is unchanged, is what the recorder was told, and has only one reading. Whatever
//! two parsers could read in two ways is cut, and nothing from the offending frame on has been forwarded. A session
//! that must end early can do so with a reason on the user's screen ([`Session::closing_frames`]).
//!
//! Pure: no I/O, no clock, no task. The way down:
//!
//! | file | noun |
//! |---|---|
//! | `session` | both directions of one upgraded connection |
//! | `websocket`, `channel` | WebSocket frames, and the channels of `*.channel.k8s.io` inside their messages |
//! | `spdy`, `spdy/streams`, `spdy/headers` | SPDY/3.1 frames, the streams they open, their compressed headers |
//! | `delivery` | what the payload means: events, terminal sizes (`resize`), exit status (`exit`) |
//! | `closing` | the frames that end a session with a reason |

mod channel;
mod closing;
mod delivery;
mod error;
mod event;
mod exit;
mod resize;
mod session;
mod spdy;
mod websocket;

pub use channel::{BASE64_MESSAGE_BYTES_MAX, FORWARD_PORTS_MAX};
pub use closing::REASON_BYTES_MAX;
pub use error::{Cut, Unsupported};
pub use event::{Direction, Event, ForwardPart, Stream};
pub use exit::{ExitStatus, STATUS_BYTES_MAX};
pub use resize::{RESIZE_DEPTH_MAX, RESIZE_OBJECT_BYTES_MAX};
pub use session::{Asked, Kind, Session, SessionSpec, TUNNEL_HELD_BYTES_MAX, Transport};
pub use spdy::{
    HEADER_BLOCK_BYTES_MAX, HEADER_BLOCK_INFLATED_BYTES_MAX, HEADER_TEXT_BYTES_MAX, HEADERS_MAX,
    REQUEST_ID_BYTES_MAX, STREAMS_LIVE_MAX, STREAMS_RETIRED_MAX,
};
pub use websocket::FRAME_BYTES_MAX;
