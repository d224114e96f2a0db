//! The embedded backend: SQLite in WAL mode, `synchronous=FULL`, behind two threads.
//!
//! One thread owns the connection that writes ([`writer`]), one the connection that reads ([`reader`]): a read never
//! waits for a sync and a long list never delays a commit. Other processes may do the same with the same file.

mod feed;
mod reader;
mod rows;
mod schema;
mod writer;

use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::config::Options;
use crate::error::StoreError;
use crate::metrics::Metrics;

pub(crate) use reader::Read;
pub(crate) use writer::Command as WriterCommand;

/// Opens the file, brings it to this version's schema and starts both threads; they end when their sender is dropped.
pub(crate) fn start(
    path: &Path,
    options: Options,
    metrics: &Arc<Metrics>,
) -> Result<(SyncSender<WriterCommand>, SyncSender<Read>), StoreError> {
    create_private(path).map_err(|error| io_error(path, &error))?;
    let mut write = connect(path)?;
    schema::prepare(&mut write, path)?;
    limit_size(&write, options.file_bytes_max).map_err(failure)?;
    let read = connect(path)?;
    // Not opened read-only: whichever connection is closed last tidies the write-ahead log away.
    read.pragma_update(None, "query_only", true).map_err(failure)?;

    let (writes, write_queue) = sync_channel(options.queue_max);
    let (reads, read_queue) = sync_channel(options.queue_max);
    let writer = writer::Writer::new(write, options, Arc::clone(metrics))?;
    spawn("store-write", path, move || writer.run(&write_queue))?;
    spawn("store-read", path, move || reader::run(read, &read_queue))?;
    Ok((writes, reads))
}

fn spawn(name: &str, path: &Path, body: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(body);
    spawned.map(drop).map_err(|error| io_error(path, &error))
}

/// Makes sure of a file that only its owner can read; SQLite gives its log and index the same mode.
///
/// An existing file is never opened here: closing it would drop the locks that other connections of this process hold
/// on it (POSIX locks belong to the process).
fn create_private(path: &Path) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(path) {
        Ok(_created) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mode = fs::metadata(path)?.permissions().mode() & 0o777;
            match mode {
                MODE => Ok(()),
                _wider => fs::set_permissions(path, fs::Permissions::from_mode(MODE)),
            }
        }
        Err(error) => Err(error),
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(|error| opening(error, path))?;
    configure(&mut connection).map_err(|error| opening(error, path))?;
    Ok(connection)
}

fn configure(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.busy_handler(Some(wait_for_lock))?;
    // A write is answered only once it is on the disk.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES_KEPT, |_row| Ok(()))
}

/// SQLite's own waiting backs off to 100 ms, and a process that commits without a pause would leave it no chance:
/// the lock is free for some microseconds between two commits.
fn wait_for_lock(sleeps: i32) -> bool {
    thread::sleep(LOCK_SLEEP);
    sleeps < LOCK_SLEEPS_MAX
}

fn limit_size(connection: &Connection, bytes_max: u64) -> rusqlite::Result<()> {
    let page_bytes: u64 =
        connection.pragma_query_value(None, "page_size", |row| row.get(0).map(rows::unsigned))?;
    let pages_max = bytes_max / page_bytes.max(1);
    connection.pragma_update_and_check(None, "max_page_count", rows::signed(pages_max), |_row| Ok(()))
}

/// What a failure of SQLite means to callers.
fn failure(error: rusqlite::Error) -> StoreError {
    let what = error.to_string();
    let Some(code) = error.sqlite_error_code() else {
        // Not from SQLite but from reading what it gave: a row that this code cannot have written.
        return StoreError::Corrupt { what };
    };
    if matches!(code, ErrorCode::DiskFull) {
        StoreError::Full
    } else if matches!(code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) {
        StoreError::Busy { what: "another process keeps the store locked" }
    } else if matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) {
        StoreError::Corrupt { what }
    } else {
        StoreError::Io { what }
    }
}

/// What a failure means as long as it is not known that the file is a store.
fn opening(error: rusqlite::Error, path: &Path) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::NotAStore { path: path.to_owned() },
        Some(_) | None => failure(error),
    }
}

fn io_error(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Io { what: format!("{}: {error}", path.display()) }
}

/// Of the file, its log and its index: they hold what decides who may do what.
const MODE: u32 = 0o600;

/// How long to wait for another process's lock: sleeps of this length, this often, so 5 s or a little more.
const LOCK_SLEEP: Duration = Duration::from_millis(1);
const LOCK_SLEEPS_MAX: i32 = 5_000;

/// Statements kept prepared per connection; there are fewer.
const STATEMENTS_MAX: usize = 32;

/// A log that grew beyond this is cut back to it when it is started afresh, in bytes.
const LOG_BYTES_KEPT: i64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_waits_for_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        create_private(&path).unwrap();
        let mut connection = connect(&path).unwrap();
        schema::prepare(&mut connection, &path).unwrap();
        let pragma =
            |name| connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
        assert_eq!(pragma("synchronous").unwrap(), 2.into());
        assert_eq!(pragma("journal_mode").unwrap(), "wal".to_owned().into());
    }

    #[test]
    fn lists_are_read_along_an_index() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        create_private(&path).unwrap();
        let mut connection = connect(&path).unwrap();
        schema::prepare(&mut connection, &path).unwrap();
        for sql in [rows::LIST_CURRENT, rows::LIST_AT] {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let parameters = rusqlite::params_from_iter(std::iter::repeat_n("", statement.parameter_count()));
            let plan = statement.query_map(parameters, |row| row.get::<_, String>(3)).unwrap();
            let plan: Vec<String> = plan.map(Result::unwrap).collect();
            assert!(plan.iter().all(|step| !step.contains("SCAN") && !step.contains("B-TREE")), "{plan:?}");
        }
    }
}
