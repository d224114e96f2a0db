//! The edge's memory: one `audit.k8s.io/v1` event per stage of each exchange, refusals too, as JSON lines in
//! a file of its own. The last station of a request; the request itself never waits for the disk.
//!
//! | file | |
//! |---|---|
//! | `audit` | [`Audit`]: the handle that every worker holds; a bounded queue |
//! | `writer` | the thread behind the queue: batches, retries, the last flush |
//! | `log_file` | the file: whole lines, rotation, reopening |
//!
//! What was taken is written, in order, once the disk lets it. What cannot be taken has one configured
//! answer ([`OnFull`]) and is counted. A batch is on disk (`fdatasync`) before the next one is begun; a power
//! failure costs at most the batch under way and what is still queued.

mod audit;
mod config;
mod error;
mod log_file;
mod metrics;
mod writer;

pub use audit::{Audit, Slot};
pub use config::{Config, OnFull};
pub use error::{Full, StartError};
pub use metrics::Counts;
