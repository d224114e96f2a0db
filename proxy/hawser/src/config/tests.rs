//! What files and flags make of a configuration, and how they are refused.

use std::{ops::RangeInclusive, path::Path};

use clap::Parser;

use super::*;

/// The flags of `hawser up` alone.
#[derive(Parser)]
struct Command {
    #[command(flatten)]
    up: Up,
}

fn flags(words: &[&str]) -> Up {
    Command::parse_from([&["hawser"], words].concat()).up
}

/// With this file, and these flags over it.
#[expect(clippy::unwrap_in_result, reason = "the result is that of what is tested")]
fn read(file: &str, words: &[&str]) -> Result<EdgeConfig, Faults> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.yaml");
    std::fs::write(&path, file).unwrap();
    EdgeConfig::read(&flags(&[&["--config", path.to_str().unwrap()], words].concat()))
}

/// The faults, each without the folder of the file.
fn refused(file: &str, words: &[&str]) -> Vec<String> {
    let faults = read(file, words).expect_err(file).0;
    let short = |fault: &Fault| {
        let at = Path::new(&fault.at).file_name().map(|name| name.to_str().unwrap().to_owned());
        Fault { at: at.unwrap_or_default(), ..clone(fault) }.to_string()
    };
    faults.iter().map(short).collect()
}

fn clone(fault: &Fault) -> Fault {
    Fault {
        at: fault.at.clone(),
        key: fault.key.clone(),
        value: fault.value.clone(),
        expected: fault.expected.clone(),
    }
}

/// `a.b` with a value, as a file.
fn one(key: &str, value: &str) -> String {
    match key.split_once('.') {
        Some((section, key)) => format!("{section}:\n  {key}: {value}\n"),
        None => format!("{key}: {value}\n"),
    }
}

fn value(config: &EdgeConfig, key: &str) -> String {
    config.entries().into_iter().find(|entry| entry.key == key).unwrap().value.to_string()
}

#[test]
fn nothing_said_means_the_defaults() {
    for empty in ["", "---\n", "# nothing\n", "limits:\naudit:\nlisten:\n"] {
        assert_eq!(read(empty, &[]).unwrap(), EdgeConfig::default(), "{empty:?}");
    }
    assert_eq!(EdgeConfig::read(&flags(&[])).unwrap(), EdgeConfig::default());
}

#[test]
fn every_key_can_be_written_as_it_is_shown() {
    let unset = ["advertise", "workers"];
    for entry in EdgeConfig::default().entries().iter().filter(|entry| !unset.contains(&entry.key.as_str())) {
        let file = one(&entry.key, &quoted(&entry.value));
        assert_eq!(read(&file, &[]).unwrap(), EdgeConfig::default(), "{file}");
    }
    assert_eq!(read("advertise: edge.example.com\nworkers: 2", &[]).unwrap().workers, Some(2));
}

/// Numbers and truth values stand bare, all others in quotes.
fn quoted(value: &Value) -> String {
    let text = value.to_string();
    if text.parse::<u64>().is_ok() || ["true", "false"].contains(&text.as_str()) {
        text
    } else {
        format!("\"{text}\"")
    }
}

#[test]
fn ranges_end_where_they_say() {
    for entry in EdgeConfig::default().entries() {
        let Accepts::Range(range) = &entry.accepts else { continue };
        let (below, above) = beside(range);
        for edge in [range.start(), range.end()] {
            let file = one(&entry.key, &quoted(&Value::Quantity(*edge)));
            let config = read(&file, &[]).unwrap_or_else(|faults| panic!("{file}{faults}"));
            assert_eq!(value(&config, &entry.key), edge.to_string());
        }
        for outside in [below, Some(above)].into_iter().flatten() {
            let file = one(&entry.key, &quoted(&Value::Quantity(outside)));
            let line = file.lines().count();
            let wanted = format!("edge.yaml:{line}: {}: {outside}: must be {}", entry.key, entry.accepts);
            assert_eq!(refused(&file, &[]), [wanted]);
        }
    }
}

