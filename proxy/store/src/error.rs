//! What a caller can be told. Each variant is one thing to do differently; the management API turns them into the
//! Kubernetes reasons named here.

use std::path::PathBuf;

use thiserror::Error;

use crate::object::Key;

/// Why the store did not do what was asked. `Clone`, because one failed commit answers many callers.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
pub enum StoreError {
    /// There is no such object (404, `NotFound`).
    #[error("{key} not found")]
    NotFound {
        /// What was asked for.
        key: Key,
    },
    /// An object of that kind and name is there already (409, `AlreadyExists`).
    #[error("{key} already exists")]
    AlreadyExists {
        /// What was to be created.
        key: Key,
    },
    /// The object changed since the caller read it (409, `Conflict`): read again, decide again, write again.
    #[error(
        "{key} is at resourceVersion {found}, the change was made on {expected}; read it again, and change that"
    )]
    Conflict {
        /// What was to be changed.
        key: Key,
        /// Revision the caller asked for.
        expected: u64,
        /// Revision the object has; 0 if it does not exist.
        found: u64,
    },
    /// The object was deleted and created again since the caller read it: its `metadata.uid` differs (409, `Conflict`).
    #[error(
        "{key} is not the object the change was made on (its uid differs); read it again, and change that"
    )]
    Replaced {
        /// What was to be changed.
        key: Key,
    },
    /// The history asked for is gone (410, `Expired`): list again and watch from the list's revision.
    #[error("revision {asked} is too old: the oldest is {oldest}")]
    Compacted {
        /// Revision the caller asked for.
        asked: u64,
        /// Oldest revision that can be asked for.
        oldest: u64,
    },
    /// What was sent cannot be stored or asked whatever the state (400, 422); the text names the field.
    #[error("{what}")]
    Invalid {
        /// Which field, what it holds, what would be right.
        what: String,
    },
    /// The disk or the allowed size of the file is used up (507); nothing was changed.
    #[error(
        "the store is full: its disk is, or its file has reached file_bytes_max; make room and try again"
    )]
    Full,
    /// Nothing was changed because something is in the way for the moment (429, 503): try again later.
    #[error("the store is busy: {what}; try again")]
    Busy {
        /// What is in the way.
        what: &'static str,
    },
    /// This watch did not read its events as fast as they came and has ended (410): list again and watch again.
    #[error("the watch lagged behind: more than {queue_max} events waited")]
    Lagged {
        /// The bound that was reached.
        queue_max: usize,
    },
    /// The store has ended; whether a change that was on its way was made is not known.
    #[error("the store is closed; whether the change was made is not known, look before making it again")]
    Closed,
    /// The file was written by a newer version; it was not touched.
    #[error(
        "{path:?} has schema {found}, this version knows up to {known}: run the newer version, or restore a backup"
    )]
    SchemaTooNew {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema this code knows.
        known: i64,
    },
    /// The file belongs to something else; it was not touched.
    #[error(
        "{path:?} is not a Hawser store, and was left as it is; use another folder, or move the file away"
    )]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged: stop, keep a copy, restore a backup.
    #[error("the store is damaged: {what}; keep a copy of its file, and restore a backup")]
    Corrupt {
        /// What the database said.
        what: String,
    },
    /// The disk failed. Whether this change was made is not known. After a failed write or sync this process writes no
    /// more (the kernel may have marked the lost pages clean): check the disk, start again.
    #[error("the store's file failed: {what}; check the disk, then start again")]
    Io {
        /// What the operating system or the database said.
        what: String,
    },
}

impl StoreError {
    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into() }
    }
}
