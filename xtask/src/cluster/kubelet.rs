//! The node: a kubelet whose files, pod logs and cgroups are the cluster's own.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::network::NODE_ADDRESS;
use super::{Cluster, components, text};
use crate::command::{output, succeeds};
use crate::golang::Kube;
use crate::interrupt::wait_until;
use crate::process;

/// Starts the kubelet and waits until pods can be created: the node is Ready and the default
/// ServiceAccount is there.
pub(super) fn start(cluster: &Cluster, kube: &Kube) -> Result<()> {
    let dir = &cluster.dir;
    fs::write(dir.join("kubelet.json"), format!("{:#}\n", config(cluster)))?;
    let flags = [
        format!("--config={}", text(&dir.join("kubelet.json"))),
        format!("--kubeconfig={}", text(&dir.join("kubelet.kubeconfig"))),
        format!("--hostname-override={NODE}"),
        format!("--node-ip={NODE_ADDRESS}"),
        format!("--root-dir={}", text(&dir.join("kubelet"))),
    ];
    let pid = components::start(cluster, kube, "kubelet", &flags)?;
    let ready = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
    wait_until("node ready", READY_WITHIN, || {
        process::check_alive(pid, "kubelet", &cluster.log("kubelet"))?;
        let status = output(cluster.kubectl(kube).args(["get", "node", NODE, "-o", ready]));
        Ok(status.is_ok_and(|status| status == "True"))
    })?;
    wait_until("default ServiceAccount", READY_WITHIN, || {
        Ok(succeeds(cluster.kubectl(kube).args(["get", "serviceaccount", "default", "-n", "default"])))
    })
}

fn config(cluster: &Cluster) -> serde_json::Value {
    let below = |name: &str| text(&cluster.dir.join(name));
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "x509": {"clientCAFile": below("pki/ca.crt")},
            "webhook": {"enabled": true},
            "anonymous": {"enabled": false},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", cluster.cgroup),
        "cgroupsPerQOS": true,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "failCgroupV1": false,
        "containerRuntimeEndpoint": format!("unix://{}", below("containerd.sock")),
        "podLogsDir": below("pod-logs"),
        "volumePluginDir": below("volume-plugins"),
        "tlsCertFile": below("pki/kubelet.crt"),
        "tlsPrivateKeyFile": below("pki/kubelet.key"),
        "resolvConf": "",
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%",
        },
        "protectKernelDefaults": false,
    })
}

/// The node's name.
pub(super) const NODE: &str = "node-1";
const READY_WITHIN: Duration = Duration::from_secs(120);
