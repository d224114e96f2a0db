//! Why there is no audit log, and why an event was not taken.

use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Why an audit log was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key of the configuration is out of range.
    #[error("audit: {key} is {value}, must be {} to {}", range.start(), range.end())]
    Config {
        /// Which key.
        key: &'static str,
        /// What it says.
        value: u64,
        /// What it may say.
        range: RangeInclusive<u64>,
    },
    /// The file cannot be opened for writing.
    #[error("audit: cannot open {path}", path = path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The thread cannot be started.
    #[error("audit: cannot start the writer thread")]
    Thread(#[source] io::Error),
}

/// The event was not taken and `OnFull::Refuse` is configured: what it tells of must not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audit queue is full")]
pub struct Full;
