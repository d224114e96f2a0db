//! Many, large and long: streams at their size. `cargo xtask test --full` runs them at full length.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use hawser_tests::{Curl, Sandbox, Way, agent_processes, links_of_agents, ok, run, sized, until, up};

#[test]
fn execs_at_the_same_time() {
    let sandbox = Sandbox::new("sizes-execs");
    let running: Vec<_> = (0..sized(60, 200))
        .map(|number| {
            let word = format!("w{number}");
            // All of them are open before the first one ends.
            let script = format!("read go; echo {word}; exit 3");
            let mut command = sandbox.kubectl(Way::Hawser, &["exec", "-i", "p", "--", "sh", "-c", &script]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            (word, command.spawn().unwrap())
        })
        .collect();
    thread::sleep(Duration::from_secs(10));
    for (word, mut child) in running {
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), word, "{errors}");
        assert_eq!(output.status.code(), Some(3), "{errors}");
    }
}

#[test]
fn a_large_file_takes_bounded_memory() {
    let mib = sized(128, 1024);
    let sandbox = Sandbox::new("sizes-cp");
    let folder = tempfile::tempdir().unwrap();
    let (from, back) = (folder.path().join("from"), folder.path().join("back"));
    let mut file = fs::File::create(&from).unwrap();
    for number in 0..mib {
        let mut piece = vec![u8::try_from(number % 251).unwrap(); 1 << 20];
        piece[..8].copy_from_slice(&(number as u64).to_be_bytes());
        file.write_all(&piece).unwrap();
    }
    drop(file);
    let programs = programs();
    let before = resident(&programs);
    let copied = AtomicBool::new(false);
    let most = thread::scope(|scope| {
        let watched = scope.spawn(|| {
            let mut most = before;
            while !copied.load(Ordering::Relaxed) {
                most = most.max(resident(&programs));
                thread::sleep(Duration::from_millis(50));
            }
            most
        });
        let _sent = run(&mut sandbox.kubectl(Way::Hawser, &["cp", from.to_str().unwrap(), "p:/tmp/file"]));
        let _taken = run(&mut sandbox.kubectl(Way::Hawser, &["cp", "p:/tmp/file", back.to_str().unwrap()]));
        copied.store(true, Ordering::Relaxed);
        watched.join().unwrap()
    });
    let same = Command::new("cmp").args([&from, &back]).status().unwrap();
    assert!(same.success(), "what came back is what went");
    assert!(most - before < GROWTH_BYTES_MAX, "{} MiB more for {mib} MiB", (most - before) >> 20);
}

#[test]
fn a_silent_session_goes_on() {
    let sandbox = Sandbox::new("sizes-silent");
    let seconds = sized(20, 180).to_string();
    let script = format!("echo one; sleep {seconds}; echo two; exit 4");
    let execs: Vec<_> = ["true", "false"]
        .map(|websocket| {
            let mut command = sandbox.kubectl(Way::Hawser, &["exec", "p", "--", "sh", "-c", &script]);
            command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websocket);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .into();
    let mut watch = sandbox
        .kubectl(Way::Hawser, &["get", "configmaps", "--watch-only", "-o", "name"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for exec in execs {
        let output = exec.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "one\ntwo\n");
        assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let _made = ok(&mut sandbox.kubectl(Way::Direct, &["create", "configmap", "after-the-silence"]));
    let mut line = String::new();
    let _read = BufReader::new(watch.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "configmap/after-the-silence\n");
    watch.kill().unwrap();
    let _ended = watch.wait().unwrap();
}

#[test]
fn links_grow_with_what_runs_on_them() {
    let path = "/api/v1/namespaces/default/replicationcontrollers?watch=true&timeoutSeconds=20&labelSelector=n%3D[1-400]";
    let codes = thread::scope(|scope| {
        let watches = scope.spawn(|| Curl::new().codes(path, &["--http2", "--parallel-max", "300"]));
        until("an agent has another link", Duration::from_secs(15), || {
            links_of_agents().into_values().max() >= Some(3)
        });
        watches.join().unwrap()
    });
    assert_eq!(codes, vec!["200"; 400]);
}

/// The edge and every agent.
fn programs() -> Vec<u32> {
    let agents = agent_processes();
    assert!(agents.len() >= 2, "two agents of the cluster run on this machine");
    [vec![up().edge_pid()], agents].concat()
}

/// Memory of all of them together, in bytes.
fn resident(programs: &[u32]) -> u64 {
    let of = |id: &u32| {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    };
    programs.iter().map(of).sum()
}

/// A copy passes an edge and an agent, which may each hold a window of 4 MiB and what is on its way to it; allocators
/// keep some more.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
