//! The cluster's own root in every cgroup hierarchy. Two kubelets under one root would take each
//! other's pods for orphans.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Makes a cgroup of this name at the top of each hierarchy.
pub(super) fn ensure(name: &str) -> Result<()> {
    for hierarchy in hierarchies() {
        if hierarchy.unified && !hierarchy.controllers().is_empty() {
            // A child has only the controllers that its parent hands down.
            let wanted: Vec<String> = hierarchy.controllers().iter().map(|name| format!("+{name}")).collect();
            fs::write(hierarchy.path.join("cgroup.subtree_control"), wanted.join(" "))
                .with_context(|| format!("cannot enable controllers in {}", hierarchy.path.display()))?;
        }
        let dir = hierarchy.path.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create cgroup {}", dir.display()))?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            // Version 1 starts a cpuset empty, and nothing can run in an empty one.
            if !hierarchy.unified && dir.join(file).exists() {
                fs::write(dir.join(file), fs::read(hierarchy.path.join(file))?)?;
            }
        }
    }
    Ok(())
}

/// Removes every top cgroup whose name begins with `prefix`, with all below it. Their processes
/// must have ended. Returns what could not be removed.
pub(crate) fn remove(prefix: &str) -> Vec<PathBuf> {
    let mut left = Vec::new();
    for hierarchy in hierarchies() {
        for name in subfolders(&hierarchy.path) {
            if name.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)) {
                remove_tree(&name, &mut left);
            }
        }
    }
    left
}

fn remove_tree(dir: &Path, left: &mut Vec<PathBuf>) {
    for child in subfolders(dir) {
        remove_tree(&child, left);
    }
    if fs::remove_dir(dir).is_err() && dir.exists() {
        left.push(dir.to_owned());
    }
}

fn subfolders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

struct Hierarchy {
    path: PathBuf,
    unified: bool,
}

impl Hierarchy {
    fn controllers(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path.join("cgroup.controllers")).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    }
}

/// Every mounted hierarchy, of version 1 and 2.
fn hierarchies() -> Vec<Hierarchy> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let (_, path, kind) = (words.next()?, words.next()?, words.next()?);
        matches!(kind, "cgroup" | "cgroup2")
            .then(|| Hierarchy { path: path.into(), unified: kind == "cgroup2" })
    };
    mounts.lines().filter_map(parse).collect()
}
