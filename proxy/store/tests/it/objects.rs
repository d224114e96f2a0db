//! Objects come back as they were stored, changes are compared and set, and all of it is there after a restart.

use std::os::unix::fs::PermissionsExt;

use hawser_kube::clock::{Clock, SystemClock};
use hawser_store::{Change, EventKind, Key, ListOptions, OBJECT_BYTES_MAX, Options, Store, StoreError};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Folder, group, next, until, user, user_key};

/// Any thread may hold a handle, and wait on a watch.
const _: () = {
    const fn any_thread<T: Send + Sync + Clone + 'static>() {}
    const fn movable<T: Send + 'static>() {}
    any_thread::<Store>();
    movable::<hawser_store::Watch>();
};

#[tokio::test]
async fn create_get_update_delete() {
    let folder = Folder::new();
    let store = folder.open();
    assert_eq!(store.revision().await, Ok(0));

    let created = store.create(user("alice@example.com", "a")).await.unwrap();
    assert_eq!((created.revision, &created.value["metadata"]["resourceVersion"]), (1, &json!("1")));
    assert_eq!(store.get(&created.key).await, Ok(created.clone()));

    let mut value = created.value.clone();
    value["spec"]["email"] = "b".into();
    let updated = store.update(value.clone()).await.unwrap();
    assert_eq!((updated.revision, &updated.value["metadata"]["generation"]), (2, &json!(2)));
    assert_eq!(store.get(&created.key).await, Ok(updated.clone()));

    let conflict = StoreError::Conflict { key: created.key.clone(), expected: 1, found: 2 };
    assert_eq!(store.update(value).await, Err(conflict.clone()));
    assert_eq!(store.delete(&created.key, Some(1)).await, Err(conflict));
    let deleted = store.delete(&created.key, Some(2)).await.unwrap();
    assert_eq!((deleted.revision, &deleted.value["spec"]["email"]), (3, &json!("b")));

    let gone = StoreError::NotFound { key: created.key.clone() };
    assert_eq!(store.get(&created.key).await, Err(gone.clone()));
    assert_eq!(store.update(user("alice@example.com", "c")).await, Err(gone.clone()));
    assert_eq!(store.delete(&created.key, None).await, Err(gone));
    assert_eq!(store.revision().await, Ok(3));

    let again = store.create(user("alice@example.com", "a")).await.unwrap();
    assert_ne!(again.value["metadata"]["uid"], created.value["metadata"]["uid"]);
    let mut value = created.value;
    value["metadata"]["resourceVersion"] = "4".into();
    assert_eq!(store.update(value).await, Err(StoreError::Replaced { key: again.key }));
}

#[tokio::test]
async fn one_of_two_creates_wins_and_a_failed_write_takes_no_revision() {
    let folder = Folder::new();
    let store = folder.open();
    let (one, two) = tokio::join!(store.create(user("a", "1")), store.create(user("a", "2")));
    assert_eq!(one.unwrap().revision, 1);
    assert_eq!(two, Err(StoreError::AlreadyExists { key: user_key("a") }));
    assert_eq!(store.create(user("b", "")).await.unwrap().revision, 2);
}

#[tokio::test]
async fn of_many_increments_none_is_lost() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 25;
    let folder = Folder::new();
    let store = folder.open();
    store.create(user("counter", "0")).await.unwrap();
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        writers.spawn(increment(store.clone(), EACH));
    }
    writers.join_all().await;
    let counted = store.get(&user_key("counter")).await.unwrap();
    assert_eq!(counted.value["spec"]["email"], (WRITERS * EACH).to_string());
}

