//! The file on a real disk: what stands in it, how it is rotated, and what happens when it goes away.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use hawser_audit::{Audit, Config, Counts, OnFull, StartError};
use hawser_kube::audit_event::Event;
use tempfile::TempDir;

fn event(number: u32) -> Event {
    Event { audit_id: format!("{number:04}"), ..Event::default() }
}

/// All events here have the same length.
fn line_bytes() -> u64 {
    serde_json::to_vec(&event(0)).expect("encodes").len() as u64 + 1
}

fn config(path: PathBuf) -> Config {
    Config { path, rotate_bytes: 1 << 20, rotate_keep: 3, queue_max: 1000, on_full: OnFull::Refuse }
}

fn start(path: &Path) -> Audit {
    Audit::start(config(path.to_owned())).expect("starts")
}

fn record(audit: &Audit, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        assert_eq!(audit.record(&event(number)), Ok(()));
    }
}

/// The events of a file, which must be whole lines of whole events.
fn read(path: impl AsRef<Path>) -> Vec<u32> {
    let text = fs::read_to_string(path).expect("the file is there");
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(number).collect()
}

fn number(line: &str) -> u32 {
    let read: Event = serde_json::from_str(line).expect("an event");
    let number = read.audit_id.parse().expect("a number");
    assert_eq!(read, event(number));
    number
}

fn older(path: &Path, number: u32) -> PathBuf {
    PathBuf::from(format!("{}.{number}", path.display()))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file is there").permissions().mode() & 0o7777
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

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.log");
    (folder, path)
}

#[test]
fn one_line_per_event_in_order() {
    let (_folder, path) = folder();
    let audit = start(&path);
    record(&audit, 0..500);
    audit.close();
    assert_eq!(read(&path), (0..500).collect::<Vec<_>>());
    assert_eq!(audit.counts(), Counts { written: 500, dropped: 0, disk_errors: 0 });
    let first = fs::read_to_string(&path).unwrap();
    assert!(first.starts_with(
        r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"0000""#
    ));
}

