//! Why an agent has no link, in words for the operator of the cluster.

use hawser_tunnel::{LinkError, LinkLost, StreamError};

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
    } else if says(&["Expired", "expired", "NotValidYet"]) {
        " (the clock of this node or of the edge is wrong, or the edge's certificate was not renewed)"
            .to_owned()
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
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
        check("invalid peer certificate: certificate expired: verification time 5", "clock");
        check("peer closed", "handshake failed: peer closed");
    }
}
