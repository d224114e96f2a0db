//! `cargo xtask down`: removes everything that `up` made, from what is found on the machine, so that
//! it works as well after a crash half-way and after the state folder itself was deleted.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cluster::{existing, remove_cgroups, restore_if_last};
use crate::command::{output, run, succeeds, tool};
use crate::packages::is_root;
use crate::process;
use crate::progress::step;
use crate::state::{State, lock};

/// Ends the processes of a state folder, then removes mounts, namespaces, links, cgroups and files.
///
/// # Errors
/// Names whatever is still there.
pub(crate) fn down(state: &State) -> Result<()> {
    if !is_root() {
        bail!("`cargo xtask down` needs root, like `up`");
    }
    let _changing = state.lock()?;
    step(format!("remove {}", state.dir.display()), || {
        process::end(GRACE, || edge_processes(state))?;
        process::end(Duration::ZERO, || all_processes(state))?;
        unmount_below(&state.dir)?;
        remove_networks(state)?;
        restore_if_last()?;
        remove_files_elsewhere(state);
        if state.exists() {
            fs::remove_dir_all(&state.dir)
                .with_context(|| format!("cannot remove {}", state.dir.display()))?;
        }
        let started = Instant::now();
        loop {
            // A cgroup counts as busy for a moment after its last process has ended.
            let busy = remove_cgroups(&state.prefix());
            match busy.first() {
                None => return Ok(()),
                Some(cgroup) if started.elapsed() > CGROUPS_WITHIN => {
                    bail!("cannot remove cgroup {}", cgroup.display())
                }
                Some(_) => sleep(Duration::from_millis(50)),
            }
        }
    })
}

/// The edge, and nothing else: it gets time to close its store in order.
fn edge_processes(state: &State) -> BTreeSet<u32> {
    process::of_owner(&state.id, crate::hawser::OWNER)
}

/// By mark, by namespace and by cgroup: a container's processes have no mark, and a container that
/// is being made is in no cgroup yet.
fn all_processes(state: &State) -> BTreeSet<u32> {
    let mut found = process::of_state(&state.id);
    found.extend(process::in_cgroup(&state.prefix()));
    for netns in networks(state) {
        found.extend(process::in_netns(&netns));
    }
    found
}

fn networks(state: &State) -> Vec<PathBuf> {
    let ours = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&state.prefix()))
    };
    entries(Path::new(NETNS_DIR)).into_iter().filter(ours).collect()
}

fn remove_networks(state: &State) -> Result<()> {
    // The link first: removed with its namespace it would vanish only some time later.
    let links = output(tool("ip").args(["-br", "link", "show", "type", "veth"]))?;
    for link in links.split_whitespace().filter(|word| word.starts_with(&state.link_prefix())) {
        run(tool("ip").args(["link", "del", link.split('@').next().unwrap_or(link)]))?;
    }
    for netns in networks(state) {
        if !succeeds(tool("ip").args(["netns", "del"]).arg(netns.file_name().unwrap_or_default())) {
            // A file without a mounted namespace: `ip netns add` was killed in between.
            fs::remove_file(&netns).with_context(|| format!("cannot remove {}", netns.display()))?;
        }
    }
    // `ip netns add` mounts the folder of namespaces on itself; the last one to leave undoes it.
    let _nobody_adds = lock("network")?;
    if fs::read_dir(NETNS_DIR).is_ok_and(|mut entries| entries.next().is_none()) {
        succeeds(tool("umount").arg(NETNS_DIR));
    }
    Ok(())
}

/// Unmounts everything below a folder, the deepest first.
fn unmount_below(dir: &Path) -> Result<()> {
    for _ in 0..MOUNT_ROUNDS {
        let mounts = mounts_below(dir);
        if mounts.is_empty() {
            return Ok(());
        }
        for mount in mounts.iter().rev() {
            if !succeeds(tool("umount").arg(mount)) {
                run(tool("umount").arg("--lazy").arg(mount))?;
            }
        }
    }
    bail!("still mounted below {}: {:?}", dir.display(), mounts_below(dir))
}

fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(unescape).filter(|point| point.starts_with(dir) && point != dir).collect()
}

/// The kernel writes blanks and backslashes in mount points as `\040` and `\134`.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(String::from_utf8_lossy(&bytes).as_ref())
}

/// Some files lie in fixed places, whatever a component's configuration says: sockets of containerd's
/// shims, CNI's notes about pods, the kubelet's links to pod logs.
fn remove_files_elsewhere(state: &State) {
    for cluster in existing(state) {
        let tasks = cluster.dir.join("containerd-run/io.containerd.runtime.v2.task/k8s.io");
        for task in entries(&tasks) {
            let address = fs::read_to_string(task.join("address")).unwrap_or_default();
            if let Some(socket) = address.trim().strip_prefix("unix://") {
                remove_if_there(Path::new(socket));
            }
            let container = task.file_name().unwrap_or_default().to_string_lossy().into_owned();
            remove_if_there(&Path::new(CNI_NOTES).join(format!("cni-loopback-{container}-lo")));
        }
    }
    for note in entries(Path::new(CNI_NOTES)) {
        if note.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&state.prefix())) {
            remove_if_there(&note);
        }
    }
    for link in entries(Path::new("/var/log/containers")) {
        if fs::read_link(&link).is_ok_and(|target| target.starts_with(&state.dir)) {
            remove_if_there(&link);
        }
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn remove_if_there(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        crate::progress::note(format!("cannot remove {}: {error}", path.display()));
    }
}

const NETNS_DIR: &str = "/run/netns";
const CNI_NOTES: &str = "/var/lib/cni/results";
const GRACE: Duration = Duration::from_secs(5);
const CGROUPS_WITHIN: Duration = Duration::from_secs(10);
/// Mounts can be stacked on one point; each round takes the top one away.
const MOUNT_ROUNDS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_back() {
        assert_eq!(unescape(r"/a\040b\134c"), PathBuf::from(r"/a b\c"));
        assert_eq!(unescape(r"/a\9"), PathBuf::from(r"/a\9"));
    }
}
