//! A list is one snapshot however many pages it takes, and says so when the snapshot is gone.

use std::collections::BTreeMap;

use hawser_store::{EventKind, Key, List, ListOptions, Store, StoreError};
use serde_json::Value;

use crate::support::{Folder, group, next, user, user_key};

fn limit(limit: usize, continue_token: Option<String>) -> ListOptions {
    ListOptions { limit, continue_token, ..ListOptions::default() }
}

fn names(list: &List) -> Vec<&str> {
    list.items.iter().map(|object| object.key.name.as_str()).collect()
}

#[tokio::test]
async fn pages_show_the_state_of_the_first() {
    let folder = Folder::new();
    let store = folder.open();
    for i in 0..10 {
        store.create(user(&format!("u{i}"), "old")).await.unwrap();
    }
    let first = store.list("User", limit(4, None)).await.unwrap();
    assert_eq!((names(&first), first.revision, first.remaining), (vec!["u0", "u1", "u2", "u3"], 10, 6));

    store.update(user("u5", "new")).await.unwrap();
    store.delete(&user_key("u6"), None).await.unwrap();
    store.create(user("u41", "new")).await.unwrap();
    store.delete(&user_key("u7"), None).await.unwrap();
    store.create(user("u7", "new")).await.unwrap();

    let second = store.list("User", limit(4, first.continue_token)).await.unwrap();
    assert_eq!((names(&second), second.revision, second.remaining), (vec!["u4", "u5", "u6", "u7"], 10, 2));
    assert!(second.items.iter().all(|object| object.value["spec"]["email"] == "old"));
    let third = store.list("User", limit(4, second.continue_token)).await.unwrap();
    assert_eq!((names(&third), third.remaining, &third.continue_token), (vec!["u8", "u9"], 0, &None));

    let now = store.list("User", limit(0, None)).await.unwrap();
    assert_eq!((now.items.len(), now.revision, now.continue_token), (10, 15, None));
}

#[tokio::test]
async fn the_last_full_page_has_no_token() {
    let folder = Folder::new();
    let store = folder.open();
    assert_eq!(store.list("User", limit(1, None)).await.unwrap().items, []);
    for i in 0..4 {
        store.create(user(&format!("u{i}"), "")).await.unwrap();
    }
    let all = store.list("User", limit(4, None)).await.unwrap();
    assert_eq!((all.items.len(), all.continue_token, all.remaining), (4, None, 0));
    let most = store.list("User", limit(3, None)).await.unwrap();
    assert_eq!(most.remaining, 1);
    let rest = store.list("User", limit(1, most.continue_token)).await.unwrap();
    assert_eq!((names(&rest), &rest.continue_token), (vec!["u3"], &None));
    let huge = store.list("User", limit(usize::MAX, None)).await.unwrap();
    assert_eq!(huge.items.len(), 4);
}

#[tokio::test]
async fn a_namespace_has_its_own_list_and_tokens() {
    let folder = Folder::new();
    let store = folder.open();
    for namespace in ["a", "b", "c"] {
        for name in ["x", "y", "z"] {
            store.create(group(namespace, name)).await.unwrap();
        }
    }
    let within = |namespace: &str, continue_token| ListOptions {
        namespace: Some(namespace.to_owned()),
        limit: 2,
        continue_token,
    };
    let first = store.list("Group", within("b", None)).await.unwrap();
    assert_eq!((names(&first), first.remaining), (vec!["x", "y"], 1));
    store.create(group("b", "zz")).await.unwrap();
    let second = store.list("Group", within("b", first.continue_token.clone())).await.unwrap();
    assert_eq!((names(&second), &second.continue_token), (vec!["z"], &None));

    for elsewhere in [within("c", first.continue_token.clone()), limit(2, first.continue_token)] {
        assert!(matches!(store.list("Group", elsewhere).await, Err(StoreError::Invalid { .. })));
    }
    let (mut seen, mut token) = (Vec::new(), None);
    loop {
        let page = store.list("Group", limit(4, token)).await.unwrap();
        seen.extend(page.items.iter().map(|object| object.key.to_string()));
        token = page.continue_token;
        if token.is_none() {
            break;
        }
    }
    assert!(seen.is_sorted());
    assert_eq!(seen.len(), 10);
}

