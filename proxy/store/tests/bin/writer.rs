//! The other process of `tests/it/processes.rs`: writes to the store of its first argument, in the way that its second
//! one names. A line on standard output tells what the store acknowledged.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure is seen in the test that started this process"
)]

use std::{env, io::Write as _, path::PathBuf};

use hawser_store::{Key, Options, Store, StoreError};
use serde_json::{Value, json};
use tokio::{runtime, task::JoinSet};

fn main() {
    let mut arguments = env::args_os().skip(1);
    let file = PathBuf::from(arguments.next().unwrap());
    let way = arguments.next().unwrap();
    let store = Store::open(&file, Options::default()).unwrap();
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match way.to_str() {
        Some("without-end") => runtime.block_on(without_end(&store)),
        Some("when-told") => runtime.block_on(when_told(&store)),
        Some("until-the-disk-fails") => runtime.block_on(until_the_disk_fails(&store)),
        other => panic!("{other:?}"),
    }
}

async fn without_end(store: &Store) {
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        writers.spawn(write_without_end(store.clone()));
    }
    writers.join_all().await;
}

async fn write_without_end(store: Store) {
    loop {
        let name = uuid::Uuid::new_v4().to_string();
        let created = store.create(user(&name, "1")).await.unwrap();
        say(&format!("ADDED {name} {}", created.revision));
        let updated = store.update(user(&name, "2")).await.unwrap();
        say(&format!("MODIFIED {name} {}", updated.revision));
        if updated.revision % 3 == 0 {
            let deleted = store.delete(&user_key(&name), None).await.unwrap();
            say(&format!("DELETED {name} {}", deleted.revision));
        }
    }
}

async fn when_told(store: &Store) {
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        match line.split_once(' ') {
            Some(("write", name)) => {
                let stored = store.create(user(name, "")).await.unwrap();
                say(&format!("ADDED {name} {}", stored.revision));
            }
            Some(("burst", count)) => {
                for i in 0..count.parse().unwrap() {
                    store.create(user(&format!("theirs-{i}"), "")).await.unwrap();
                }
                say("done");
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn until_the_disk_fails(store: &Store) {
    let fill = "x".repeat(4096);
    for i in 0.. {
        match store.create(user(&format!("u{i}"), &fill)).await {
            Ok(stored) => say(&format!("ADDED u{i} {}", stored.revision)),
            Err(StoreError::Io { .. }) => break,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(matches!(store.create(user("small", "")).await, Err(StoreError::Io { .. })));
    assert!(matches!(store.compact(1).await, Err(StoreError::Io { .. })));
    assert!(store.get(&user_key("u0")).await.is_ok());
    say("refused and read");
}

fn user(name: &str, email: &str) -> Value {
    json!({
        "apiVersion": "access.hawser.dev/v1",
        "kind": "User",
        "metadata": {"name": name},
        "spec": {"email": email},
    })
}

fn user_key(name: &str) -> Key {
    Key::new("User", "", name)
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}
