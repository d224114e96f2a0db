//! Kernel settings of the whole machine that a kubelet changes when it starts. They are noted before
//! the first cluster starts and put back when the last one is gone, whatever state folder it was of.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::progress::note;
use crate::state::lock;

/// Notes the settings unless another cluster has done so.
pub(super) fn remember() -> Result<()> {
    let _one_notes = lock("host")?;
    if Path::new(RECORD).exists() {
        return Ok(());
    }
    let read = |name: &&'static str| Some((*name, fs::read_to_string(Path::new(SYSCTL).join(name)).ok()?));
    let settings: BTreeMap<&str, String> = SETTINGS.iter().filter_map(read).collect();
    Ok(fs::write(RECORD, serde_json::to_vec(&settings)?)?)
}

/// Puts the settings back when no cluster of any state folder is left.
pub(crate) fn restore_if_last() -> Result<()> {
    let _one_restores = lock("host")?;
    let of_a_cluster = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with("hawser-");
    if fs::read_dir("/run/netns").into_iter().flatten().flatten().any(of_a_cluster) {
        return Ok(());
    }
    let Ok(text) = fs::read(RECORD) else { return Ok(()) };
    let settings: BTreeMap<String, String> = serde_json::from_slice(&text)?;
    for (name, value) in settings.iter().filter(|(name, _)| SETTINGS.contains(&name.as_str())) {
        if let Err(error) = fs::write(Path::new(SYSCTL).join(name), value) {
            note(format!("cannot put back {name}: {error}"));
        }
    }
    Ok(fs::remove_file(RECORD)?)
}

const SYSCTL: &str = "/proc/sys";
/// Gone after a reboot, like the changed settings.
const RECORD: &str = "/run/hawser-host-settings.json";
const SETTINGS: &[&str] = &[
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];
