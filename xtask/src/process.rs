//! Background processes of a state folder: start, find again, end.
//!
//! Every process carries a mark in its environment, `HAWSER_UP=<state>/<owner>/<name>`, which its
//! children inherit. A process is found by its mark in /proc and never by a number remembered in a
//! file, so a recycled process id is never taken for ours, and what a killed `up` left behind is
//! found as well.
#![expect(unsafe_code, reason = "kill(2) is not in the standard library")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::{log_tail, tool};

/// What a background process is and whose: `owner` is a cluster's name or `edge`.
pub(crate) struct Mark {
    pub(crate) state: String,
    pub(crate) owner: String,
    pub(crate) name: &'static str,
}

impl Mark {
    fn value(&self) -> String {
        format!("{}/{}/{}", self.state, self.owner, self.name)
    }

    /// The running process of this mark, if there is one. Its children share the mark but are other
    /// programs.
    pub(crate) fn running(&self, program: &Path) -> Option<u32> {
        let wanted = format!("{VARIABLE}={}", self.value());
        marked(|mark| mark == wanted).find(|pid| runs(*pid, program))
    }
}

/// Starts `program` detached from terminal and caller, with its output in `log`, unless it already
/// runs. Returns its process id and whether it was started just now.
pub(crate) fn ensure(
    mark: &Mark,
    netns: Option<&str>,
    program: &Path,
    arguments: &[String],
    log: &Path,
) -> Result<(u32, bool)> {
    if let Some(pid) = mark.running(program) {
        return Ok((pid, false));
    }
    let out = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command: Command = tool("setsid");
    if let Some(netns) = netns {
        command.args(["nsenter", &format!("--net=/run/netns/{netns}"), "--"]);
    }
    let child = command
        .arg(program)
        .args(arguments)
        .env(VARIABLE, mark.value())
        .current_dir("/")
        .stdout(out.try_clone()?)
        .stderr(out)
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    Ok((child.id(), true))
}

/// Fails, with the end of its log, when a process has ended.
pub(crate) fn check_alive(pid: u32, name: &str, log: &Path) -> Result<()> {
    if !alive(pid) {
        bail!("{name} ended; {}", log_tail(log));
    }
    Ok(())
}

/// All processes marked as belonging to a state folder, our own excepted.
pub(crate) fn of_state(state: &str) -> BTreeSet<u32> {
    let prefix = format!("{VARIABLE}={state}/");
    marked(|mark| mark.starts_with(&prefix)).collect()
}

/// All processes marked as belonging to one owner (a cluster's name or `edge`) of a state folder.
pub(crate) fn of_owner(state: &str, owner: &str) -> BTreeSet<u32> {
    let prefix = format!("{VARIABLE}={state}/{owner}/");
    marked(|mark| mark.starts_with(&prefix)).collect()
}

/// All processes in a network namespace, given by its file.
pub(crate) fn in_netns(file: &Path) -> BTreeSet<u32> {
    use std::os::unix::fs::MetadataExt;
    let Ok(wanted) = fs::metadata(file).map(|meta| (meta.dev(), meta.ino())) else { return BTreeSet::new() };
    let inside = |pid: &u32| {
        fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|meta| (meta.dev(), meta.ino()) == wanted)
    };
    pids().filter(inside).collect()
}

/// All processes whose cgroup path has a component with this prefix.
pub(crate) fn in_cgroup(prefix: &str) -> BTreeSet<u32> {
    let needle = format!("/{prefix}");
    let inside = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(&needle))
    };
    pids().filter(inside).collect()
}

/// Ends everything that `find` finds: SIGTERM first, SIGKILL after `grace`, and again until nothing
/// is found, because a process may fork while it is being ended.
pub(crate) fn end(grace: Duration, find: impl Fn() -> BTreeSet<u32>) -> Result<()> {
    let started = Instant::now();
    let mut asked = BTreeSet::new();
    let mut seen = BTreeSet::new();
    loop {
        let left: BTreeSet<u32> = find().into_iter().filter(|pid| alive(*pid)).collect();
        if left.is_empty() {
            wait_until_reaped(&seen);
            return Ok(());
        }
        seen.extend(&left);
        let waited = started.elapsed();
        if waited > grace + KILL_WITHIN {
            bail!("cannot end processes {left:?}");
        }
        for pid in left {
            if waited >= grace {
                signal(pid, libc::SIGKILL);
            } else if asked.insert(pid) {
                signal(pid, libc::SIGTERM);
            }
        }
        sleep(POLL_EVERY);
    }
}

/// An ended process stays in the process table until its parent has looked at it; init does so soon.
/// Our own children stay until we end.
fn wait_until_reaped(pids: &BTreeSet<u32>) {
    let started = Instant::now();
    let me = std::process::id();
    while started.elapsed() < REAPED_WITHIN
        && pids.iter().any(|pid| parent(*pid).is_some_and(|parent| parent != me))
    {
        sleep(POLL_EVERY);
    }
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Whether a process exists and has not ended (a zombie has).
pub(crate) fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !matches!(rest.trim_start().chars().next(), Some('Z' | 'X') | None))
}

/// Kills what is left of a process group.
pub(crate) fn end_group(leader: u32) {
    let Ok(group) = libc::pid_t::try_from(leader) else { return };
    // SAFETY: kill(2) takes two integers and touches no memory. An empty group is no error here.
    unsafe { libc::kill(-group, libc::SIGKILL) };
}

fn signal(pid: u32, signal: libc::c_int) {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return };
    // SAFETY: kill(2) takes two integers and touches no memory. A process that has just ended is
    // no error here.
    unsafe { libc::kill(pid, signal) };
}

fn marked(wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = u32> {
    pids().filter(move |pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| std::str::from_utf8(entry).is_ok_and(&wanted))
    })
}

fn runs(pid: u32, program: &Path) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
    alive(pid) && PathBuf::from(String::from_utf8_lossy(first).as_ref()).file_name() == program.file_name()
}

fn pids() -> impl Iterator<Item = u32> {
    let me = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(move |pid| *pid != me)
}

const VARIABLE: &str = "HAWSER_UP";
const KILL_WITHIN: Duration = Duration::from_secs(20);
const REAPED_WITHIN: Duration = Duration::from_secs(3);
const POLL_EVERY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_its_mark_and_ended() {
        let state = format!("test-{}", std::process::id());
        let log = std::env::temp_dir().join(format!("{state}.log"));
        let mark = Mark { state: state.clone(), owner: "demo".into(), name: "sleeper" };
        let sleeper = Path::new("/bin/sleep");
        let (pid, fresh) = ensure(&mark, None, sleeper, &["600".into()], &log).unwrap();
        assert!(fresh);
        let started = Instant::now();
        while mark.running(sleeper).is_none() && started.elapsed() < Duration::from_secs(10) {
            sleep(POLL_EVERY);
        }
        assert_eq!(ensure(&mark, None, sleeper, &["600".into()], &log).unwrap(), (pid, false));
        assert!(of_state(&state).contains(&pid));
        assert!(!of_state("test").contains(&pid), "a state whose name is a prefix is another state");
        end(Duration::ZERO, || of_state(&state)).unwrap();
        assert!(mark.running(sleeper).is_none() && !alive(pid));
        fs::remove_file(log).unwrap();
    }
}
