//! What the machine must have, and its installation where that is a Debian package.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::command::{run, tool, which};
use crate::progress;

/// Makes sure that everything needed for a cluster is there; installs Debian packages.
///
/// # Errors
/// Lists all that is missing at once, with what works without it.
pub(crate) fn ensure() -> Result<()> {
    let missing = missing_packages();
    let mut problems = Vec::new();
    if !is_root() {
        problems.push("root: network namespaces, cgroups and containerd need it".to_owned());
        if !missing.is_empty() {
            problems.push(format!(
                "Debian packages, installed by `up` when it runs as root: {}",
                missing.join(" ")
            ));
        }
    } else if !missing.is_empty() && which("apt-get").is_none() {
        problems.push(format!("apt-get; install these yourself: {}", missing.join(" ")));
    }
    if which("go").is_none() {
        problems.push("Go 1.26 or newer (https://go.dev/dl), in PATH or in /usr/local/go/bin".to_owned());
    }
    if which("cc").is_none() {
        problems.push("a C compiler (package gcc)".to_owned());
    }
    if !problems.is_empty() {
        bail!("missing for a test cluster:\n  - {}\n{WITHOUT}", problems.join("\n  - "));
    }
    if missing.is_empty() {
        return Ok(());
    }
    progress::step(format!("Debian packages: {}", missing.join(" ")), || {
        run(tool("apt-get").args(["update", "-qq"]).env("DEBIAN_FRONTEND", "noninteractive"))?;
        run(tool("apt-get")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive"))
    })?;
    let still = missing_packages();
    if !still.is_empty() {
        bail!("installed, yet something of these packages is still not found: {}", still.join(" "));
    }
    Ok(())
}

/// Whether this process may do what only root may.
pub(crate) fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    uids.split_whitespace().nth(1) == Some("0")
}

fn missing_packages() -> Vec<&'static str> {
    let missing = |needs: &&(&str, &str)| {
        let (program, _) = **needs;
        if program.starts_with('/') { !Path::new(program).exists() } else { which(program).is_none() }
    };
    let mut packages: Vec<&str> = NEEDS.iter().filter(missing).map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

/// A program or file, and the Debian package that has it.
const NEEDS: &[(&str, &str)] = &[
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("/usr/lib/cni/host-local", "containernetworking-plugins"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("conntrack", "conntrack"),
    ("busybox", "busybox"),
    ("curl", "curl"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
    ("umount", "mount"),
    ("ldd", "libc-bin"),
];

const WITHOUT: &str = "\
works without: `cargo build`, `cargo xtask test --quick`, and Hawser in front of a cluster of your own:
  hawser up --data-dir DIR --advertise NAME-OR-IP
  hawser import NAME --data-dir DIR | kubectl apply -f -";
