//! Control plane and kube-proxy: their flags, and the waits between them.

use std::fs;
use std::time::Duration;

use anyhow::Result;

use super::network::{NODE_ADDRESS, POD_NETWORK, SERVICE_NETWORK};
use super::{Cluster, kubelet, text};
use crate::command::succeeds;
use crate::golang::Kube;
use crate::interrupt::wait_until;
use crate::process::{self, Mark};

/// Starts etcd and the API server, and waits until the API server is ready.
pub(super) fn start_control_plane(cluster: &Cluster, kube: &Kube) -> Result<()> {
    fs::write(cluster.dir.join("audit-policy.yaml"), AUDIT_POLICY)?;
    start(cluster, kube, "etcd", &etcd(cluster))?;
    let pid = start(cluster, kube, "kube-apiserver", &kube_apiserver(cluster))?;
    wait_until("kube-apiserver ready", READY_WITHIN, || {
        process::check_alive(pid, "kube-apiserver", &cluster.log("kube-apiserver"))?;
        Ok(succeeds(cluster.kubectl(kube).args(["get", "--raw", "/readyz"])))
    })
}

/// Starts what works through the API server: controllers, scheduler, Service addresses.
pub(super) fn start_controllers(cluster: &Cluster, kube: &Kube) -> Result<()> {
    start(cluster, kube, "kube-controller-manager", &kube_controller_manager(cluster))?;
    start(cluster, kube, "kube-scheduler", &kube_scheduler(cluster))?;
    start(cluster, kube, "kube-proxy", &kube_proxy(cluster))?;
    Ok(())
}

/// Starts one component of the multi-call binary inside the namespace; returns its process id.
pub(super) fn start(cluster: &Cluster, kube: &Kube, name: &'static str, flags: &[String]) -> Result<u32> {
    let mark = Mark { state: cluster.state.clone(), owner: cluster.name.clone(), name };
    let (pid, _) =
        process::ensure(&mark, Some(&cluster.netns), &kube.program(name), flags, &cluster.log(name))?;
    Ok(pid)
}

fn etcd(cluster: &Cluster) -> Vec<String> {
    vec![
        format!("--data-dir={}", text(&cluster.dir.join("etcd"))),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        format!("--listen-peer-urls={ETCD_PEER}"),
        format!("--initial-advertise-peer-urls={ETCD_PEER}"),
        format!("--initial-cluster=default={ETCD_PEER}"),
        "--unsafe-no-fsync".to_owned(), // nothing here outlives the machine
        "--log-level=warn".to_owned(),
    ]
}

fn kube_apiserver(cluster: &Cluster) -> Vec<String> {
    let pki = |file: &str| text(&cluster.dir.join("pki").join(file));
    vec![
        format!("--etcd-servers={ETCD}"),
        format!("--secure-port={API_PORT}"),
        format!("--advertise-address={NODE_ADDRESS}"),
        format!("--service-cluster-ip-range={SERVICE_NETWORK}"),
        "--allow-privileged".to_owned(),
        format!("--tls-cert-file={}", pki("kube-apiserver.crt")),
        format!("--tls-private-key-file={}", pki("kube-apiserver.key")),
        format!("--client-ca-file={}", pki("ca.crt")),
        "--authorization-mode=Node,RBAC".to_owned(),
        format!("--service-account-key-file={}", pki("sa.pub")),
        format!("--service-account-signing-key-file={}", pki("sa.key")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--kubelet-client-certificate={}", pki("kube-apiserver.crt")),
        format!("--kubelet-client-key={}", pki("kube-apiserver.key")),
        format!("--kubelet-certificate-authority={}", pki("ca.crt")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--requestheader-client-ca-file={}", pki("ca.crt")),
        "--requestheader-allowed-names=front-proxy".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        format!("--proxy-client-cert-file={}", pki("front-proxy.crt")),
        format!("--proxy-client-key-file={}", pki("front-proxy.key")),
        format!("--audit-policy-file={}", text(&cluster.dir.join("audit-policy.yaml"))),
        format!("--audit-log-path={}", text(&cluster.dir.join("log/audit.jsonl"))),
        "--audit-log-mode=blocking".to_owned(),
        // One request in a hundred ends its connection, as behind a rebalancing load balancer: nobody may notice.
        "--goaway-chance=0.01".to_owned(),
        "--audit-log-maxsize=1024".to_owned(), // MiB; a test reads one file from its beginning
    ]
}

fn kube_controller_manager(cluster: &Cluster) -> Vec<String> {
    let pki = |file: &str| text(&cluster.dir.join("pki").join(file));
    let mut flags = with_kubeconfig(cluster, "kube-controller-manager");
    flags.extend([
        format!("--service-account-private-key-file={}", pki("sa.key")),
        format!("--root-ca-file={}", pki("ca.crt")),
        "--use-service-account-credentials".to_owned(),
        format!("--cluster-signing-cert-file={}", pki("ca.crt")),
        format!("--cluster-signing-key-file={}", pki("ca.key")),
        "--allocate-node-cidrs=false".to_owned(),
        "--kube-api-qps=200".to_owned(), // the default of 20 makes the first start 5 s longer
        "--kube-api-burst=400".to_owned(),
        "--leader-elect=false".to_owned(),
    ]);
    flags
}

fn kube_scheduler(cluster: &Cluster) -> Vec<String> {
    let mut flags = with_kubeconfig(cluster, "kube-scheduler");
    flags.push("--leader-elect=false".to_owned());
    flags
}

fn kube_proxy(cluster: &Cluster) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", text(&cluster.dir.join("kube-proxy.kubeconfig"))),
        format!("--hostname-override={}", kubelet::NODE),
        "--proxy-mode=nftables".to_owned(),
        format!("--cluster-cidr={POD_NETWORK}"),
        "--conntrack-max-per-core=0".to_owned(), // a setting of the whole machine: leave it alone
    ]
}

fn with_kubeconfig(cluster: &Cluster, name: &str) -> Vec<String> {
    let file = text(&cluster.dir.join(format!("{name}.kubeconfig")));
    ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"]
        .iter()
        .map(|flag| format!("--{flag}={file}"))
        .collect()
}

/// The API server's port inside the namespace.
pub(super) const API_PORT: u16 = 6443;
const ETCD: &str = "http://127.0.0.1:2379";
const ETCD_PEER: &str = "http://127.0.0.1:2380";
const READY_WITHIN: Duration = Duration::from_secs(90);

/// Who asked for what; the cluster's own components left out.
const AUDIT_POLICY: &str = r#"apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: None
  users: ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy"]
- level: None
  userGroups: ["system:nodes", "system:serviceaccounts:kube-system"]
- level: Metadata
"#;
