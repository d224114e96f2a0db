//! The thread that reads: each command sees one consistent snapshot.

use std::sync::mpsc::Receiver;

use rusqlite::{Connection, Transaction};
use tokio::sync::oneshot;

use super::failure;
use super::rows::{self, Ledger, Slice};
use crate::error::StoreError;
use crate::list::{Continue, List, ListOptions};
use crate::object::{Key, Object};
use crate::watch::{Kinds, Page};

/// Where an answer goes.
pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What can be asked.
#[derive(Debug)]
pub(crate) enum Read {
    Get { key: Key, answer: Answer<Object> },
    List { kind: String, options: ListOptions, answer: Answer<List> },
    History { kinds: Kinds, after: u64, until: u64, answer: Answer<Page> },
    Revision { answer: Answer<u64> },
}

/// Answers until the last handle is dropped.
pub(super) fn run(mut connection: Connection, queue: &Receiver<Read>) {
    while let Ok(read) = queue.recv() {
        match read {
            Read::Get { key, answer } => reply(answer, snapshot(&mut connection, |tx| get(tx, &key))),
            Read::List { kind, options, answer } => {
                reply(answer, snapshot(&mut connection, |tx| list(tx, &kind, &options)));
            }
            Read::History { kinds, after, until, answer } => {
                reply(answer, snapshot(&mut connection, |tx| history(tx, &kinds, after, until)));
            }
            Read::Revision { answer } => {
                reply(answer, snapshot(&mut connection, |tx| Ok(ledger(tx)?.revision)));
            }
        }
    }
}

/// Callers that went away meanwhile want no answer.
pub(super) fn reply<T>(answer: Answer<T>, result: Result<T, StoreError>) {
    drop(answer.send(result));
}

fn snapshot<T>(
    connection: &mut Connection,
    read: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = connection.transaction().map_err(failure)?;
    read(&transaction)
}

fn get(tx: &Transaction<'_>, key: &Key) -> Result<Object, StoreError> {
    rows::current(tx, key).map_err(failure)?.ok_or_else(|| StoreError::NotFound { key: key.clone() })
}

fn list(tx: &Transaction<'_>, kind: &str, options: &ListOptions) -> Result<List, StoreError> {
    let within = options.namespace.as_deref();
    let ledger = ledger(tx)?;
    // One more than asked for tells whether this is the last page.
    let rows_max = match options.limit {
        0 => -1,
        limit => i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1),
    };
    let (revision, items, remaining) = match &options.continue_token {
        None => {
            let slice = Slice { kind, within, after: (within.unwrap_or_default(), ""), rows_max };
            let items = rows::list_current(tx, &slice).map_err(failure)?;
            (ledger.revision, items, None)
        }
        Some(token) => {
            let from = Continue::decode(token, kind, within)?;
            check_age(from.revision, ledger, "continue")?;
            let slice = Slice { kind, within, after: (&from.namespace, &from.name), rows_max };
            let items = rows::list_at(tx, &slice, from.revision).map_err(failure)?;
            (from.revision, items, Some(from.remaining))
        }
    };
    let listed = match remaining {
        Some(listed) => listed,
        None => rows::count_current(tx, kind, within).map_err(failure)?,
    };
    page(items, options.limit, revision, listed, within)
}

/// Cuts the page; of `listed` objects, the page's and those that come after it.
fn page(
    mut items: Vec<Object>,
    limit: usize,
    revision: u64,
    listed: u64,
    within: Option<&str>,
) -> Result<List, StoreError> {
    if limit == 0 || items.len() <= limit {
        return Ok(List { items, revision, continue_token: None, remaining: 0 });
    }
    items.truncate(limit);
    let remaining = listed.saturating_sub(u64::try_from(limit).unwrap_or(u64::MAX)).max(1);
    let continue_token = match items.last() {
        Some(last) => Some(Continue::after(last, within, revision, remaining).encode()?),
        None => None,
    };
    Ok(List { items, revision, continue_token, remaining })
}

fn history(tx: &Transaction<'_>, kinds: &Kinds, after: u64, until: u64) -> Result<Page, StoreError> {
    check_age(after, ledger(tx)?, "resourceVersion")?;
    rows::history(tx, kinds, after, until).map_err(failure)
}

/// Whether what happened after `revision` can still be told.
pub(super) fn check_age(revision: u64, ledger: Ledger, field: &str) -> Result<(), StoreError> {
    if revision < ledger.compacted {
        return Err(StoreError::Compacted { asked: revision, oldest: ledger.compacted });
    }
    if revision > ledger.revision {
        let newest = ledger.revision;
        return Err(StoreError::invalid(format!(
            "{field}: revision {revision} is not there yet, the newest is {newest}"
        )));
    }
    Ok(())
}

fn ledger(tx: &Transaction<'_>) -> Result<Ledger, StoreError> {
    rows::ledger(tx).map_err(failure)
}
