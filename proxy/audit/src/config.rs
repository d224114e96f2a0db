//! What an audit log needs to know, and in which ranges.

use std::path::PathBuf;

use crate::StartError;

/// An audit log file and its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file that is written. Older ones stand beside it as `PATH.1` (the youngest), `PATH.2`, ...
    pub path: PathBuf,
    /// Bytes after which the file is rotated; at least 1. No file grows beyond it, but for a single event
    /// that is longer.
    pub rotate_bytes: u64,
    /// How many older files are kept, 1 to 999.
    pub rotate_keep: u32,
    /// How many events may wait for the disk, 1 to 1 000 000.
    pub queue_max: usize,
    /// The answer when there is no room.
    pub on_full: OnFull,
}

/// What happens to requests when their events cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// No audit, no request: [`Audit::ready`](crate::Audit::ready) is false and requests are answered 503
    /// before they are forwarded.
    Refuse,
    /// Requests go on; the events that are lost are counted.
    Count,
}

impl Config {
    /// # Errors
    /// [`StartError::Config`] with the first key that is out of range.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        for (key, value, range) in [
            ("rotate_bytes", self.rotate_bytes, 1..=u64::MAX),
            ("rotate_keep", self.rotate_keep.into(), 1..=ROTATE_KEEP_MAX),
            ("queue_max", self.queue_max as u64, 1..=QUEUE_MAX),
        ] {
            if !range.contains(&value) {
                return Err(StartError::Config { key, value, range });
            }
        }
        Ok(())
    }
}

const ROTATE_KEEP_MAX: u64 = 999;
const QUEUE_MAX: u64 = 1_000_000;