#[tokio::test]
async fn after_compaction_older_tokens_are_gone_and_newer_ones_good() {
    let folder = Folder::new();
    let store = folder.open();
    for i in 0..6 {
        store.create(user(&format!("u{i}"), "")).await.unwrap();
    }
    let old = store.list("User", limit(2, None)).await.unwrap();
    store.update(user("u3", "changed")).await.unwrap();
    let young = store.list("User", limit(2, None)).await.unwrap();
    store.update(user("u4", "changed")).await.unwrap();
    store.compact(young.revision).await.unwrap();

    let gone = store.list("User", limit(2, old.continue_token)).await;
    assert_eq!(gone, Err(StoreError::Compacted { asked: 6, oldest: 7 }));
    let page = store.list("User", limit(9, young.continue_token.clone())).await.unwrap();
    assert_eq!(names(&page), ["u2", "u3", "u4", "u5"]);
    assert_eq!(page.items[1].value["spec"]["email"], "changed");
    assert_eq!(page.items[2].value["spec"]["email"], "");

    assert!(matches!(store.compact(9).await, Err(StoreError::Invalid { .. })), "not there yet");
    store.compact(3).await.unwrap();
    assert!(store.list("User", limit(9, young.continue_token)).await.is_ok(), "the floor does not sink");
}

/// Random writes, lists in pages with writes between the pages, watches from random revisions and compactions at
/// random moments, against a model that remembers every state.
#[tokio::test]
async fn lists_watches_and_compaction_agree_with_a_model() {
    let folder = Folder::new();
    let store = folder.open();
    let mut model = Model { states: vec![BTreeMap::new()], random: Random(7) };
    let (mut floor, mut compacted_lists) = (0, 0);
    for _ in 0..120 {
        model.write(&store).await;
        let mut page = store.list("Group", limit(2, None)).await.unwrap();
        let mut listed = Vec::new();
        loop {
            assert_eq!(
                page.remaining as usize + listed.len() + page.items.len(),
                model.at(page.revision).len()
            );
            listed.extend(page.items.iter().map(|object| (object.key.clone(), object.revision)));
            let Some(token) = page.continue_token else { break };
            for _ in 0..model.random.below(3) {
                model.write(&store).await;
            }
            if model.random.below(12) == 0 {
                floor = floor.max(model.newest() - model.random.below(6).min(model.newest()));
                store.compact(floor).await.unwrap();
            }
            match store.list("Group", limit(2, Some(token))).await {
                Ok(next) => {
                    assert_eq!(next.revision, page.revision);
                    page = next;
                }
                Err(error) => {
                    assert_eq!(error, StoreError::Compacted { asked: page.revision, oldest: floor });
                    compacted_lists += 1;
                    listed = model.at(page.revision).clone().into_iter().collect();
                    break;
                }
            }
        }
        assert_eq!(listed, model.at(page.revision).clone().into_iter().collect::<Vec<_>>());
        let from = floor + model.random.below(model.newest() - floor + 1);
        model.check_watch(&store, from).await;
        assert!(floor == 0 || store.watch(&[], floor - 1).await.is_err());
    }
    assert!(compacted_lists > 0);
}

/// Every state the store was in, by revision: which objects there were, and at which revision each.
struct Model {
    states: Vec<BTreeMap<Key, u64>>,
    random: Random,
}

impl Model {
    fn at(&self, revision: u64) -> &BTreeMap<Key, u64> {
        &self.states[revision as usize]
    }

    fn newest(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    async fn write(&mut self, store: &Store) {
        let mut value =
            group(["one", "two"][self.random.below(2) as usize], &format!("g{}", self.random.below(6)));
        value["spec"]["fill"] = Value::from(self.newest());
        let mut state = self.states[self.states.len() - 1].clone();
        let key = Key::new("Group", value["metadata"]["namespace"].as_str().unwrap(), {
            value["metadata"]["name"].as_str().unwrap()
        });
        if state.contains_key(&key) && self.random.below(2) == 0 {
            assert_eq!(store.delete(&key, None).await.unwrap().revision, self.newest() + 1);
            state.remove(&key);
        } else {
            let revision = store.apply(value).await.unwrap().revision;
            assert_eq!(revision, self.newest() + 1);
            state.insert(key, revision);
        }
        self.states.push(state);
    }

    async fn check_watch(&self, store: &Store, from: u64) {
        let mut watch = store.watch(&["Group"], from).await.unwrap();
        let mut state = self.at(from).clone();
        for revision in from + 1..=self.newest() {
            let event = next(&mut watch).await.unwrap();
            assert_eq!(event.revision, revision);
            let known = match event.kind {
                EventKind::Added | EventKind::Modified => state.insert(event.object.key.clone(), revision),
                EventKind::Deleted => state.remove(&event.object.key),
            };
            assert_eq!(known.is_some(), event.kind != EventKind::Added);
            assert_eq!(&state, self.at(revision));
        }
    }
}

/// Small, and the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
