//! Every statement the store makes, as functions on a connection.

use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension, Result, Row, params};
use serde_json::Value;

use std::sync::Arc;

use crate::object::{Key, Object};
use crate::watch::{Event, EventKind, Kinds, Page};

/// The one row that orders everything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ledger {
    /// The newest revision.
    pub(super) revision: u64,
    /// The oldest revision that can be asked for.
    pub(super) compacted: u64,
    /// Superseded history up to here has been removed.
    pub(super) swept: u64,
}

pub(super) fn ledger(connection: &Connection) -> Result<Ledger> {
    let mut statement = connection.prepare_cached("SELECT revision, compacted, swept FROM ledger")?;
    statement.query_row([], |row| {
        Ok(Ledger {
            revision: unsigned(row.get(0)?),
            compacted: unsigned(row.get(1)?),
            swept: unsigned(row.get(2)?),
        })
    })
}

pub(super) fn set_ledger(connection: &Connection, ledger: Ledger) -> Result<()> {
    let mut statement =
        connection.prepare_cached("UPDATE ledger SET revision = ?1, compacted = ?2, swept = ?3")?;
    statement.execute([signed(ledger.revision), signed(ledger.compacted), signed(ledger.swept)])?;
    Ok(())
}

/// Counts the commits of other connections to this file.
pub(super) fn data_version(connection: &Connection) -> Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

pub(super) fn current(connection: &Connection, key: &Key) -> Result<Option<Object>> {
    let mut statement = connection.prepare_cached(
        "SELECT h.kind, h.namespace, h.name, h.revision, h.object
         FROM current c JOIN history h ON h.revision = c.revision
         WHERE c.kind = ?1 AND c.namespace = ?2 AND c.name = ?3",
    )?;
    statement.query_row([&key.kind, &key.namespace, &key.name], object).optional()
}

/// Adds a change to the history and to the objects that exist.
pub(super) fn append(connection: &Connection, event: &Event, at_ms: i64, text: &str) -> Result<()> {
    let Key { kind, namespace, name } = &event.object.key;
    let revision = signed(event.revision);
    let mut history = connection.prepare_cached(
        "INSERT INTO history (revision, kind, namespace, name, change, at, object) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    history.execute(params![revision, kind, namespace, name, code(event.kind), at_ms, text])?;
    match event.kind {
        EventKind::Added | EventKind::Modified => {
            let mut current = connection.prepare_cached(
                "INSERT INTO current (kind, namespace, name, revision) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (kind, namespace, name) DO UPDATE SET revision = excluded.revision",
            )?;
            current.execute(params![kind, namespace, name, revision])?;
        }
        EventKind::Deleted => {
            let mut current = connection
                .prepare_cached("DELETE FROM current WHERE kind = ?1 AND namespace = ?2 AND name = ?3")?;
            current.execute([kind, namespace, name])?;
        }
    }
    Ok(())
}

/// The changes after one revision up to another; reads at most [`HISTORY_ROWS_MAX`] rows.
pub(super) fn history(connection: &Connection, kinds: &Kinds, after: u64, until: u64) -> Result<Page> {
    let mut statement = connection.prepare_cached(
        "SELECT kind, namespace, name, revision, object, change FROM history
         WHERE revision > ?1 AND revision <= ?2 ORDER BY revision LIMIT ?3",
    )?;
    let mut rows = statement.query([signed(after), signed(until), HISTORY_ROWS_MAX])?;
    let (mut events, mut read, mut read_up_to) = (Vec::new(), 0, after);
    while let Some(row) = rows.next()? {
        read += 1;
        read_up_to = unsigned(row.get(3)?);
        if kinds.contain(row.get_ref(0)?.as_str()?) {
            let (kind, object) = (event_kind(row)?, Arc::new(object(row)?));
            events.push(Event { kind, object, revision: read_up_to });
        }
    }
    if read < HISTORY_ROWS_MAX {
        read_up_to = until;
    }
    Ok(Page { events, read_up_to })
}

/// Which part of a list to read.
#[derive(Debug)]
pub(super) struct Slice<'a> {
    pub(super) kind: &'a str,
    /// Only this namespace.
    pub(super) within: Option<&'a str>,
    /// Objects after this namespace and name.
    pub(super) after: (&'a str, &'a str),
    /// At most this many.
    pub(super) rows_max: i64,
}

/// Objects as they are.
pub(super) fn list_current(connection: &Connection, slice: &Slice<'_>) -> Result<Vec<Object>> {
    let Slice { kind, within, after, rows_max } = slice;
    let mut statement = connection.prepare_cached(LIST_CURRENT)?;
    statement.query_map(params![kind, within, after.0, after.1, rows_max], object)?.collect()
}

