//! Why an agent has no link, in words for the operator of the cluster.

use hawser_identity::clocks_apart;
use hawser_tunnel::{LinkError, LinkLost, StreamError};
use jiff::Timestamp;

/// One attempt to connect failed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The edge's name has no address.
    #[error("{edge}: the name cannot be resolved: {source}")]
    Resolve {
        /// The edge.
        edge: String,
        /// What the resolver says.
        source: std::io::Error,
    },
    /// No connection over UDP.
    #[error("{edge}: {source}{}", hint(.edge, .source))]
    Link {
        /// The edge.
        edge: String,
        /// What went wrong.
        source: LinkError,
    },
    /// The edge answered and then broke off.
    #[error("{edge}: {source}")]
    Stream {
        /// The edge.
        edge: String,
        /// What went wrong.
        source: StreamError,
    },
    /// The edge does not go on.
    #[error("{edge}: connected, but no answer")]
    Silent {
        /// The edge.
        edge: String,
    },
    /// The edge refuses this agent.
    #[error("{edge} refuses this agent: {message}")]
    Refused {
        /// The edge.
        edge: String,
        /// What it says.
        message: String,
    },
    /// The cluster does not give what an agent needs.
    #[error("this cluster: {0}")]
    Cluster(String),
    /// Keys or certificates.
    #[error(transparent)]
    Identity(#[from] hawser_identity::IdentityError),
    /// A socket could not be made.
    #[error("UDP socket: {0}")]
    Socket(#[from] std::io::Error),
}

impl AgentError {
    /// Whether the connection came about and was lost in this way.
    pub(crate) fn is_loss(&self, lost: &LinkLost) -> bool {
        matches!(self, Self::Stream { source: StreamError::LinkLost(how), .. } if how == lost)
            || matches!(self, Self::Link { source: LinkError::Lost(how), .. } if how == lost)
    }
}

/// What the operator of the cluster can do about it, as far as that can be told from here.
fn hint(edge: &str, error: &LinkError) -> String {
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["no answer"]) {
        format!(" (UDP to {edge} is blocked on the way, or no edge listens there)")
    } else if says(&["UnknownIssuer", "BadSignature"]) {
        " (the edge does not have the CA of the join token: import the cluster again and apply what it prints)".to_owned()
    } else {
        out_of_time(&text).map(|clocks| format!(" ({clocks})")).unwrap_or_default()
    }
}

/// How far the clocks of this node and of the edge are apart, where that is why the edge's certificate is refused: rustls
/// says what the clock here said, and when the certificate ended or begins.
fn out_of_time(text: &str) -> Option<String> {
    let time_after = |words: &str| {
        let seconds = text.split_once(words)?.1.split(' ').next()?.parse().ok()?;
        Timestamp::from_second(seconds).ok()
    };
    let here = time_after("verification time ")?;
    let bound = time_after("is not valid after ").or_else(|| time_after("is not valid before "))?;
    let mut told = clocks_apart("this node", here, "the edge's", bound);
    if here > bound {
        told.push_str("; if neither is, the edge did not renew its certificate: see its log");
    }
    Some(told)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::CertificateError::{self, ExpiredContext, NotValidYetContext};
    use rustls_pki_types::UnixTime;

    use super::*;

    fn check(said: &str, hinted: &str) {
        let source = LinkError::Handshake(said.to_owned());
        let text = AgentError::Link { edge: "edge:8443".to_owned(), source }.to_string();
        assert!(text.starts_with("edge:8443: handshake failed: ") && text.contains(hinted), "{text}");
    }

    #[test]
    fn failures_say_what_to_do() {
        check("no answer from 192.0.2.1:8443", "UDP to edge:8443 is blocked");
        check("invalid peer certificate: UnknownIssuer", "import the cluster again");
        check("peer closed", "handshake failed: peer closed");
    }

    #[test]
    fn clocks_that_are_apart_are_told_with_their_difference() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let refused = |error: CertificateError, hinted: &str| {
            check(&rustls::Error::InvalidCertificate(error).to_string(), hinted);
        };
        let (noon, day) = (1_795_521_600, 86_400);
        refused(
            ExpiredContext { time: at(noon), not_after: at(noon - 3 * day) },
            "(the clock of this node, which says 2026-11-24T12:00:00Z, is at least 3d ahead of the edge's: set the one",
        );
        refused(
            NotValidYetContext { time: at(noon), not_before: at(noon + 300) },
            "(the clock of this node, which says 2026-11-24T12:00:00Z, is at least 5m behind the edge's: set the one",
        );
    }
}
