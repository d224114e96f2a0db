//! Why an exchange did not go as asked, and what its client sees of that.

use hawser_kube::{close::CloseReason, status::Status};

use crate::downstream::ClientError;

/// One variant per thing that [`crate::request`] does differently.
#[derive(Debug)]
pub(crate) enum EdgeError {
    /// Nothing was sent to the client yet: it gets this answer.
    Answer(Box<Status>),
    /// The client left or broke the protocol: nobody is there to answer.
    Client(ClientError),
    /// The head had gone out: the response ends unfinished, for this reason.
    Cut(CloseReason),
}

impl From<Status> for EdgeError {
    fn from(status: Status) -> Self {
        Self::Answer(Box::new(status))
    }
}

impl From<ClientError> for EdgeError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}
