//! Why a message was refused. After any of these the position in the byte stream is unknown: answer once
//! and close the connection.

/// A message that is not forwarded. The texts are for the client and for the log alike: they never repeat
/// bytes of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The head does not follow the grammar, or could be read in two ways.
    #[error("malformed HTTP message: {0}")]
    Malformed(&'static str),
    /// The chunked body does not follow the grammar.
    #[error("malformed chunked body: {0}")]
    Chunked(&'static str),
    /// The connection ended inside a message.
    #[error("the connection ended before the message was complete")]
    Truncated,
    /// The request target is longer than `Limits::target_bytes_max`.
    #[error("request target is too long")]
    TargetTooLong,
    /// An `Expect` other than `100-continue`.
    #[error("unknown expectation")]
    Expectation,
    /// The head or the trailer section is larger, or has more fields, than `Limits` allow.
    #[error("header section is too large")]
    HeadTooLarge,
    /// A method this proxy does not forward: CONNECT, TRACE, or a name longer than any that exists.
    #[error("method is not supported")]
    Method,
    /// A transfer coding other than `chunked`.
    #[error("transfer coding is not supported")]
    TransferCoding,
    /// A protocol version other than 1.0 and 1.1.
    #[error("HTTP version is not supported")]
    Version,
}

impl Error {
    /// The status code to answer a *request* with. An error in a response is a 502 whatever it is.
    #[must_use]
    pub fn status_code(self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Chunked(_) | Self::Truncated => 400,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::HeadTooLarge => 431,
            Self::Method | Self::TransferCoding => 501,
            Self::Version => 505,
        }
    }
}
