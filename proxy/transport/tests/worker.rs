//! Workers: each on its own thread and core, ended together.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use hawser_kube::close::CloseReason;
use hawser_transport::{Scope, TransportError, Worker, Workers, WorkersConfig, cores, run};

fn config(count: usize, pin: bool) -> WorkersConfig {
    WorkersConfig { count, pin, name: "test".to_owned() }
}

#[test]
fn each_worker_runs_once_on_a_thread_of_its_own() {
    let (seen, workers_seen) = mpsc::channel();
    let workers = Workers::start(&Scope::root(), &config(3, false), move |worker| {
        let seen = seen.clone();
        async move {
            let thread = std::thread::current();
            seen.send((worker.id, worker.count, thread.name().map(str::to_owned))).expect("test listens");
        }
    });
    workers.expect("starts").join().expect("ends");
    let mut seen: Vec<_> = workers_seen.iter().collect();
    seen.sort();
    let expected = |id: usize| (id, 3, Some(format!("test-{id}")));
    assert_eq!(seen, [expected(0), expected(1), expected(2)]);
}

#[test]
fn a_pinned_worker_has_one_core_and_workers_spread_over_all() {
    let all: HashSet<_> = cores().into_iter().collect();
    let (seen, cores_seen) = mpsc::channel();
    let workers = Workers::start(&Scope::root(), &config(all.len() * 2, true), move |_worker| {
        let seen = seen.clone();
        async move { seen.send(cores()).expect("test listens") }
    });
    workers.expect("starts").join().expect("ends");
    let mut covered = HashSet::new();
    for of_one in cores_seen {
        assert_eq!(of_one.len(), 1);
        covered.extend(of_one);
    }
    assert_eq!(covered, all);
    assert_eq!(cores().len(), all.len(), "the starting thread stays free");
}

#[test]
fn a_worker_may_hold_what_cannot_leave_its_thread() {
    let workers = Workers::start(&Scope::root(), &config(1, false), |_worker| async {
        let local = Rc::new(7);
        let task = tokio::task::spawn_local({
            let local = Rc::clone(&local);
            async move { *local }
        });
        assert_eq!(task.await.expect("local task"), 7);
    });
    workers.expect("starts").join().expect("ends");
}

#[test]
fn workers_end_when_the_process_does() {
    let process = Scope::root();
    let workers = Workers::start(&process, &config(2, false), |worker| async move {
        assert_eq!(worker.scope.cancelled().await, CloseReason::Drain);
    });
    process.cancel(CloseReason::Drain);
    workers.expect("starts").join().expect("ends");
}

#[test]
fn a_panic_ends_all_workers_and_is_reported() {
    let process = Scope::root();
    let start = |worker: Worker| async move {
        if worker.id == 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            panic!("on purpose");
        }
        worker.scope.cancelled().await;
    };
    let outcome = Workers::start(&process, &config(2, false), start).expect("starts").join();
    assert!(matches!(outcome, Err(TransportError::Panicked { worker: 1 })), "{outcome:?}");
    assert_eq!(process.reason(), Some(CloseReason::Shutdown));
}

#[test]
fn run_gives_a_runtime_with_timers_and_local_tasks() {
    let value = run(async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        tokio::task::spawn_local(async { 42 }).await.expect("local task")
    });
    assert_eq!(value.expect("a runtime"), 42);
}

#[test]
fn what_a_worker_runs_is_shared_and_dropped_with_the_last() {
    let shared = Arc::new(());
    let held = Arc::clone(&shared);
    let workers = Workers::start(&Scope::root(), &config(2, false), move |_worker| {
        let held = Arc::clone(&held);
        async move { drop(held) }
    });
    workers.expect("starts").join().expect("ends");
    assert_eq!(Arc::strong_count(&shared), 1);
}
