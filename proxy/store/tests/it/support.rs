//! What the tests share: a store in a folder of its own, objects, waiting with a bound.

use std::path::PathBuf;
use std::time::Duration;

use hawser_store::{Event, Key, Options, Store, StoreError, Watch};
use serde_json::{Value, json};

/// Longer than anything here may take; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that holds one store.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join("store.db")
    }

    pub(crate) fn open(&self) -> Store {
        self.open_with(Options::default())
    }

    pub(crate) fn open_with(&self, options: Options) -> Store {
        Store::open(&self.file(), options).unwrap()
    }

    /// The database, past the store.
    pub(crate) fn raw(&self) -> rusqlite::Connection {
        let raw = rusqlite::Connection::open(self.file()).unwrap();
        raw.busy_timeout(PATIENCE).unwrap();
        raw
    }
}

pub(crate) fn user(name: &str, email: &str) -> Value {
    json!({
        "apiVersion": "access.hawser.dev/v1",
        "kind": "User",
        "metadata": {"name": name},
        "spec": {"email": email},
    })
}

pub(crate) fn group(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "access.hawser.dev/v1",
        "kind": "Group",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"members": []},
    })
}

pub(crate) fn user_key(name: &str) -> Key {
    Key::new("User", "", name)
}

/// The watch's next answer, which must come.
pub(crate) async fn next(watch: &mut Watch) -> Result<Event, StoreError> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("the watch is silent")
}

/// Asks again and again until the answer is yes.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, asking).await.is_ok(), "waited in vain until {what}");
}
