//! The cluster's own containerd: every file of its below the cluster's folder.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::network::{BRIDGE, POD_NETWORK};
use super::{Cluster, image, text};
use crate::command::{output, run, succeeds, tool, which};
use crate::interrupt::wait_until;
use crate::process::{self, Mark};

/// Starts containerd unless it runs; says whether it was started just now.
pub(super) fn start(cluster: &Cluster) -> Result<bool> {
    let dir = &cluster.dir;
    fs::create_dir_all(dir.join("cni"))?;
    fs::write(dir.join("cni/10-pods.conflist"), format!("{:#}\n", pod_network(cluster)))?;
    fs::write(dir.join("containerd.toml"), config(cluster)?)?;
    let mark = Mark { state: cluster.state.clone(), owner: cluster.name.clone(), name: "containerd" };
    let program = which("containerd").unwrap_or_else(|| "containerd".into());
    let flags = ["--config".to_owned(), text(&dir.join("containerd.toml"))];
    let log = cluster.log("containerd");
    let (pid, fresh) = process::ensure(&mark, Some(&cluster.netns), &program, &flags, &log)?;
    wait_until("containerd ready", READY_WITHIN, || {
        process::check_alive(pid, "containerd", &log)?;
        Ok(succeeds(ctr(cluster).arg("version")))
    })?;
    Ok(fresh)
}

/// Loads an image archive where the kubelet finds it.
pub(crate) fn import_image(cluster: &Cluster, archive: &Path) -> Result<()> {
    let mut command = ctr(cluster);
    command.args(["--namespace", "k8s.io", "images", "import", "--snapshotter", snapshotter(cluster)?]);
    run(command.arg(archive))
}

fn ctr(cluster: &Cluster) -> Command {
    let mut command = tool("ctr");
    command.arg("--address").arg(cluster.containerd_socket());
    command
}

/// overlayfs cannot lie on overlayfs (inside a container).
fn snapshotter(cluster: &Cluster) -> Result<&'static str> {
    let kind = output(tool("stat").args(["--file-system", "--format=%T"]).arg(&cluster.dir))?;
    Ok(if kind.trim().starts_with("overlay") { "native" } else { "overlayfs" })
}

/// The network of the pods. Its name begins the names of files that CNI keeps outside our folder.
fn pod_network(cluster: &Cluster) -> serde_json::Value {
    json!({
        "cniVersion": "1.0.0",
        "name": cluster.netns,
        "plugins": [{
            "type": "bridge", "bridge": BRIDGE, "isGateway": true, "ipMasq": false, "hairpinMode": true,
            "ipam": {
                "type": "host-local", "dataDir": text(&cluster.dir.join("cni-addresses")),
                "ranges": [[{"subnet": POD_NETWORK}]], "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
}

/// Without CAP_SYS_RESOURCE runc cannot lower a score, and the sandbox dies while it starts: hence
/// `restrict_oom_score_adj`.
fn config(cluster: &Cluster) -> Result<String> {
    let dir = text(&cluster.dir);
    let pause = image::PAUSE_IMAGE;
    let snapshotter = snapshotter(cluster)?;
    Ok(format!(
        r#"version = 2
root = "{dir}/containerd"
state = "{dir}/containerd-run"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "{dir}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{dir}/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{dir}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{dir}/runc"
"#
    ))
}

const READY_WITHIN: Duration = Duration::from_secs(30);
