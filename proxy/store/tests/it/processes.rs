//! Processes that die and processes that share: an answered write survives `kill -9`, two processes write to one file,
//! and a watch sees what the other one wrote.
//!
//! The other process is `tests/bin/writer.rs`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hawser_kube::clock::{Clock, SystemClock};
use hawser_store::{Event, EventKind, ListOptions, Options, Store};
use tokio::task::JoinSet;

use crate::support::{Folder, PATIENCE, next, until, user, user_key};

const KILLS: usize = 20;

#[tokio::test]
async fn kill_9_loses_no_acknowledged_write() {
    let folder = Folder::new();
    let (mut verified, mut acknowledged) = (0, 0);
    let mut state = HashMap::new();
    for _ in 0..KILLS {
        let mut process = Process::start("without-end", &folder.file());
        let mut acks = vec![process.line()];
        let until_kill = Duration::from_micros(u64::from(uuid::Uuid::new_v4().as_fields().0 % 80_000));
        std::thread::sleep(until_kill);
        process.kill();
        acks.extend(process.lines.iter());

        let store = folder.open();
        let events = history(&store, verified).await;
        verified = store.revision().await.unwrap();
        for ack in &acks {
            let told: Vec<&str> = ack.split(' ').collect();
            let revision: u64 = told[2].parse().unwrap();
            let event = &events[&revision];
            assert_eq!((event.kind.as_str(), event.object.key.name.as_str()), (told[0], told[1]));
        }
        acknowledged += acks.len();
        for revision in verified - events.len() as u64 + 1..=verified {
            let event = &events[&revision];
            match event.kind {
                EventKind::Added | EventKind::Modified => state.insert(event.object.key.clone(), revision),
                EventKind::Deleted => state.remove(&event.object.key),
            };
        }
        let listed = store.list("User", ListOptions::default()).await.unwrap();
        let listed: HashMap<_, _> =
            listed.items.into_iter().map(|object| (object.key, object.revision)).collect();
        assert_eq!(listed, state);
    }
    let health: String = folder.raw().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(health, "ok");
    eprintln!("{KILLS} kills, {acknowledged} acknowledged, {verified} revisions");
}

/// Every event after `from`: revisions that rise by one.
async fn history(store: &Store, from: u64) -> HashMap<u64, Event> {
    let newest = store.revision().await.unwrap();
    let mut watch = store.watch(&[], from).await.unwrap();
    let mut events = HashMap::new();
    for revision in from + 1..=newest {
        let event = next(&mut watch).await.unwrap();
        assert_eq!(event.revision, revision);
        events.insert(revision, event);
    }
    events
}

#[tokio::test]
async fn two_processes_write_at_once_and_watches_see_one_order() {
    const EACH: u64 = 300;
    let folder = Folder::new();
    let store = folder.open_with(Options { watch_queue_max: 10_000, ..Options::default() });
    let mut watch = store.watch(&["User"], 0).await.unwrap();
    let mut process = Process::start("when-told", &folder.file());
    process.tell(&format!("burst {EACH}"));
    let mut writers = JoinSet::new();
    for writer in 0..10 {
        let store = store.clone();
        writers.spawn(async move {
            for i in 0..EACH / 10 {
                store.create(user(&format!("ours-{writer}-{i}"), "")).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    let mut names = std::collections::HashSet::new();
    for revision in 1..=2 * EACH {
        let event = next(&mut watch).await.unwrap();
        assert_eq!((event.kind, event.revision), (EventKind::Added, revision));
        names.insert(event.object.key.name.clone());
    }
    assert_eq!(names.len() as u64, 2 * EACH);
    assert_eq!(process.line(), "done");
    until("all foreign changes are counted", async || store.counters().foreign_changes == EACH).await;
    process.kill();
}

#[tokio::test]
async fn a_process_that_writes_without_pause_does_not_starve_another() {
    const WRITES: usize = 50;
    let folder = Folder::new();
    let store = folder.open();
    let mut process = Process::start("without-end", &folder.file());
    process.line();
    let mut waits = Vec::new();
    for i in 0..WRITES {
        let asked = SystemClock.now();
        store.create(user(&format!("ours-{i}"), "")).await.unwrap();
        waits.push(asked.elapsed());
    }
    process.kill();
    waits.sort_unstable();
    eprintln!("write beside a busy process: p50 {:?}, max {:?}", waits[WRITES / 2], waits[WRITES - 1]);
    assert!(waits[WRITES - 1] < PATIENCE);
}

#[tokio::test]
async fn a_watch_sees_a_foreign_write_soon() {
    const WRITES: usize = 40;
    let folder = Folder::new();
    let store = folder.open();
    let mut process = Process::start("when-told", &folder.file());
    let mut watch = store.watch(&["User"], 0).await.unwrap();
    let mut delays = Vec::new();
    for i in 0..WRITES {
        process.tell(&format!("write u{i}"));
        assert_eq!(process.line(), format!("ADDED u{i} {}", i + 1));
        let acknowledged = SystemClock.now();
        assert_eq!(next(&mut watch).await.unwrap().object.key, user_key(&format!("u{i}")));
        delays.push(acknowledged.elapsed());
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    process.kill();
    delays.sort_unstable();
    eprintln!("foreign write to event: p50 {:?}, max {:?}", delays[WRITES / 2], delays[WRITES - 1]);
    assert!(delays[WRITES - 1] < Duration::from_secs(2));
}

/// The disk fails under the log (here: the file may not grow): the write is not acknowledged, no other is tried, reads
/// go on, and a restart finds every acknowledged write.
#[tokio::test]
async fn after_a_failed_write_nothing_is_written_until_a_restart() {
    let folder = Folder::new();
    let mut shell = Command::new("bash");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 512; exec \"$0\" \"$@\"", WRITER]);
    let process = Process::run(shell, "until-the-disk-fails", &folder.file());
    let lines: Vec<String> = process.lines.iter().collect();
    let (last, acks) = lines.split_last().unwrap();
    assert_eq!(last, "refused and read");
    assert!(acks.len() > 10);
    let store = folder.open();
    for (i, ack) in acks.iter().enumerate() {
        assert_eq!(ack, &format!("ADDED u{i} {}", i + 1));
        assert_eq!(store.get(&user_key(&format!("u{i}"))).await.unwrap().revision, i as u64 + 1);
    }
    assert!(store.create(user("after", "")).await.is_ok());
}

/// A process that writes.
struct Process {
    child: Child,
    /// What it said.
    lines: Receiver<String>,
}

impl Process {
    fn start(way: &str, file: &Path) -> Self {
        Self::run(Command::new(WRITER), way, file)
    }

    fn run(mut command: Command, way: &str, file: &Path) -> Self {
        let mut child =
            command.arg(file).arg(way).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // A line that was cut off is no acknowledgement.
            while reader.read_line(&mut line).is_ok() && line.ends_with('\n') {
                if sender.send(line.trim_end().to_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("the other process is silent")
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// SIGKILL: no destructor runs, nothing is flushed.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The program of the other process.
const WRITER: &str = env!("CARGO_BIN_EXE_hawser-store-test-writer");
