//! What a recorder is told while bytes pass: each event describes bytes that are forwarded by the same call.

/// One of the two byte streams of an upgraded connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From kubectl towards the API server.
    ClientToServer,
    /// From the API server towards kubectl.
    ServerToClient,
}

/// The two streams of one forwarded connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ForwardPart {
    /// The bytes of the connection.
    Data,
    /// Text from the server, only when the connection failed.
    Error,
}

/// Which stream of the session an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream<'a> {
    /// exec, attach: what the user types.
    Stdin,
    /// exec, attach: what the command prints.
    Stdout,
    /// exec, attach: what the command prints as errors.
    Stderr,
    /// exec, attach: the server's status, JSON or (old protocols) text.
    Error,
    /// exec, attach: JSON objects with the size of the terminal.
    Resize,
    /// Port-forward over SPDY.
    Forward {
        /// Payload or error text.
        part: ForwardPart,
        /// The `requestid` header that pairs the two streams of a connection.
        request_id: &'a str,
        /// The `port` header of this stream.
        port: u16,
    },
    /// Port-forward over WebSocket channels: even carries data, odd errors; the first message is the port.
    Channel(u8),
    /// Logs and watch: everything the server sends, as it is on the wire.
    Output,
}

/// Something that passed the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A SPDY stream was opened (the channels of a WebSocket are there from the start).
    Open {
        /// The new stream.
        stream: Stream<'a>,
    },
    /// Payload, decoded (unmasked, and out of base64 where the protocol has it). Never empty.
    Data {
        /// The stream it belongs to.
        stream: Stream<'a>,
        /// The bytes.
        bytes: &'a [u8],
        /// The receiver had already given this stream up (reset, or GOAWAY) and will not look at it.
        late: bool,
    },
    /// One whole object of the resize stream; its raw bytes were in [`Event::Data`] too.
    Resize {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// This direction of a stream has ended.
    Fin {
        /// The stream.
        stream: Stream<'a>,
    },
    /// The sender gave the stream up.
    Reset {
        /// The stream.
        stream: Stream<'a>,
        /// The SPDY status code; 5 is CANCEL.
        status: u32,
    },
    /// A ping, or the answer to one.
    KeepAlive,
    /// The sender is done: a WebSocket close frame, or a SPDY GOAWAY.
    Close {
        /// The code of a WebSocket close frame, if it has one.
        code: Option<u16>,
    },
}

/// Where events go.
pub(crate) type Sink<'s> = dyn FnMut(Event<'_>) + 's;
