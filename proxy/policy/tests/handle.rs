//! Publishing: a request keeps its table, tables die with the publisher, epochs only grow.

use std::sync::Arc;
use std::thread;

use hawser_kube::RequestAttributes;
use hawser_policy::resources::{
    AccessPolicySpec, ClusterTargets, CredentialSpec, Object, Resource, Subjects,
};
use hawser_policy::{PolicyHandle, Subject, Table, compile};
use jiff::Timestamp;

/// A fleet of one cluster in which `alice` may do everything, or nothing.
fn table(granted: bool, generation: u64) -> Table {
    let credential = CredentialSpec { user: "alice".to_owned(), ..CredentialSpec::default() };
    let policy = AccessPolicySpec {
        subjects: Subjects { users: vec!["alice".to_owned()], groups: Vec::new() },
        clusters: ClusterTargets { names: vec!["eu-1".to_owned()], selector: None },
        ..AccessPolicySpec::default()
    };
    let mut objects = vec![
        Object::Cluster(Resource::named("eu-1", hawser_policy::resources::ClusterSpec::default())),
        Object::Credential(Resource::named("c", credential)),
    ];
    if granted {
        objects.push(Object::AccessPolicy(Resource::in_system("all", policy)));
    }
    compile(&objects, generation)
}

fn is_granted(table: &Table) -> bool {
    let subject = Subject { user: "alice".into(), credential: "c".into() };
    let attrs = RequestAttributes::parse("GET", "/api/v1/pods").expect("target");
    table.authorize(&subject, "eu-1", &attrs, Timestamp::UNIX_EPOCH).is_ok()
}

#[test]
fn a_request_keeps_the_table_it_started_with() {
    let handle = PolicyHandle::new(table(true, 1));
    let before = handle.snapshot();
    handle.publish(table(false, 2));
    assert!(is_granted(&before));
    assert!(!is_granted(&handle.snapshot()));
    assert_eq!((before.generation(), handle.snapshot().generation()), (1, 2));
}

#[test]
fn every_publication_is_a_new_epoch() {
    let handle = PolicyHandle::new(table(true, 1));
    assert_eq!((handle.cut_epoch(), handle.snapshot().cut_epoch()), (0, 0));
    for epoch in 1..=3 {
        handle.publish(table(true, 1));
        assert_eq!((handle.cut_epoch(), handle.snapshot().cut_epoch()), (epoch, epoch));
    }
}

#[test]
fn a_replaced_table_is_freed_by_a_publisher() {
    let handle = PolicyHandle::new(table(true, 1));
    let held = Arc::clone(&handle.snapshot());
    let alive = Arc::downgrade(&held);
    handle.publish(table(true, 2));
    assert_eq!(alive.strong_count(), 2, "kept for its reader, and by the handle");
    drop(held);
    assert_eq!(alive.strong_count(), 1, "the reader was not the one to free it");
    handle.publish(table(true, 3));
    assert_eq!(alive.strong_count(), 0);
    let unread = Arc::downgrade(&handle.snapshot());
    handle.publish(table(true, 4));
    assert_eq!(unread.strong_count(), 0, "with no reader it goes at once");
}

#[test]
fn tables_kept_for_slow_readers_are_bounded() {
    let handle = PolicyHandle::new(table(true, 0));
    let held: Vec<_> = (1..=9)
        .map(|generation| {
            let held = Arc::clone(&handle.snapshot());
            handle.publish(table(true, generation));
            held
        })
        .collect();
    let counts: Vec<_> = held.iter().map(Arc::strong_count).collect();
    assert_eq!(counts, [1, 2, 2, 2, 2, 2, 2, 2, 2], "the oldest of nine is left to its reader");
}

#[test]
fn readers_and_publishers_run_together() {
    let handle = PolicyHandle::new(table(true, 1));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while last < 400 {
                    let epoch = handle.cut_epoch();
                    let seen = handle.snapshot().cut_epoch();
                    assert!(seen >= epoch && seen >= last, "whoever sees an epoch finds its table");
                    last = seen;
                }
            });
            scope.spawn(|| (0..200).for_each(|generation| handle.publish(table(true, generation))));
        }
    });
    assert_eq!(handle.cut_epoch(), 400);
}