/// The nearest values outside.
fn beside(range: &RangeInclusive<Quantity>) -> (Option<Quantity>, Quantity) {
    let less = |by: u64, from: &u64| from.checked_sub(by);
    let ms = Duration::from_millis(1);
    match (range.start(), range.end()) {
        (Quantity::Count(low), Quantity::Count(high)) => {
            (less(1, low).map(Quantity::Count), Quantity::Count(high + 1))
        }
        (Quantity::Bytes(low), Quantity::Bytes(high)) => {
            (less(1, low).map(Quantity::Bytes), Quantity::Bytes(high + 1))
        }
        (Quantity::Time(low), Quantity::Time(high)) => {
            (low.checked_sub(ms).map(Quantity::Time), Quantity::Time(*high + ms))
        }
        mixed => panic!("{mixed:?}"),
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let file = "\
listen: 8443
advertise: https://edge.example.com
log: xml
audit: {onFull: drop, requestReceived: 1}
limits:
  headersMax: many
  bodyWait: 60
  headTimeout: 3w
  streamsMax: -1
  replayBytesMax: 1.5Mi
  idleTimeout: [90s]
";
    assert_eq!(
        refused(file, &[]),
        [
            "edge.yaml:1: listen: 8443: must be an address with port, such as \"[::]:8443\"",
            "edge.yaml:2: advertise: \"https://edge.example.com\": must be a DNS name or an address, without port",
            "edge.yaml:3: log: \"xml\": must be text or json",
            "edge.yaml:4: audit.onFull: \"drop\": must be refuse or count",
            "edge.yaml:4: audit.requestReceived: 1: must be true or false",
            "edge.yaml:6: limits.headersMax: \"many\": must be a whole number from 32 to 1024",
            "edge.yaml:9: limits.streamsMax: -1: must be a whole number from 100 to 1000",
            "edge.yaml:8: limits.headTimeout: \"3w\": must be a time, such as 500ms, 90s or 1h, from 100ms to 2m",
            "edge.yaml:11: limits.idleTimeout: [\"90s\"]: must be a time, such as 500ms, 90s or 1h, from 1s to 1h",
            "edge.yaml:7: limits.bodyWait: 60: must be a time, such as 500ms, 90s or 1h, from 100ms to 1h",
            "edge.yaml:10: limits.replayBytesMax: \"1.5Mi\": must be bytes, such as 65536 or 64Ki, from 0 to 16Mi",
        ]
    );
}

#[test]
fn what_is_not_known_is_refused() {
    for (file, at, words) in [
        ("port: 8443\n", "edge.yaml:1: ", "`port`"),
        ("limits:\n  headers: 3\n", "edge.yaml:2: ", "`headers`"),
        ("audit:\n  queueMax: 3\n", "edge.yaml:2: ", "`queueMax`"),
        ("drain_timeout: 3s\n", "edge.yaml:1: ", "`drain_timeout`"),
        ("log: text\nlog: json\n", "edge.yaml:2: ", "log"),
        ("limits: 3\n", "edge.yaml:1: ", ""),
        ("listen: [::]:8443\n", "edge.yaml:1: ", ""),
        ("- listen\n", "edge.yaml:1: ", ""),
        ("log: text\n---\nlog: json\n", "edge.yaml", ""),
    ] {
        let faults = refused(file, &[]);
        assert!(faults.len() == 1 && faults[0].starts_with(at), "{file}{faults:?}");
        assert!(faults[0].contains(words) && !faults[0].contains('\n'), "{file}{faults:?}");
    }
    let huge = format!("# {}\n", "x".repeat(1 << 20));
    assert!(refused(&huge, &[])[0].contains("larger than 1048576 bytes"));
    let absent = EdgeConfig::read(&flags(&["--config", "/nowhere/edge.yaml"])).unwrap_err().to_string();
    assert!(absent.starts_with("/nowhere/edge.yaml: cannot be read: "), "{absent}");
}

#[test]
fn flags_have_the_last_word() {
    let file = "listen: 127.0.0.1:1\ndrainTimeout: 1s\nlog: json\nworkers: 3\naudit: {onFull: count}\n";
    let words =
        ["--listen", "127.0.0.1:2", "--workers=4", "--on-audit-full=refuse", "--audit-request-received"];
    let config = read(file, &words).unwrap();
    assert_eq!((config.listen.port(), config.workers, config.log), (2, Some(4), Format::Json));
    assert_eq!((config.audit.on_full, config.audit.request_received), (OnAuditFull::Refuse, true));
    assert_eq!(config.drain_timeout, Duration::from_secs(1));
    assert_eq!(
        refused("workers: 5\n", &["--workers=0", "--drain-timeout=2h"]),
        [
            "--workers: workers: 0: must be a whole number from 1 to 1024",
            "--drain-timeout: drainTimeout: 2h: must be a time, such as 500ms, 90s or 1h, from 0s to 1h",
        ]
    );
}

#[test]
fn sizes_have_binary_units() {
    for (text, bytes) in
        [("65536", 1 << 16), ("64Ki", 1 << 16), ("\"65536\"", 0), ("1Mi", 1 << 20), ("1M", 0)]
    {
        let read = read(&one("limits.replayBytesMax", text), &[]);
        match bytes {
            0 => assert!(read.is_err(), "{text}"),
            bytes => assert_eq!(read.unwrap().limits.replay_bytes_max, bytes, "{text}"),
        }
    }
}

#[test]
fn names_and_addresses_can_be_advertised() {
    for good in ["edge.example.com", "edge", "192.0.2.7", "2001:db8::7", "xn--bcher-kva.example"] {
        assert!(advertised(good).is_ok(), "{good}");
    }
    for bad in ["", "edge:8443", "[::1]", "a..b", "-a.b", "a b", "*.example.com", &"a.".repeat(127)] {
        assert!(advertised(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_is_live_is_taken_and_nothing_else() {
    let file = "\
listen: 127.0.0.1:1\nadvertise: a.example\nhealth: 127.0.0.1:2\ndataDir: /d\nworkers: 3\nlog: json\ndrainTimeout: 1s
agentCertificate: 2h\naudit: {onFull: count, requestReceived: true, fileBytes: 2Mi, filesKept: 3, queue: 4}
limits: {headerBytesMax: 32Ki, headersMax: 33, streamsMax: 101, connectionsMax: 5, connectionsPerSourceMax: 6,
  handshakeTimeout: 1s, headTimeout: 2s, unauthenticatedTimeout: 3s, idleTimeout: 4s, bodyWait: 6s, routeWait: 7s,
  responseWait: 8s, replayBytesMax: 9, watchEventBytesMax: 8Ki, stalledBytesMax: 8Mi,
  stalledBytesPerUserMax: 4Mi}\n";
    let (before, next) = (EdgeConfig::default(), read(file, &[]).unwrap());
    let mut after = before.clone();
    after.take_live(next.clone());
    let all = before.entries().into_iter().zip(next.entries()).zip(after.entries());
    for ((before, next), after) in all {
        assert_ne!(before.value, next.value, "{}: the file leaves it out", before.key);
        assert_eq!(after.value, if before.live { next.value } else { before.value }, "{}", after.key);
    }
}
