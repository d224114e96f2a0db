//! Why something ended: one enum for the whole cancellation tree (process, worker, connection, exchange).
//!
//! The same value is the label of a metric, a field of a log line, an annotation of an audit event and, as a
//! sentence, what a person reads when a session of theirs is cut.

use std::borrow::Cow;
use std::fmt;

/// Why a connection, a link or an exchange was ended before it was finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed its connection or reset its stream.
    ClientGone,
    /// This edge hands its work over and takes nothing new.
    Drain,
    /// The tunnel connection that carried the exchange broke; other replicas may still serve.
    LinkLost,
    /// No agent of the cluster is connected any more.
    AgentGone,
    /// The API server closed the connection or reset the stream.
    UpstreamGone,
    /// A policy, credential or lock changed so that the exchange would be refused today.
    Revoked,
    /// A deadline passed.
    Timeout,
    /// A stream carried bytes that its protocol does not allow; says which rule was broken.
    BadStream(Cow<'static, str>),
    /// A budget in bytes, streams or time was used up.
    LimitReached,
    /// The process ends.
    Shutdown,
}

impl CloseReason {
    /// The reason as a stable word, for logs, metrics and audit annotations.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::ClientGone => "client-gone",
            Self::Drain => "drain",
            Self::LinkLost => "link-lost",
            Self::AgentGone => "agent-gone",
            Self::UpstreamGone => "upstream-gone",
            Self::Revoked => "revoked",
            Self::Timeout => "timeout",
            Self::BadStream(_) => "bad-stream",
            Self::LimitReached => "limit-reached",
            Self::Shutdown => "shutdown",
        }
    }

    /// The reason for the screen of the person whose session ends.
    #[must_use]
    pub fn sentence(&self) -> Cow<'static, str> {
        match self {
            Self::ClientGone => Cow::Borrowed("session ended by Hawser: the client went away"),
            Self::Drain => {
                Cow::Borrowed("session ended by Hawser: this edge is being restarted, connect again")
            }
            Self::LinkLost => {
                Cow::Borrowed("session ended by Hawser: the link to the cluster broke, connect again")
            }
            Self::AgentGone => Cow::Borrowed("session ended by Hawser: the cluster is not connected"),
            Self::UpstreamGone => {
                Cow::Borrowed("session ended by Hawser: the cluster's API server closed the connection")
            }
            Self::Revoked => Cow::Borrowed("session ended by Hawser: access was revoked"),
            Self::Timeout => Cow::Borrowed("session ended by Hawser: it took longer than allowed"),
            Self::BadStream(rule) => Cow::Owned(format!(
                "session ended by Hawser: the stream broke a rule of its protocol: {rule}"
            )),
            Self::LimitReached => Cow::Borrowed("session ended by Hawser: a limit was reached"),
            Self::Shutdown => {
                Cow::Borrowed("session ended by Hawser: this edge is shutting down, connect again")
            }
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadStream(rule) => write!(f, "{}: {rule}", self.as_str()),
            Self::ClientGone
            | Self::Drain
            | Self::LinkLost
            | Self::AgentGone
            | Self::UpstreamGone
            | Self::Revoked
            | Self::Timeout
            | Self::LimitReached
            | Self::Shutdown => f.write_str(self.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn all() -> Vec<CloseReason> {
        vec![
            CloseReason::ClientGone,
            CloseReason::Drain,
            CloseReason::LinkLost,
            CloseReason::AgentGone,
            CloseReason::UpstreamGone,
            CloseReason::Revoked,
            CloseReason::Timeout,
            CloseReason::BadStream("flags on a DATA frame".into()),
            CloseReason::LimitReached,
            CloseReason::Shutdown,
        ]
    }

    #[test]
    fn labels_are_distinct_words() {
        let labels: HashSet<_> = all().iter().map(CloseReason::as_str).collect();
        assert_eq!(labels.len(), all().len());
        assert!(labels.iter().all(|label| label.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    }

    #[test]
    fn every_sentence_names_the_product() {
        for reason in all() {
            assert!(reason.sentence().starts_with("session ended by Hawser: "), "{reason}");
        }
    }

    #[test]
    fn a_bad_stream_says_which_rule() {
        let reason = CloseReason::BadStream("flags on a DATA frame".into());
        assert!(reason.sentence().ends_with("flags on a DATA frame"));
        assert_eq!(reason.to_string(), "bad-stream: flags on a DATA frame");
    }
}
