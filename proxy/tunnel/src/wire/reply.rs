//! What an agent says about an exchange before the response body: any number of messages, the last of
//! which is `Head`, `Refused` or `Failed`.

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::Message;
use super::bounded::fields;

/// Agent to edge, on the exchange's own stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplyV1 {
    /// The request is about to reach the API server: it may have been carried out from here on.
    Dispatched,
    /// The request was not sent on and may be sent again; the stream ends.
    Refused {
        /// HTTP status for the client, if the edge has no other link to try.
        code: u16,
        /// Why, for the client.
        message: String,
    },
    /// The API server's response head; the body follows on the stream.
    Head {
        /// HTTP status.
        status: u16,
        /// Header fields, sanitized.
        #[serde(with = "fields")]
        headers: HeaderMap,
        /// There is no body.
        end: bool,
    },
    /// No response can be given; the stream ends.
    Failed {
        /// HTTP status for the client.
        code: u16,
        /// Why, for the client.
        message: String,
        /// The API server may have carried the request out.
        maybe_delivered: bool,
    },
}

impl Message for ReplyV1 {
    const KIND: u16 = 2;
}
