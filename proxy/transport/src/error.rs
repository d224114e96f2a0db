//! What can go wrong with threads and runtimes. Sockets speak `std::io::Error`, with the address in
//! its message.

use std::io;

use thiserror::Error;

/// Failure to start or to finish the workers.
#[derive(Debug, Error)]
pub enum TransportError {
    /// The operating system refused a thread, a runtime or the pinning; nothing runs.
    #[error("worker {worker}: {what}")]
    Start {
        /// Index of the worker that could not start.
        worker: usize,
        /// What was tried.
        what: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A worker panicked; the others were told to shut down.
    #[error("worker {worker} panicked")]
    Panicked {
        /// Index of the first worker that panicked.
        worker: usize,
    },
}
