//! How the command ended, read from the server's error stream.
//!
//! v4 and v5 send one `metav1.Status` as JSON; older protocols send text, or nothing when all went well. client-go
//! takes an error stream that ends empty as success, and so does this.

use serde::Deserialize;

/// Bytes of the error stream that are kept; a real one has under 1 KiB. More passes, but is not understood.
pub const STATUS_BYTES_MAX: usize = 64 * 1024;

/// The end of an exec or attach session, as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// The command ended with exit code 0.
    Success,
    /// The command ended with this exit code.
    Code(i32),
    /// It did not start, or ended in another way; the server's text.
    Failure(String),
}

/// What the server has said on the error stream so far.
#[derive(Debug)]
pub(crate) struct ErrorText {
    json: bool,
    bytes: Vec<u8>,
    ended: bool,
}

impl ErrorText {
    /// `json`: the protocol sends a `Status`.
    pub(crate) const fn new(json: bool) -> Self {
        Self { json, bytes: Vec::new(), ended: false }
    }

    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = STATUS_BYTES_MAX - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }

    /// The server will say nothing more.
    pub(crate) const fn end(&mut self) {
        self.ended = true;
    }

    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        if self.bytes.is_empty() {
            return self.ended.then_some(ExitStatus::Success);
        }
        if let Some(status) = self.json.then(|| serde_json::from_slice::<Status>(&self.bytes).ok()).flatten()
        {
            return Some(status.into());
        }
        self.ended.then(|| ExitStatus::Failure(String::from_utf8_lossy(&self.bytes).into_owned()))
    }
}

/// The fields of `metav1.Status` that say how a command ended.
#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    status: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    causes: Vec<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

impl From<Status> for ExitStatus {
    fn from(status: Status) -> Self {
        if status.status == "Success" {
            return Self::Success;
        }
        let causes = status.details.map(|details| details.causes).unwrap_or_default();
        let code = causes
            .iter()
            .find(|cause| status.reason == "NonZeroExitCode" && cause.reason == "ExitCode")
            .and_then(|cause| cause.message.parse().ok());
        code.map_or(Self::Failure(status.message), Self::Code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: bool, text: &str, ended: bool, expected: Option<ExitStatus>) {
        let mut error = ErrorText::new(json);
        for byte in text.as_bytes() {
            error.push(&[*byte]);
        }
        if ended {
            error.end();
        }
        assert_eq!(error.exit_status(), expected, "{text}");
    }

    #[test]
    fn status_json_is_understood_as_soon_as_it_is_whole() {
        check(true, "{\"metadata\":{},\"status\":\"Success\"}", false, Some(ExitStatus::Success));
        check(true, "{\"metadata\":{},\"status\":\"Succ", false, None);
        let seven = "{\"status\":\"Failure\",\"message\":\"m\",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"7\"}]}}";
        check(true, seven, false, Some(ExitStatus::Code(7)));
        let failed =
            "{\"status\":\"Failure\",\"message\":\"no such container\",\"reason\":\"InternalError\"}";
        check(true, failed, false, Some(ExitStatus::Failure("no such container".into())));
    }

    #[test]
    fn text_and_silence_count_at_the_end() {
        check(false, "boom", false, None);
        check(false, "boom", true, Some(ExitStatus::Failure("boom".into())));
        check(true, "not json", true, Some(ExitStatus::Failure("not json".into())));
        check(true, "", false, None);
        check(true, "", true, Some(ExitStatus::Success));
    }

    #[test]
    fn kept_text_is_bounded() {
        let mut error = ErrorText::new(false);
        error.push(&vec![b'x'; STATUS_BYTES_MAX - 1]);
        error.push(b"xyz");
        error.end();
        assert_eq!(error.exit_status(), Some(ExitStatus::Failure("x".repeat(STATUS_BYTES_MAX))));
    }
}
