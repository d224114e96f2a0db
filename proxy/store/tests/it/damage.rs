//! Files that are not ours, are newer than we are, or are damaged: said in words, and not made worse.

use hawser_store::{ListOptions, Options, Store, StoreError};

use crate::support::{Folder, user, user_key};

fn open_error(folder: &Folder) -> StoreError {
    Store::open(&folder.file(), Options::default()).unwrap_err()
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let folder = Folder::new();
    drop(folder.open());
    folder.raw().execute("UPDATE schema_version SET version = 7", []).unwrap();
    let error = open_error(&folder);
    assert_eq!(error, StoreError::SchemaTooNew { path: folder.file(), found: 7, known: 1 });
    assert!(
        error.to_string().ends_with(
            "has schema 7, this version knows up to 1: run the newer version, or restore a backup"
        )
    );
}

#[test]
fn files_of_others_are_left_alone() {
    let folder = Folder::new();
    folder.raw().execute_batch("CREATE TABLE theirs (a)").unwrap();
    assert_eq!(open_error(&folder), StoreError::NotAStore { path: folder.file() });
    let mode: String = folder.raw().pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete");

    let folder = Folder::new();
    std::fs::write(folder.file(), "kind: User\n".repeat(100)).unwrap();
    assert_eq!(open_error(&folder), StoreError::NotAStore { path: folder.file() });
}

#[test]
fn two_that_open_a_new_file_at_once_both_succeed() {
    for _ in 0..10 {
        let folder = Folder::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| folder.open());
            }
        });
    }
}

#[tokio::test]
async fn one_damaged_object_does_not_take_the_others_along() {
    let folder = Folder::new();
    let store = folder.open();
    store.create(user("a", "")).await.unwrap();
    store.create(user("b", "")).await.unwrap();
    folder.raw().execute("UPDATE history SET object = '{' WHERE name = 'a'", []).unwrap();
    assert!(matches!(store.get(&user_key("a")).await, Err(StoreError::Corrupt { .. })));
    assert!(matches!(store.list("User", ListOptions::default()).await, Err(StoreError::Corrupt { .. })));
    let (a, b) = tokio::join!(store.update(user("a", "x")), store.update(user("b", "x")));
    assert!(matches!(a, Err(StoreError::Corrupt { .. })));
    assert_eq!(b.unwrap().revision, 3);
}
