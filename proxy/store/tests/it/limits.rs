//! Each bound, at its edge: what happens is named, and it passes.

use hawser_store::{Options, StoreError};
use tokio::task::JoinSet;

use crate::support::{Folder, until, user, user_key};

#[tokio::test]
async fn a_full_queue_is_busy_and_what_was_accepted_is_done() {
    const QUEUE: usize = 4;
    // While another process holds the lock: the batch that the thread has taken, and the queue.
    const ACCEPTED_MAX: usize = 256 + QUEUE;
    let folder = Folder::new();
    let store = folder.open_with(Options { queue_max: QUEUE, ..Options::default() });
    let other = folder.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut accepted = JoinSet::new();
    let refused = loop {
        let (store, name) = (store.clone(), format!("u{}", accepted.len()));
        accepted.spawn(async move { store.create(user(&name, "")).await });
        tokio::task::yield_now().await;
        if store_is_full(&mut accepted) {
            break true;
        }
        if accepted.len() > ACCEPTED_MAX {
            break false;
        }
    };
    assert!(refused);
    assert_eq!(store.counters().queue_full, 1);
    other.execute_batch("COMMIT").unwrap();
    assert!(accepted.len() >= QUEUE);
    let accepted = accepted.join_all().await;
    assert!(accepted.iter().all(Result::is_ok));
    assert_eq!(store.revision().await, Ok(accepted.len() as u64));
}

/// Whether one of the writes was refused; nothing else can have been answered.
fn store_is_full(writes: &mut JoinSet<Result<hawser_store::Object, StoreError>>) -> bool {
    match writes.try_join_next() {
        None => false,
        Some(answer) => {
            let error = answer.unwrap().unwrap_err();
            assert_eq!(error, StoreError::Busy { what: "too many writes are waiting" });
            true
        }
    }
}

#[tokio::test]
async fn a_lock_held_too_long_is_busy_and_reads_go_on() {
    let folder = Folder::new();
    let store = folder.open();
    store.create(user("a", "")).await.unwrap();
    let other = folder.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let key = user_key("a");
    let (write, read) = tokio::join!(store.create(user("b", "")), store.get(&key));
    assert_eq!(write, Err(StoreError::Busy { what: "another process keeps the store locked" }));
    assert!(read.is_ok());
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(store.create(user("b", "")).await.unwrap().revision, 2);
}

#[tokio::test]
async fn a_full_file_refuses_changes_until_history_is_given_up() {
    let folder = Folder::new();
    let store = folder.open_with(Options { file_bytes_max: 512 << 10, ..Options::default() });
    let fill = "x".repeat(8 << 10);
    let mut written = 0;
    let full = loop {
        match store.apply(user("a", &format!("{written}{fill}"))).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full, StoreError::Full);
    assert!(written > 20, "{written}");
    assert_eq!(store.revision().await, Ok(written));
    assert!(store.get(&user_key("a")).await.is_ok());
    store.compact(written).await.unwrap();
    until("there is room again", async || store.apply(user("a", &fill)).await.is_ok()).await;
}
