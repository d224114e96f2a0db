//! The queue and the writer, with a disk that waits and fails when the test says so.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use hawser_kube::audit_event::Event;
use parking_lot::Mutex;

use crate::writer::Sink;
use crate::{Audit, Config, Counts, Full, OnFull};

fn event(id: &str) -> Event {
    Event { audit_id: id.to_owned(), ..Event::default() }
}

/// What the disk does with one attempt.
enum Disk {
    Takes,
    Fails,
    /// Takes so many lines, then fails.
    TakesSome(usize),
}

/// A disk that does nothing until it is told to.
struct Gate {
    reached: Sender<()>,
    answer: Receiver<Disk>,
    written: Arc<Mutex<Vec<String>>>,
}

impl Sink for Gate {
    fn append(&mut self, lines: &[u8], done: &mut usize) -> io::Result<()> {
        // Once the test is over, the disk takes everything.
        let answer = match self.reached.send(()) {
            Ok(()) => self.answer.recv().unwrap_or(Disk::Takes),
            Err(_) => Disk::Takes,
        };
        let taken = match answer {
            Disk::Takes => usize::MAX,
            Disk::Fails => 0,
            Disk::TakesSome(lines) => lines,
        };
        for line in lines.split_inclusive(|byte| *byte == b'\n').take(taken) {
            let event: Event = serde_json::from_slice(line)?;
            self.written.lock().push(event.audit_id);
            *done += line.len();
        }
        match answer {
            Disk::Takes => Ok(()),
            Disk::Fails | Disk::TakesSome(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

/// A log on a gated disk. The writer stands at the gate from the first event on.
struct Held {
    audit: Audit,
    reached: Receiver<()>,
    answer: Sender<Disk>,
    written: Arc<Mutex<Vec<String>>>,
}

impl Held {
    fn start(queue_max: usize, on_full: OnFull) -> Self {
        let config =
            Config { path: PathBuf::new(), rotate_bytes: u64::MAX, rotate_keep: 1, queue_max, on_full };
        let (reached, at_gate) = channel();
        let (answer, answers) = channel();
        let written = Arc::default();
        let gate = Gate { reached, answer: answers, written: Arc::clone(&written) };
        let audit = Audit::start_on(&config, gate).expect("a thread");
        let held = Self { audit, reached: at_gate, answer, written };
        held.record("first").expect("an empty queue");
        held.wait_at_gate();
        held
    }

    fn record(&self, id: &str) -> Result<(), Full> {
        self.audit.record(&event(id))
    }

    fn wait_at_gate(&self) {
        self.reached.recv_timeout(PATIENCE).expect("the writer tries to write");
    }

    fn disk(&self, answer: Disk) {
        self.answer.send(answer).expect("the writer is there");
    }

    /// Lets everything through, closes, and answers what was written.
    fn end(self) -> (Vec<String>, Counts) {
        drop(self.answer);
        self.audit.close();
        let written = self.written.lock().clone();
        (written, self.audit.counts())
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn wait_until(what: impl Fn() -> bool) {
    for _ in 0..4000 {
        if what() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    assert!(what(), "waited in vain");
}

#[test]
fn a_full_queue_refuses() {
    let held = Held::start(4, OnFull::Refuse);
    for id in ids(0..4) {
        assert_eq!(held.record(&id), Ok(()));
    }
    assert_eq!(held.record("lost"), Err(Full));
    assert_eq!(held.record("lost too"), Err(Full));
    assert!(!held.audit.ready());
    assert_eq!(held.audit.dropped(), 2);

    held.disk(Disk::Takes);
    held.wait_at_gate();
    assert!(held.audit.ready(), "the queue is empty again");
    let (written, counts) = held.end();
    assert_eq!(written, [vec!["first".to_owned()], ids(0..4)].concat());
    assert_eq!(counts, Counts { written: 5, dropped: 2, disk_errors: 0 });
}

#[test]
fn a_full_queue_counts() {
    let held = Held::start(4, OnFull::Count);
    for id in ids(0..4) {
        assert_eq!(held.record(&id), Ok(()));
    }
    assert_eq!(held.record("lost"), Ok(()));
    assert!(held.audit.ready());
    let (written, counts) = held.end();
    assert_eq!(written.len(), 5);
    assert_eq!(counts, Counts { written: 5, dropped: 1, disk_errors: 0 });
}

#[test]
fn the_last_eighth_is_kept_for_requests_under_way() {
    let held = Held::start(16, OnFull::Refuse);
    for id in ids(0..13) {
        assert_eq!(held.record(&id), Ok(()));
    }
    assert!(held.audit.ready(), "3 of 16 slots are free");
    assert_eq!(held.record("13"), Ok(()));
    assert!(!held.audit.ready(), "2 of 16 slots are free");
    assert_eq!(held.record("14"), Ok(()));
    assert_eq!(held.record("15"), Ok(()));
    assert_eq!(held.record("lost"), Err(Full));
    assert_eq!(held.end().0.len(), 17);
}

#[test]
fn a_queue_of_one() {
    let held = Held::start(1, OnFull::Refuse);
    assert!(held.audit.ready());
    assert_eq!(held.record("second"), Ok(()));
    assert!(!held.audit.ready());
    assert_eq!(held.record("lost"), Err(Full));
    assert_eq!(held.end().0, ["first", "second"]);
}

#[test]
fn a_failing_disk_is_reported_and_loses_nothing() {
    for (on_full, ready) in [(OnFull::Refuse, false), (OnFull::Count, true)] {
        let held = Held::start(4, on_full);
        assert!(held.audit.ready());
        held.disk(Disk::Fails);
        held.wait_at_gate();
        assert_eq!(held.audit.ready(), ready);
        assert_eq!(held.record("second"), Ok(()));
        held.disk(Disk::Fails);
        held.wait_at_gate();
        held.disk(Disk::Takes);
        held.wait_at_gate();
        assert!(held.audit.ready(), "the disk works again");
        let (written, counts) = held.end();
        assert_eq!(written, ["first", "second"]);
        assert_eq!(counts, Counts { written: 2, dropped: 0, disk_errors: 2 });
    }
}

#[test]
fn what_the_disk_took_before_it_failed_is_not_written_twice() {
    let held = Held::start(4, OnFull::Refuse);
    for id in ids(0..4) {
        assert_eq!(held.record(&id), Ok(()));
    }
    held.disk(Disk::Takes);
    held.wait_at_gate();
    held.disk(Disk::TakesSome(3));
    held.wait_at_gate();
    let (written, counts) = held.end();
    assert_eq!(written, [vec!["first".to_owned()], ids(0..4)].concat());
    assert_eq!(counts, Counts { written: 5, dropped: 0, disk_errors: 1 });
}

#[test]
fn close_writes_a_full_queue() {
    let held = Held::start(64, OnFull::Refuse);
    for id in ids(0..64) {
        assert_eq!(held.record(&id), Ok(()));
    }
    assert_eq!(held.record("lost"), Err(Full));
    let (written, counts) = held.end();
    assert_eq!(written[1..], ids(0..64));
    assert_eq!(counts, Counts { written: 65, dropped: 1, disk_errors: 0 });
}

#[test]
fn close_does_not_wait_for_a_broken_disk() {
    let held = Held::start(4, OnFull::Refuse);
    held.record("second").expect("room");
    let closing = thread::spawn({
        let audit = held.audit.clone();
        move || audit.close()
    });
    wait_until(|| held.audit.0.shared.closing.load(std::sync::atomic::Ordering::Acquire));
    held.disk(Disk::Fails);
    held.wait_at_gate();
    held.disk(Disk::Fails);
    closing.join().expect("close returns");
    assert_eq!(held.audit.counts(), Counts { written: 0, dropped: 2, disk_errors: 2 });
    assert!(held.written.lock().is_empty());
}

#[test]
fn close_wakes_a_writer_between_two_attempts() {
    let held = Held::start(4, OnFull::Refuse);
    held.disk(Disk::Fails);
    let audit = held.audit.clone();
    wait_until(|| !audit.ready());
    let (written, counts) = held.end();
    assert_eq!(written, ["first"]);
    assert_eq!(counts, Counts { written: 1, dropped: 0, disk_errors: 1 });
}

#[test]
fn a_closed_log_takes_nothing() {
    for (on_full, answer, ready) in [(OnFull::Refuse, Err(Full), false), (OnFull::Count, Ok(()), true)] {
        let held = Held::start(4, on_full);
        let audit = held.audit.clone();
        held.end();
        assert_eq!(audit.record(&event("late")), answer);
        assert_eq!(audit.ready(), ready);
        assert_eq!(audit.counts(), Counts { written: 1, dropped: 1, disk_errors: 0 });
        audit.close();
    }
}

#[test]
fn every_close_waits() {
    let held = Held::start(4, OnFull::Refuse);
    let closers: Vec<_> = (0..3)
        .map(|_| {
            let audit = held.audit.clone();
            thread::spawn(move || {
                audit.close();
                audit.counts().written
            })
        })
        .collect();
    wait_until(|| held.audit.0.shared.closing.load(std::sync::atomic::Ordering::Acquire));
    held.disk(Disk::Takes);
    for closer in closers {
        assert_eq!(closer.join().expect("close returns"), 1);
    }
}

#[test]
fn the_last_handle_ends_the_log() {
    let held = Held::start(4, OnFull::Refuse);
    held.record("second").expect("room");
    let Held { audit, reached, answer, written } = held;
    drop((audit, answer));
    // The writer owns the other end: it is gone when the channel is.
    while reached.recv_timeout(PATIENCE) == Ok(()) {}
    assert_eq!(*written.lock(), ["first", "second"]);
}

/// A record that was answered `Ok` is written, however it races with `close`.
#[test]
fn nothing_taken_is_lost_when_closing() {
    for _ in 0..20 {
        let held = Held::start(100_000, OnFull::Refuse);
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let audit = held.audit.clone();
                thread::spawn(move || {
                    (0..500)
                        .filter(|number| audit.record(&event(&format!("{caller}/{number}"))).is_ok())
                        .count()
                })
            })
            .collect();
        let (written, counts) = {
            let audit = held.audit.clone();
            let seen = Arc::clone(&held.written);
            held.end();
            let taken: usize = callers.into_iter().map(|caller| caller.join().expect("no panic")).sum();
            assert_eq!(audit.counts().written, taken as u64 + 1);
            let seen = seen.lock().clone();
            (seen, audit.counts())
        };
        assert_eq!(counts.written + counts.dropped, 2001);
        for caller in 0..4 {
            let prefix = format!("{caller}/");
            let numbers: Vec<usize> = written
                .iter()
                .filter_map(|id| id.strip_prefix(&prefix))
                .map(|number| number.parse().expect("a number"))
                .collect();
            assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>(), "in order, without a gap");
        }
    }
}
