//! What an agent is told by its Deployment and its join token.

use std::{path::PathBuf, time::Duration};

use hawser_identity::JoinToken;
use hawser_tunnel::LinkConfig;

/// How one agent runs.
pub struct Config {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of this replica: the pod's.
    pub replica: String,
    /// Where the edges are, whom to trust there, and the secret of the first contact.
    pub join: JoinToken,
    /// Projected ServiceAccount token for audience `hawser`.
    pub identity_token: PathBuf,
    /// Host of the API server.
    pub apiserver_host: String,
    /// Port of the API server.
    pub apiserver_port: u16,
    /// The cluster's CA, PEM.
    pub apiserver_ca: String,
    /// ServiceAccount token for the API server.
    pub apiserver_token: PathBuf,
    /// What every user name from an edge must begin with.
    pub user_prefix: String,
    /// Parameters of links.
    pub link: LinkConfig,
    /// How long running exchanges may go on after SIGTERM.
    pub drain_timeout: Duration,
}
