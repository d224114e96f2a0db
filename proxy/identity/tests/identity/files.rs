//! The authorities on disk.

use crate::{HOUR, chain, noon};
use hawser_identity::{Authorities, IdentityError, client};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const FILES: [&str; 3] = ["serving-ca.pem", "clients-ca.pem", "agents-ca.pem"];

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_reload_gives_the_same_authorities() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("new/keys");
    let first = Authorities::load_or_create(&dir, noon()).unwrap();
    let pem = first.clients.issue_client("alice", "c1", HOUR, noon()).unwrap();
    let again = Authorities::load_or_create(&dir, noon()).unwrap();
    for (a, b) in
        [(&first.serving, &again.serving), (&first.clients, &again.clients), (&first.agents, &again.agents)]
    {
        assert_eq!(a.ca_pem(), b.ca_pem());
        assert_eq!(a.ends(), b.ends());
    }
    assert!(client::verify(again.clients.bundle(), &chain(&pem), noon()).is_ok());
    let pem = again.clients.issue_client("bob", "c2", HOUR, noon()).unwrap();
    assert!(client::verify(first.clients.bundle(), &chain(&pem), noon()).is_ok());
    assert_ne!(first.serving.ca_der(), first.clients.ca_der());
    assert_ne!(first.clients.ca_der(), first.agents.ca_der());
}

#[test]
fn only_the_owner_can_read_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("keys");
    Authorities::load_or_create(&dir, noon()).unwrap();
    assert_eq!(mode(&dir), 0o700);
    let mut names: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".lock", "agents-ca.pem", "clients-ca.pem", "serving-ca.pem"]);
    for file in FILES {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
    for (mode, good) in [(0o400, true), (0o640, true), (0o644, false), (0o660, false), (0o601, false)] {
        fs::set_permissions(dir.join(FILES[1]), fs::Permissions::from_mode(mode)).unwrap();
        match Authorities::load_or_create(&dir, noon()) {
            Ok(_) => assert!(good, "{mode:o}"),
            Err(error) => {
                assert!(!good && matches!(error, IdentityError::Exposed { .. }), "{mode:o}: {error}");
            }
        }
    }
}

#[test]
fn a_damaged_file_is_an_error_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    Authorities::load_or_create(dir.path(), noon()).unwrap();
    let path = dir.path().join(FILES[0]);
    let good = fs::read_to_string(&path).unwrap();
    let agents = fs::read_to_string(dir.path().join(FILES[2])).unwrap();
    let (key, cert) = good.split_at(good.find("-----BEGIN CERT").unwrap());
    let other_cert = &agents[agents.find("-----BEGIN CERT").unwrap()..];
    let mixed = format!("{key}{other_cert}");
    let huge = "x".repeat(300 * 1024);
    for bad in ["", key, cert, &mixed, &good[..good.len() / 2], "\u{0}\u{1}", &huge] {
        fs::write(&path, bad).unwrap();
        let error = Authorities::load_or_create(dir.path(), noon()).err().unwrap();
        assert!(matches!(error, IdentityError::BadAuthority { .. }), "{error}");
        assert!(error.to_string().contains("serving-ca.pem"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), bad);
    }
}

#[test]
fn what_a_crash_left_behind_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join(".clients-ca.pem.new");
    fs::write(&left, "half a file").unwrap();
    fs::set_permissions(&left, fs::Permissions::from_mode(0o666)).unwrap();
    Authorities::load_or_create(dir.path(), noon()).unwrap();
    assert!(!left.exists());
    assert_eq!(mode(&dir.path().join(FILES[1])), 0o600);
}

#[test]
fn processes_that_start_together_agree() {
    let dir = tempfile::tempdir().unwrap();
    let pems: Vec<_> = std::thread::scope(|scope| {
        let start = || Authorities::load_or_create(dir.path(), noon()).unwrap().clients.ca_pem();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(pems.iter().all(|pem| *pem == pems[0]));
}

#[test]
fn authorities_overlap_while_one_follows_another() {
    let (old_dir, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let old = Authorities::load_or_create(old_dir.path(), noon()).unwrap();
    let before = old.clients.issue_client("alice", "c1", HOUR, noon()).unwrap();
    Authorities::load_or_create(dir.path(), noon()).unwrap();
    let path = dir.path().join(FILES[1]);
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str(&old.clients.ca_pem());
    fs::write(&path, text).unwrap();

    let new = Authorities::load_or_create(dir.path(), noon()).unwrap();
    assert_eq!(new.clients.bundle().certs().len(), 2);
    let after = new.clients.issue_client("alice", "c2", HOUR, noon()).unwrap();
    for (pem, credential) in [(&before, "c1"), (&after, "c2")] {
        let who = client::verify(new.clients.bundle(), &chain(pem), noon()).unwrap();
        assert_eq!(who.credential, credential);
    }
    assert!(client::verify(old.clients.bundle(), &chain(&after), noon()).is_err());
}
