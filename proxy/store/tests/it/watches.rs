//! A watch tells everything after its revision, in order and once, or says that it cannot.

use std::sync::Arc;
use std::time::Duration;

use hawser_kube::clock::TestClock;
use hawser_store::{EventKind, Options, StoreError};

use crate::support::{Folder, group, next, until, user, user_key};

#[tokio::test]
async fn history_then_what_happens() {
    let folder = Folder::new();
    let store = folder.open();
    store.create(user("a", "1")).await.unwrap();
    store.create(group("n", "g")).await.unwrap();
    store.update(user("a", "2")).await.unwrap();
    let mut watch = store.watch(&["User"], 0).await.unwrap();
    store.create(user("b", "1")).await.unwrap();
    store.delete(&user_key("a"), None).await.unwrap();

    let mut seen = Vec::new();
    for _ in 0..4 {
        let event = next(&mut watch).await.unwrap();
        assert_eq!(event.revision, event.object.revision);
        seen.push((event.kind, event.object.key.name.clone(), event.revision));
    }
    let told = |kind, name: &str, revision| (kind, name.to_owned(), revision);
    assert_eq!(
        seen,
        [
            told(EventKind::Added, "a", 1),
            told(EventKind::Modified, "a", 3),
            told(EventKind::Added, "b", 4),
            told(EventKind::Deleted, "a", 5),
        ]
    );
}

#[tokio::test]
async fn a_deletion_carries_the_last_object_live_and_from_history() {
    let folder = Folder::new();
    let store = folder.open();
    store.create(user("a", "last words")).await.unwrap();
    let mut live = store.watch(&[], 1).await.unwrap();
    store.delete(&user_key("a"), None).await.unwrap();
    let mut later = store.watch(&[], 1).await.unwrap();
    let (live, later) = (next(&mut live).await.unwrap(), next(&mut later).await.unwrap());
    assert_eq!(live, later);
    assert_eq!((live.kind, live.revision), (EventKind::Deleted, 2));
    assert_eq!(live.object.value["spec"]["email"], "last words");
    assert_eq!(live.object.value["metadata"]["resourceVersion"], "2");
}

#[tokio::test]
async fn a_long_history_joins_the_live_events_without_a_gap() {
    const BEFORE: u64 = 700;
    const DURING: u64 = 200;
    let folder = Folder::new();
    let store = folder.open();
    let writes = async |from: u64, to: u64| {
        let mut tasks = tokio::task::JoinSet::new();
        for i in from..to {
            let store = store.clone();
            tasks.spawn(async move { store.create(user(&format!("u{i}"), "")).await.unwrap() });
        }
        tasks.join_all().await;
    };
    writes(0, BEFORE).await;
    let mut watch = store.watch(&["User"], 3).await.unwrap();
    let reading = async {
        for revision in 4..=BEFORE + DURING {
            assert_eq!(next(&mut watch).await.unwrap().revision, revision);
        }
    };
    tokio::join!(reading, writes(BEFORE, BEFORE + DURING));
}

#[tokio::test]
async fn a_watch_that_does_not_read_is_told_and_the_others_go_on() {
    const QUEUE: usize = 4;
    let folder = Folder::new();
    let store = folder.open_with(Options { watch_queue_max: QUEUE, ..Options::default() });
    let mut slow = store.watch(&["User"], 0).await.unwrap();
    let mut other_kind = store.watch(&["Group"], 0).await.unwrap();
    for i in 0..QUEUE {
        store.create(user(&format!("u{i}"), "")).await.unwrap();
    }
    assert_eq!(store.counters().watches_lagged, 0, "a full queue is no lag");
    store.create(user("one too many", "")).await.unwrap();
    until("lag is counted", async || store.counters().watches_lagged == 1).await;
    for revision in 1..=QUEUE as u64 {
        assert_eq!(next(&mut slow).await.unwrap().revision, revision);
    }
    let lagged = StoreError::Lagged { queue_max: QUEUE };
    assert_eq!(next(&mut slow).await, Err(lagged.clone()));
    assert_eq!(next(&mut slow).await, Err(lagged));
    store.create(group("n", "g")).await.unwrap();
    assert_eq!(next(&mut other_kind).await.unwrap().revision, 6);
}

