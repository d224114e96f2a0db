//! Programs that some end-to-end tests need beside those of `up`: `cargo xtask program NAME` prints
//! the path of one, built or downloaded on first use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::command::{run, succeeds, tool};
use crate::state::{cache, lock};
use crate::{golang, progress};

/// Which program.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Program {
    /// Helm 4
    Helm4,
    /// The kubectl of Debian's own package kubernetes-client: 1.20 in Debian 12
    DebianKubectl,
    /// An aggregated API server with metrics of nodes and pods
    MetricsApi,
}

impl Program {
    /// Where it is; makes it on first use.
    pub(crate) fn path(self) -> Result<PathBuf> {
        match self {
            Self::Helm4 => golang::helm(4),
            Self::DebianKubectl => debian_kubectl(),
            Self::MetricsApi => golang::metrics_api(),
        }
    }
}

/// Makes all of them, so that no test's time includes a build.
pub(crate) fn prepare() -> Result<()> {
    for program in Program::value_variants() {
        program.path()?;
    }
    Ok(())
}

/// From the package's archive, unpacked in the cache: installing the package would take the place of
/// a kubectl that the machine's owner uses.
fn debian_kubectl() -> Result<PathBuf> {
    let folder = cache()?.join("debian-kubectl");
    let program = folder.join("usr/bin/kubectl");
    let _one_at_a_time = lock("debian-kubectl")?;
    if program.is_file() {
        return Ok(program);
    }
    progress::step("kubectl of Debian's package kubernetes-client", || {
        let work = folder.with_extension("unfinished");
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        fs::create_dir_all(&work)?;
        // The package lists may be missing or out of date.
        if !succeeds(&mut download(&work)) {
            run(tool("apt-get").args(["update", "-qq"]))?;
            run(&mut download(&work))?;
        }
        let archive = fs::read_dir(&work)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .context("`apt-get download` left no package")?;
        run(tool("dpkg-deb").arg("--extract").arg(&archive).arg(&work))?;
        fs::remove_file(archive)?;
        run(tool(work.join("usr/bin/kubectl")).args(["version", "--client"]))?;
        Ok(fs::rename(work, &folder)?)
    })?;
    Ok(program)
}

fn download(into: &Path) -> Command {
    let mut command = tool("apt-get");
    command.current_dir(into).args(["download", "-qq", "kubernetes-client"]);
    command
}
