//! What breaks between client and cluster is not seen where it need not be, and told truthfully where it must: reads go
//! on, writes are never doubled, watches resume without an error, a cut session does not look like a success.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use hawser_tests::{
    Curl, Ran, Sandbox, Watch, Way, agents, agents_are_whole, kill_agent, ok, ok_with, run, up,
};
use parking_lot::{Mutex, MutexGuard};

/// Tests that kill agents run one after the other: with none left, nothing works.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock()
}

#[test]
fn a_killed_agent() {
    let _alone = alone();
    agents_are_whole();
    let sandbox = Sandbox::new("killed-agent");
    let watched = sandbox
        .kubectl(Way::Hawser, &["get", "configmaps", "-w", "-o", "name"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let done = AtomicBool::new(false);
    let (reads, writes) = thread::scope(|scope| {
        let over = Over(&done);
        let reader = scope.spawn(|| {
            let mut all: Vec<Ran> = Vec::new();
            while !done.load(Ordering::Relaxed) {
                all.push(run(&mut sandbox.kubectl(Way::Hawser, &["get", "pods", "-o", "name"])));
            }
            all
        });
        let writer = scope.spawn(|| {
            let mut acknowledged = 0;
            let mut unsure = 0;
            let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: w-}\n";
            while !done.load(Ordering::Relaxed) {
                let ran = hawser_tests::run_with(
                    &mut sandbox.kubectl(Way::Hawser, &["create", "-f", "-"]),
                    map.as_bytes(),
                );
                match ran.code {
                    0 => acknowledged += 1,
                    _ => unsure += 1,
                }
            }
            (acknowledged, unsure)
        });
        thread::sleep(Duration::from_secs(2));
        kill_agent(&agents()[0]);
        thread::sleep(Duration::from_secs(12));
        drop(over);
        (reader.join().unwrap(), writer.join().unwrap())
    });
    let failed: Vec<_> = reads.iter().filter(|ran| ran.code != 0 || ran.stdout != "pod/p\n").collect();
    assert!(failed.is_empty(), "{} of {} reads failed: {:?}", failed.len(), reads.len(), failed.first());
    let there = ok(&mut sandbox.kubectl(Way::Direct, &["get", "configmaps", "-o", "name"]));
    let there = there.lines().filter(|name| name.starts_with("configmap/w-")).count();
    let (acknowledged, unsure) = writes;
    assert!(
        (acknowledged..=acknowledged + unsure).contains(&there),
        "{acknowledged} writes acknowledged, {unsure} without an answer, {there} objects"
    );
    let mut watched = watched;
    watched.kill().unwrap();
    let output = watched.wait_with_output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!text.to_lowercase().contains("error"), "{text}");
    agents_are_whole();
}

/// Says at its end that it is over, also where that is a failed assertion, so that threads that wait for it end, too.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_watch_whose_agent_is_killed_ends_between_two_events() {
    let _alone = alone();
    agents_are_whole();
    let sandbox = Sandbox::new("watched-agent");
    let curl = Curl::new();
    let path = format!("/api/v1/namespaces/{}/configmaps?watch=true", sandbox.namespace);
    let mut watches: Vec<Watch> = ["--http2", "--http1.1", "--http2", "--http1.1"]
        .iter()
        .map(|version| Watch::begin(&mut curl.command(&path, &[version])))
        .collect();
    for _ in 0..4 {
        let args = ["get", "configmaps", "--watch", "--output-watch-events"];
        watches.push(Watch::begin(&mut sandbox.kubectl(Way::Hawser, &args)));
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&done);
        scope.spawn(|| {
            let mut number = 0;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                let value = format!("number={number}");
                let args = ["annotate", "--overwrite", "configmap", "kube-root-ca.crt", &value];
                let _changed = ok(&mut sandbox.kubectl(Way::Direct, &args));
            }
        });
        for watch in &mut watches {
            watch.sees("MODIFIED", Duration::from_secs(60));
        }
        // Whichever of the two carries a watch is killed.
        for agent in agents() {
            kill_agent(&agent);
            agents_are_whole();
        }
    });
    for watch in watches {
        let ran = watch.ended(Duration::from_secs(20));
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        assert!(ran.stdout.contains("MODIFIED") && ran.stdout.ends_with('\n'), "{ran:?}");
        assert!(!ran.stdout.contains("ERROR"), "{ran:?}");
    }
}

#[test]
fn a_goaway_of_the_api_server_is_nobodys_business() {
    let _alone = alone();
    // The test cluster's API server ends the connection after one request in a hundred.
    let sandbox = Sandbox::new("goaway");
    let curl = Curl::new();
    let of = format!("/api/v1/namespaces/{}", sandbox.namespace);
    let reads = curl.codes(&format!("{of}/pods/p?pretty=[1-1500]"), &["--http2"]);
    assert_eq!(reads.len(), 1500);
    assert!(reads.iter().all(|code| code == "200"), "{:?}", reads.iter().find(|code| *code != "200"));
    let body = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"g-"}}"#;
    let write = ["--http2", "-X", "POST", "-H", "Content-Type: application/json", "-d", body];
    let writes = curl.codes(&format!("{of}/configmaps?fieldManager=m[1-400]"), &write);
    assert!(writes.iter().all(|code| code == "201"), "{:?}", writes.iter().find(|code| *code != "201"));
    let there = ok(&mut sandbox.kubectl(Way::Direct, &["get", "configmaps", "-o", "name"]));
    assert_eq!(there.lines().filter(|name| name.starts_with("configmap/g-")).count(), 400);
}

#[test]
fn a_session_cut_with_its_agent_is_no_success() {
    let _alone = alone();
    agents_are_whole();
    let sandbox = Sandbox::new("cut-session");
    for spdy in [false, true] {
        let mut command =
            sandbox.kubectl(Way::Hawser, &["exec", "p", "--", "sh", "-c", "echo begun; sleep 60; exit 3"]);
        if spdy {
            command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false");
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let _read = BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "begun\n");
        for agent in agents() {
            kill_agent(&agent);
        }
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "spdy={spdy}: {text}");
        assert!(text.contains("session ended by Hawser: "), "spdy={spdy}: {text}");
        agents_are_whole();
    }
}

#[test]
fn a_cluster_that_is_not_connected_says_so() {
    let map = "apiVersion: access.hawser.dev/v1\nkind: Cluster\nmetadata: {name: t-absent}\nspec: {}\n";
    let _made = ok_with(&mut up().hawser(&["apply", "-f", "-"]), map);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    let policy = "apiVersion: access.hawser.dev/v1\nkind: AccessPolicy\nmetadata: {name: t-absent, namespace: hawser-system}\n\
                  spec: {effect: Allow, subjects: {users: [absent@example.com]}, clusters: {names: [t-absent]}, roles: [view]}\n";
    let _allowed = ok_with(&mut up().hawser(&["apply", "-f", "-"]), policy);
    let args = [
        "kubeconfig",
        "absent@example.com",
        "--local",
        "--cluster",
        "t-absent",
        "--output",
        file.to_str().unwrap(),
    ];
    let _made = ok(&mut up().hawser(&args));
    thread::sleep(Duration::from_millis(500));
    let ran = run(&mut up().kubectl_as(&file, &["get", "--raw", "/api/v1/namespaces"]));
    assert_eq!(ran.code, 1);
    let text = "Error from server (ServiceUnavailable): cluster t-absent: no agent is connected to this edge";
    assert!(ran.stderr.starts_with(text), "{}", ran.stderr);
    let _gone = ok(&mut up().hawser(&["delete", "cluster", "t-absent"]));
}