/// Objects as they were at `revision`, which must not be compacted.
pub(super) fn list_at(connection: &Connection, slice: &Slice<'_>, revision: u64) -> Result<Vec<Object>> {
    let Slice { kind, within, after, rows_max } = slice;
    let mut statement = connection.prepare_cached(LIST_AT)?;
    statement
        .query_map(params![kind, within, after.0, after.1, rows_max, signed(revision)], object)?
        .collect()
}

pub(super) fn count_current(connection: &Connection, kind: &str, within: Option<&str>) -> Result<u64> {
    let mut statement = connection
        .prepare_cached("SELECT count(*) FROM current WHERE kind = ?1 AND (?2 IS NULL OR namespace = ?2)")?;
    statement.query_row(params![kind, within], |row| row.get(0).map(unsigned))
}

/// The newest revision after `compacted` before which every change is older than `cutoff_ms`.
pub(super) fn last_older_than(connection: &Connection, ledger: Ledger, cutoff_ms: i64) -> Result<u64> {
    let mut statement = connection.prepare_cached(
        "SELECT revision FROM history WHERE revision > ?1 AND at >= ?2 ORDER BY revision LIMIT 1",
    )?;
    let first_young: Option<i64> =
        statement.query_row([signed(ledger.compacted), cutoff_ms], |row| row.get(0)).optional()?;
    Ok(first_young.map_or(ledger.revision, |revision| unsigned(revision).saturating_sub(1)))
}

/// Removes the predecessors of the changes after `from` up to `to`, and the deletions among these. Called window by
/// window in ascending order, this leaves of everything up to `to` the last change of each object that existed at `to`.
pub(super) fn sweep(connection: &Connection, from: u64, to: u64) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM history WHERE revision IN (
             SELECT (
                 SELECT max(o.revision) FROM history o
                 WHERE o.kind = n.kind AND o.namespace = n.namespace AND o.name = n.name AND o.revision < n.revision
             ) FROM history n WHERE n.revision > ?1 AND n.revision <= ?2
             UNION ALL
             SELECT revision FROM history WHERE revision > ?1 AND revision <= ?2 AND change = 2
         )",
    )?;
    statement.execute([signed(from), signed(to)])?;
    Ok(())
}

/// An object of the columns kind, namespace, name, revision, object.
fn object(row: &Row<'_>) -> Result<Object> {
    let key = Key { kind: row.get(0)?, namespace: row.get(1)?, name: row.get(2)? };
    let text = row.get_ref(4)?.as_str()?;
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Error::FromSqlConversionFailure(4, Type::Text, Box::new(error)))?;
    Ok(Object { key, revision: unsigned(row.get(3)?), value })
}

/// The kind of change in column 5.
fn event_kind(row: &Row<'_>) -> Result<EventKind> {
    match row.get(5)? {
        0 => Ok(EventKind::Added),
        1 => Ok(EventKind::Modified),
        2 => Ok(EventKind::Deleted),
        other => Err(Error::IntegralValueOutOfRange(5, other)),
    }
}

fn code(kind: EventKind) -> i64 {
    match kind {
        EventKind::Added => 0,
        EventKind::Modified => 1,
        EventKind::Deleted => 2,
    }
}

/// SQLite's integers are signed; the counter never gets near the difference.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Rows read at a time while following or replaying history.
pub(super) const HISTORY_ROWS_MAX: i64 = 256;

/// Parameters: kind, namespace or NULL, namespace and name before, rows.
pub(super) const LIST_CURRENT: &str = "SELECT h.kind, h.namespace, h.name, h.revision, h.object
     FROM current c JOIN history h ON h.revision = c.revision
     WHERE c.kind = ?1 AND (?2 IS NULL OR c.namespace = ?2) AND (c.namespace, c.name) > (?3, ?4)
     ORDER BY c.namespace, c.name LIMIT ?5";

/// Parameters: kind, namespace or NULL, namespace and name before, rows, revision.
pub(super) const LIST_AT: &str = "SELECT h.kind, h.namespace, h.name, h.revision, h.object
     FROM history h
     WHERE h.kind = ?1 AND (?2 IS NULL OR h.namespace = ?2) AND (h.namespace, h.name) > (?3, ?4)
     AND h.revision <= ?6 AND h.change <> 2
     AND NOT EXISTS (
         SELECT 1 FROM history n
         WHERE n.kind = h.kind AND n.namespace = h.namespace AND n.name = h.name
         AND n.revision > h.revision AND n.revision <= ?6
     )
     ORDER BY h.namespace, h.name LIMIT ?5";