#[tokio::test]
async fn a_watch_from_compacted_history_is_refused_and_one_on_its_way_is_told() {
    let folder = Folder::new();
    let store = folder.open();
    for i in 0..300 {
        store.apply(user("a", &i.to_string())).await.unwrap();
    }
    let mut on_its_way = store.watch(&[], 0).await.unwrap();
    let mut live = store.watch(&[], 300).await.unwrap();
    assert_eq!(next(&mut on_its_way).await.unwrap().revision, 1);
    store.compact(290).await.unwrap();
    assert_eq!(store.watch(&[], 289).await.unwrap_err(), StoreError::Compacted { asked: 289, oldest: 290 });
    let mut on_the_edge = store.watch(&[], 290).await.unwrap();
    assert_eq!(next(&mut on_the_edge).await.unwrap().revision, 291);

    let mut last = 1;
    let told = loop {
        match next(&mut on_its_way).await {
            Ok(event) => {
                assert_eq!(event.revision, last + 1);
                last = event.revision;
            }
            Err(error) => break error,
        }
    };
    assert_eq!(told, StoreError::Compacted { asked: last, oldest: 290 });
    assert_eq!(next(&mut on_its_way).await, Err(told), "asked again, the same");
    store.delete(&user_key("a"), None).await.unwrap();
    assert_eq!(
        next(&mut live).await.unwrap().revision,
        301,
        "compaction does not touch a watch that keeps up"
    );
}

#[tokio::test]
async fn a_watch_from_the_future_is_refused() {
    let folder = Folder::new();
    let store = folder.open();
    assert!(matches!(store.watch(&[], 1).await, Err(StoreError::Invalid { .. })));
    assert!(matches!(store.watch(&[], u64::MAX).await, Err(StoreError::Invalid { .. })));
}

#[tokio::test]
async fn the_last_handle_ends_the_store_and_its_watches() {
    let folder = Folder::new();
    let store = folder.open();
    store.create(user("a", "")).await.unwrap();
    let mut live = store.watch(&[], 1).await.unwrap();
    let mut behind = store.watch(&[], 0).await.unwrap();
    let log = folder.file().with_extension("db-wal");
    assert!(log.exists());
    drop(store);
    assert_eq!(next(&mut behind).await, Err(StoreError::Closed));
    assert_eq!(next(&mut live).await, Err(StoreError::Closed));
    until("the log is gone", async || !log.exists()).await;
}

#[tokio::test]
async fn next_can_be_dropped_and_asked_again() {
    let folder = Folder::new();
    let store = folder.open();
    for i in 0..600 {
        store.apply(user("a", &i.to_string())).await.unwrap();
    }
    let mut watch = store.watch(&[], 0).await.unwrap();
    let mut seen = 0;
    while seen < 600 {
        // Half of the time the answer comes too late and is dropped with the question.
        if let Ok(event) = tokio::time::timeout(Duration::from_micros(seen % 3), watch.next()).await {
            assert_eq!(event.unwrap().revision, seen + 1);
            seen += 1;
        }
    }
}

async fn floor_of(store: &hawser_store::Store) -> u64 {
    match store.watch(&[], 0).await {
        Err(StoreError::Compacted { oldest, .. }) => oldest,
        Err(error) => panic!("{error}"),
        Ok(_) => 0,
    }
}

#[tokio::test]
async fn history_is_given_up_by_number_and_by_age() {
    let clock = Arc::new(TestClock::new("2026-11-24T00:00:00Z".parse().unwrap()));
    let folder = Folder::new();
    let store = folder.open_with(Options {
        clock: Arc::clone(&clock) as _,
        keep_revisions: 10,
        keep_age: Duration::from_secs(600),
        ..Options::default()
    });
    for i in 0..60 {
        store.apply(user(&format!("u{}", i % 3), &i.to_string())).await.unwrap();
    }
    store.delete(&user_key("u0"), None).await.unwrap();
    assert_eq!(floor_of(&store).await, 0);
    clock.advance(Duration::from_secs(11));
    until("only ten revisions are kept", async || floor_of(&store).await == 51).await;
    let rows =
        || folder.raw().query_row("SELECT count(*) FROM history", [], |row| row.get::<_, i64>(0)).unwrap();
    // Ten young revisions, and of each of the three users the one that was in force at the floor.
    until("the superseded history is removed", async || rows() == 13).await;

    store.apply(user("u1", "young")).await.unwrap();
    clock.advance(Duration::from_secs(595));
    store.apply(user("u2", "younger")).await.unwrap();
    clock.advance(Duration::from_secs(11));
    until("what is older than ten minutes is given up", async || floor_of(&store).await == 62).await;
    until("and removed, but for what was in force then", async || rows() == 3).await;
    assert_eq!(store.list("User", hawser_store::ListOptions::default()).await.unwrap().items.len(), 2);
}
