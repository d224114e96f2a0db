//! The tables, and how a file gets them.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};

use super::{failure, opening, wait_for_lock};
use crate::error::StoreError;

/// Steps from one schema to the next: the first makes schema 1 of an empty file. Released steps never change.
const STEPS: [&str; 1] = ["
    CREATE TABLE schema_version (version INTEGER NOT NULL);
    INSERT INTO schema_version VALUES (0);

    -- One row. revision: the newest. compacted: the oldest that can be asked for. swept: how far superseded history
    -- has been removed (at most compacted).
    CREATE TABLE ledger (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        revision INTEGER NOT NULL,
        compacted INTEGER NOT NULL,
        swept INTEGER NOT NULL
    );
    INSERT INTO ledger VALUES (1, 0, 0, 0);

    -- Every change, until compaction; always the last change of every object that exists.
    -- change: 0 added, 1 modified, 2 deleted. at: milliseconds since 1970 by the writer's wall clock.
    CREATE TABLE history (
        revision INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        change INTEGER NOT NULL,
        at INTEGER NOT NULL,
        object TEXT NOT NULL
    );
    CREATE INDEX history_of_object ON history (kind, namespace, name, revision);

    -- The objects that exist; each is stored once, in history.
    CREATE TABLE current (
        kind TEXT NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        revision INTEGER NOT NULL,
        PRIMARY KEY (kind, namespace, name)
    ) WITHOUT ROWID;
"];

/// Brings the file to the newest schema. A file of something else or of a newer version is left as it is.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    // In a transaction, so that all that is looked at is of one moment: another process may be making the file.
    let moment = connection.transaction().map_err(failure)?;
    check_known(version(&moment, path)?, path)?;
    moment.finish().map_err(failure)?;
    use_log(connection).map_err(|error| opening(error, path))?;
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failure)?;
    // Again, with the lock: another process may have been quicker.
    let found = version(&transaction, path)?;
    check_known(found, path)?;
    migrate(&transaction, found).map_err(failure)?;
    transaction.commit().map_err(failure)
}

fn migrate(transaction: &Transaction<'_>, found: i64) -> rusqlite::Result<()> {
    if found == 0 {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    for (step, sql) in (1..).zip(STEPS).filter(|(step, _)| *step > found) {
        transaction.execute_batch(sql)?;
        transaction.execute("UPDATE schema_version SET version = ?1", [step])?;
        tracing::info!(step, "store schema");
    }
    Ok(())
}

/// The file's schema; 0 if it is empty.
fn version(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let (application, tables) = marks(connection).map_err(|error| opening(error, path))?;
    match (application, tables) {
        (0, 0) => Ok(0),
        (APPLICATION_ID, _) => {
            let version = connection
                .query_row("SELECT version FROM schema_version", [], |row| row.get(0))
                .optional()
                .map_err(failure)?;
            version.ok_or_else(|| StoreError::Corrupt { what: "no schema version".into() })
        }
        (_other, _) => Err(StoreError::NotAStore { path: path.to_owned() }),
    }
}

fn marks(connection: &Connection) -> rusqlite::Result<(i32, i64)> {
    let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    Ok((application, tables))
}

fn check_known(found: i64, path: &Path) -> Result<(), StoreError> {
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::SchemaTooNew { path: path.to_owned(), found, known });
    }
    Ok(())
}

/// Turns the write-ahead log on. SQLite does not wait for locks while it changes that, so this does.
fn use_log(connection: &Connection) -> rusqlite::Result<()> {
    let mut sleeps = 0;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |_row| Ok(())) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && wait_for_lock(sleeps) =>
            {
                sleeps += 1;
            }
            done => return done,
        }
    }
}

/// "HWSR", where SQLite lets a file say what it is.
const APPLICATION_ID: i32 = 0x4857_5352;
