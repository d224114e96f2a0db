//! Why an agent has no link, in words for the operator of the cluster.

use hawser_tunnel::{LinkError, StreamError};

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
    /// No answer over UDP.
    #[error(
        "{edge}: {source}; if nothing answers, UDP to {edge} is blocked on the way or no edge listens there"
    )]
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