#[test]
fn only_the_owner_reads_it() {
    let (_folder, path) = folder();
    start(&path).close();
    assert_eq!(mode(&path), 0o600);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    start(&path).close();
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_restart_goes_on_in_the_same_file() {
    let (_folder, path) = folder();
    for run in 0..3 {
        let audit = start(&path);
        record(&audit, run * 10..run * 10 + 10);
        audit.close();
    }
    assert_eq!(read(&path), (0..30).collect::<Vec<_>>());
}

#[test]
fn a_line_that_a_crash_cut_is_not_continued() {
    let (_folder, path) = folder();
    fs::write(&path, r#"{"kind":"Ev"#).unwrap();
    let audit = start(&path);
    record(&audit, [1]);
    audit.close();
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[0], number(lines[1])), (2, r#"{"kind":"Ev"#, 1));
}

/// Whatever the batches are: each file has what fits, not a byte more, and the oldest is lost.
#[test]
fn rotation_at_the_last_byte_that_fits() {
    for (spare, per_file) in [(0, 3), (1, 3), (line_bytes() - 1, 3), (line_bytes(), 4)] {
        let (_folder, path) = folder();
        let rotate_bytes = 3 * line_bytes() + spare;
        let audit = Audit::start(Config { rotate_bytes, rotate_keep: 2, ..config(path.clone()) }).unwrap();
        record(&audit, 0..per_file * 4 + 1);
        audit.close();
        assert_eq!(read(&path), [per_file * 4], "{spare}");
        assert_eq!(read(older(&path, 1)), (per_file * 3..per_file * 4).collect::<Vec<_>>());
        assert_eq!(read(older(&path, 2)), (per_file * 2..per_file * 3).collect::<Vec<_>>());
        assert!(!older(&path, 3).exists());
        assert_eq!(mode(&older(&path, 1)), 0o600);
    }
}

#[test]
fn a_full_file_is_rotated_with_the_next_event_only() {
    let (_folder, path) = folder();
    let audit = Audit::start(Config { rotate_bytes: 2 * line_bytes(), ..config(path.clone()) }).unwrap();
    record(&audit, 0..2);
    wait_until(|| audit.counts().written == 2);
    assert!(!older(&path, 1).exists());
    record(&audit, 2..3);
    audit.close();
    assert_eq!((read(&path), read(older(&path, 1))), (vec![2], vec![0, 1]));
}

#[test]
fn an_event_longer_than_a_file_has_one_to_itself() {
    let (_folder, path) = folder();
    let audit = Audit::start(Config { rotate_bytes: 1, ..config(path.clone()) }).unwrap();
    record(&audit, 0..3);
    audit.close();
    assert_eq!((read(&path), read(older(&path, 1)), read(older(&path, 2))), (vec![2], vec![1], vec![0]));
}

#[test]
fn a_file_that_was_moved_or_removed_is_opened_anew() {
    let (_folder, path) = folder();
    let audit = start(&path);
    record(&audit, 0..5);
    wait_until(|| audit.counts().written == 5);
    fs::rename(&path, older(&path, 9)).unwrap();
    record(&audit, 5..8);
    wait_until(|| audit.counts().written == 8);
    assert_eq!((read(&path), read(older(&path, 9))), (vec![5, 6, 7], vec![0, 1, 2, 3, 4]));
    fs::remove_file(&path).unwrap();
    record(&audit, 8..9);
    audit.close();
    assert_eq!(read(&path), [8]);
    assert_eq!(audit.counts(), Counts { written: 9, dropped: 0, disk_errors: 0 });
}

#[test]
fn without_its_folder_it_waits_and_loses_nothing() {
    let (folder, path) = folder();
    let audit = start(&path);
    assert!(audit.ready());
    fs::remove_dir_all(folder.path()).unwrap();
    record(&audit, 0..5);
    wait_until(|| !audit.ready());
    record(&audit, 5..10);
    assert!(audit.counts().disk_errors > 0);
    fs::create_dir(folder.path()).unwrap();
    wait_until(|| audit.ready());
    audit.close();
    assert_eq!(read(&path), (0..10).collect::<Vec<_>>());
    assert_eq!(audit.dropped(), 0);
}

#[test]
fn a_rotation_that_fails_is_tried_again() {
    let (_folder, path) = folder();
    let audit =
        Audit::start(Config { rotate_bytes: line_bytes(), rotate_keep: 1, ..config(path.clone()) }).unwrap();
    fs::create_dir(older(&path, 1)).unwrap();
    record(&audit, 0..2);
    wait_until(|| !audit.ready());
    fs::remove_dir(older(&path, 1)).unwrap();
    wait_until(|| audit.ready());
    audit.close();
    assert_eq!((read(&path), read(older(&path, 1))), (vec![1], vec![0]));
    assert_eq!(audit.dropped(), 0);
}

/// Repeating a rotation must not push older files over the edge.
#[test]
fn a_gap_in_the_numbers_is_filled_first() {
    let (_folder, path) = folder();
    let audit = Audit::start(Config { rotate_bytes: 1, rotate_keep: 3, ..config(path.clone()) }).unwrap();
    fs::write(older(&path, 2), "kept").unwrap();
    record(&audit, 0..2);
    audit.close();
    assert_eq!((read(&path), read(older(&path, 1))), (vec![1], vec![0]));
    assert_eq!(fs::read(older(&path, 2)).unwrap(), b"kept");
}

#[test]
fn a_full_disk_is_counted_and_reported() {
    for (on_full, ready) in [(OnFull::Refuse, false), (OnFull::Count, true)] {
        let audit = Audit::start(Config { on_full, ..config("/dev/full".into()) }).unwrap();
        record(&audit, 0..3);
        wait_until(|| audit.counts().disk_errors > 0);
        assert_eq!(audit.ready(), ready);
        audit.close();
        assert_eq!((audit.counts().written, audit.dropped()), (0, 3));
    }
}

#[test]
fn a_log_that_cannot_start_says_why() {
    let (folder, path) = folder();
    let missing = folder.path().join("missing/audit.log");
    let error = Audit::start(config(missing.clone())).err().unwrap();
    assert!(matches!(&error, StartError::Open { path, .. } if *path == missing));
    let good = config(path);
    for (config, text) in [
        (
            Config { rotate_bytes: 0, ..good.clone() },
            "audit: rotate_bytes is 0, must be 1 to 18446744073709551615",
        ),
        (Config { rotate_keep: 0, ..good.clone() }, "audit: rotate_keep is 0, must be 1 to 999"),
        (Config { rotate_keep: 1000, ..good.clone() }, "audit: rotate_keep is 1000, must be 1 to 999"),
        (Config { queue_max: 0, ..good.clone() }, "audit: queue_max is 0, must be 1 to 1000000"),
        (
            Config { queue_max: 1_000_001, ..good.clone() },
            "audit: queue_max is 1000001, must be 1 to 1000000",
        ),
    ] {
        assert_eq!(Audit::start(config).err().unwrap().to_string(), text);
    }
    Audit::start(Config { rotate_keep: 999, queue_max: 1_000_000, ..good }).unwrap().close();
}
