//! Where the CPU time of a chain goes: `perf`, if it is there or can be installed, one text file per proxy beside the
//! results.

use std::fs;
use std::process::Stdio;

use anyhow::Result;

use super::chains::Chain;
use super::load::Load;
use super::results::folder;
use crate::command::{output, run, tool, which};
use crate::packages::is_root;
use crate::progress::note;

/// Profiles every proxy of the chain, one after the other, under the busy load.
///
/// # Errors
/// The load fails. A machine without `perf` gets a note only.
pub(crate) fn profile(load: &Load<'_>, chain: &Chain, connections: u32, streams: u32) -> Result<()> {
    if !available() {
        note("no profile: `perf` is not here (Debian package linux-perf)");
        return Ok(());
    }
    for proxy in &chain.proxies {
        let data = std::env::temp_dir().join(format!("hawser-bench-{}.perf", std::process::id()));
        let mut recording = tool("perf")
            .args(["record", "--quiet", "--freq", FREQUENCY, "--pid", &proxy.pid.to_string(), "--output"])
            .arg(&data)
            .args(["--", "sleep", &SECONDS.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let loaded = load.small(chain, connections, streams, SECONDS + 1.0);
        let recorded = recording.wait()?;
        loaded?;
        if !recorded.success() {
            note(format!("no profile: `perf record` ended with {recorded}"));
            return Ok(());
        }
        let report = |sort: &str| {
            output(
                tool("perf")
                    .args([
                        "report",
                        "--stdio",
                        "--no-children",
                        "--percent-limit",
                        "0.4",
                        "--sort",
                        sort,
                        "--input",
                    ])
                    .arg(&data),
            )
        };
        let file = folder().join(format!("path-profile-{}.txt", proxy.name));
        fs::write(&file, format!("{}\n{}", report("comm,dso")?, report("dso,symbol")?))?;
        fs::remove_file(&data)?;
        note(format!("profile of {}: {}", proxy.name, file.display()));
    }
    Ok(())
}

fn available() -> bool {
    if which("perf").is_some() {
        return true;
    }
    let install = ["install", "-y", "-qq", "--no-install-recommends", "linux-perf"];
    is_root() && run(tool("apt-get").args(install).env("DEBIAN_FRONTEND", "noninteractive")).is_ok()
}

/// Samples a second; a prime, so that nothing periodic hides between them.
const FREQUENCY: &str = "997";
const SECONDS: f64 = 3.0;