/// Adds one, `times` times, to what others also add to.
async fn increment(store: Store, times: u64) {
    let mut done = 0;
    while done < times {
        let mut value = store.get(&user_key("counter")).await.unwrap().value;
        let count: u64 = value["spec"]["email"].as_str().unwrap().parse().unwrap();
        value["spec"]["email"] = (count + 1).to_string().into();
        match store.update(value).await {
            Ok(_) => done += 1,
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn apply_creates_changes_and_leaves_alone() {
    let folder = Folder::new();
    let store = folder.open();
    assert_eq!(store.apply(user("a", "1")).await.unwrap().revision, 1);
    assert_eq!(store.apply(user("a", "1")).await.unwrap().revision, 1);
    assert_eq!(store.apply(user("a", "2")).await.unwrap().revision, 2);
    assert_eq!(store.revision().await, Ok(2));
    let mut stale = user("a", "3");
    stale["metadata"]["resourceVersion"] = "1".into();
    let conflict = StoreError::Conflict { key: user_key("a"), expected: 1, found: 2 };
    assert_eq!(store.apply(stale).await, Err(conflict));
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_in_words() {
    let folder = Folder::new();
    let store = folder.open();
    let invalid = |result: Result<_, StoreError>, part: &str| match result {
        Err(StoreError::Invalid { what }) => assert!(what.contains(part), "{what}"),
        other => panic!("{other:?}"),
    };
    invalid(store.create(json!("text")).await, "an object is needed");
    invalid(store.create(user("a/b", "")).await, "metadata.name: \"a/b\"");
    invalid(store.create(user("big", &"x".repeat(OBJECT_BYTES_MAX))).await, "at most 1572864");
    let mut versioned = user("a", "");
    versioned["metadata"]["resourceVersion"] = "5".into();
    invalid(store.create(versioned).await, "must not be set");
    invalid(store.delete(&Key::new("User", "", ""), None).await, "must not be empty");
    assert_eq!(store.revision().await, Ok(0));
}

#[tokio::test]
async fn the_same_name_in_two_namespaces_and_kinds_is_not_the_same_object() {
    let folder = Folder::new();
    let store = folder.open();
    store.create(group("one", "a")).await.unwrap();
    store.create(group("two", "a")).await.unwrap();
    store.create(user("a", "")).await.unwrap();
    store.delete(&Key::new("Group", "one", "a"), None).await.unwrap();
    assert!(store.get(&Key::new("Group", "two", "a")).await.is_ok());
    assert!(store.get(&user_key("a")).await.is_ok());
    assert!(store.get(&Key::new("Group", "", "a")).await.is_err());
}

/// A command-line tool: a runtime for each call, a store opened and dropped in it.
#[test]
fn short_lived_runtimes_and_restarts() {
    let folder = Folder::new();
    for round in 1..=3 {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = folder.open();
            let stored = store.create(user(&format!("u{round}"), "")).await.unwrap();
            assert_eq!(stored.revision, round);
            assert_eq!(store.list("User", ListOptions::default()).await.unwrap().items.len() as u64, round);
        });
    }
}

/// Edge workers: one store, a runtime on each of many threads; what waits together is committed together.
#[test]
fn many_threads_share_commits() {
    const THREADS: u64 = 8;
    const EACH: u64 = 50;
    let folder = Folder::new();
    let store = folder.open();
    let began = SystemClock.now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = store.clone();
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(create_at_once(store, thread, EACH));
            });
        }
    });
    let counters = store.counters();
    assert_eq!(counters.changes, THREADS * EACH);
    assert!(counters.commits < counters.changes, "{counters:?}");
    eprintln!("{} changes, {} commits, {:?}", counters.changes, counters.commits, began.elapsed());
}

async fn create_at_once(store: Store, thread: u64, count: u64) {
    let mut writes = JoinSet::new();
    for i in 0..count {
        let store = store.clone();
        let value = user(&format!("t{thread}-{i}"), "");
        writes.spawn(async move { store.create(value).await.unwrap().revision });
    }
    let mut revisions = writes.join_all().await;
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len() as u64, count);
}

#[tokio::test]
async fn the_files_are_their_owners_only() {
    let folder = Folder::new();
    let modes = |folder: &Folder| {
        let files = std::fs::read_dir(folder.file().parent().unwrap()).unwrap();
        let mut modes: Vec<u32> =
            files.map(|file| file.unwrap().metadata().unwrap().permissions().mode() & 0o777).collect();
        let count = modes.len();
        modes.dedup();
        (count, modes)
    };
    let store = folder.open();
    store.create(user("a", "")).await.unwrap();
    assert_eq!(modes(&folder), (3, vec![0o600]), "database, log and index");
    drop(store);
    until("the log is gone", async || modes(&folder).0 == 1).await;

    std::fs::set_permissions(folder.file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = folder.open();
    store.create(user("b", "")).await.unwrap();
    assert_eq!(modes(&folder), (3, vec![0o600]), "a wider mode is narrowed");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_an_error_that_names_it() {
    let folder = Folder::new();
    let path = folder.file().join("deeper").join("store.db");
    match Store::open(&path, Options::default()) {
        Err(StoreError::Io { what }) => assert!(what.contains("deeper"), "{what}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn changes_that_belong_together_are_made_all_or_none() {
    let folder = Folder::new();
    let store = folder.open();
    let mut watch = store.watch(&[], 0).await.unwrap();
    let delete = |name: &str| Change::Delete { key: user_key(name), expected: None };
    let refused = store.transact(vec![
        Change::Create(user("a", "1")),
        Change::Update(user("a", "2")),
        delete("absent"),
        Change::Create(user("b", "1")),
    ]);
    // What is undone lies between what is kept.
    let (first, refused, last) =
        tokio::join!(store.create(user("x", "")), refused, store.create(user("y", "")));
    assert_eq!(refused.unwrap_err(), StoreError::NotFound { key: user_key("absent") });
    assert_eq!((first.unwrap().revision, last.unwrap().revision), (1, 2));
    let made = vec![Change::Create(user("a", "1")), Change::Apply(user("a", "1")), delete("x")];
    let made: Vec<u64> = store.transact(made).await.unwrap().iter().map(|it| it.revision).collect();
    assert_eq!(made, [3, 3, 4], "applying the same again is no change");
    for (kind, name, revision) in [
        (EventKind::Added, "x", 1),
        (EventKind::Added, "y", 2),
        (EventKind::Added, "a", 3),
        (EventKind::Deleted, "x", 4),
    ] {
        let event = next(&mut watch).await.unwrap();
        assert_eq!((event.kind, &event.object.key, event.revision), (kind, &user_key(name), revision));
    }
    assert_eq!(store.revision().await.unwrap(), 4);
    assert_eq!(store.transact(Vec::new()).await.unwrap(), []);
}

#[tokio::test]
async fn a_transaction_may_be_larger_than_a_queue() {
    const MANY: u64 = 5000;
    let folder = Folder::new();
    let store = folder.open_with(Options { queue_max: 1, ..Options::default() });
    let many = (0..MANY).map(|number| Change::Create(user(&format!("u{number}"), ""))).collect();
    assert_eq!(store.transact(many).await.unwrap().last().unwrap().revision, MANY);
}
