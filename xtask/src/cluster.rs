//! A real Kubernetes cluster of one node, in a network namespace of its own behind a firewall that
//! lets nothing in.
//!
//! All components are ordinary processes of this machine, started inside the namespace; ports and
//! pod addresses are the same in every cluster, so only the link to the host differs. Whatever is
//! running already is left as it is, which makes a second start cheap and harmless.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{output, tool_in};
use crate::golang::Kube;
use crate::progress::step;
use crate::state::State;

mod cgroup;
mod components;
mod containerd;
mod host;
mod image;
mod kubelet;
mod network;
mod pki;

pub(crate) use cgroup::remove as remove_cgroups;
pub(crate) use containerd::import_image;
pub(crate) use host::restore_if_last;
pub(crate) use image::TEST_IMAGE;

/// The clusters of a state folder are numbered from 1.
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) netns: String,
    link: String,
    cgroup: String,
    state: String,
}

impl Cluster {
    /// The cluster number `number` of a state folder; nothing is started.
    pub(crate) fn new(state: &State, number: u32) -> Self {
        let name = format!("demo-{number}");
        Self {
            dir: state.dir.join(&name),
            name,
            netns: format!("{}{number}", state.prefix()),
            link: format!("{}{number}", state.link_prefix()),
            cgroup: format!("{}{number}", state.prefix()),
            state: state.id.clone(),
        }
    }

    /// Starts all that is not running and waits until pods can be created.
    pub(crate) fn start(&self, kube: &Kube) -> Result<()> {
        self.check_version(kube)?;
        step(format!("{}: network namespace behind a firewall", self.name), || {
            fs::create_dir_all(self.dir.join("log"))?;
            pki::ensure(self)?;
            host::remember()?;
            network::ensure(self)?;
            cgroup::ensure(&self.cgroup)
        })?;
        step(format!("{}: etcd, kube-apiserver {}", self.name, kube.version), || {
            components::start_control_plane(self, kube)
        })?;
        step(format!("{}: containerd and the test image", self.name), || {
            let fresh = containerd::start(self)?;
            let image = self.dir.join("test-image.tar");
            if fresh || !image.exists() {
                image::write(&image)?;
                import_image(self, &image)?;
            }
            Ok(())
        })?;
        step(format!("{}: controller-manager, scheduler, kubelet, kube-proxy", self.name), || {
            components::start_controllers(self, kube)?;
            kubelet::start(self, kube)
        })
    }

    /// kubectl as the cluster's own administrator, inside the namespace (not through Hawser).
    pub(crate) fn kubectl(&self, kube: &Kube) -> Command {
        let mut command = tool_in(&self.netns, kube.program("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig());
        command
    }

    /// Kubeconfig of the cluster's administrator; its server address is valid inside the namespace.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// The API server's address inside the namespace.
    pub(crate) fn server(&self) -> String {
        format!("https://127.0.0.1:{}", components::API_PORT)
    }

    /// The socket of the cluster's containerd.
    pub(crate) fn containerd_socket(&self) -> PathBuf {
        self.dir.join("containerd.sock")
    }

    /// The host's address on the cluster's link: what pods reach the host by.
    pub(crate) fn host_address(&self) -> Result<std::net::Ipv4Addr> {
        Ok(network::addresses(self)?.host)
    }

    /// What the API server says its version is, such as `v1.37.2`.
    pub(crate) fn version(&self, kube: &Kube) -> Result<String> {
        let answer = output(self.kubectl(kube).args(["get", "--raw", "/version"]))?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        answer["gitVersion"].as_str().map(str::to_owned).context("/version has no gitVersion")
    }

    fn log(&self, component: &str) -> PathBuf {
        self.dir.join("log").join(format!("{component}.log"))
    }

    /// A state folder keeps the version that it was made with: etcd's data is of that version.
    fn check_version(&self, kube: &Kube) -> Result<()> {
        let file = self.dir.join("version");
        match fs::read_to_string(&file) {
            Ok(found) if found != kube.version => bail!(
                "{} runs Kubernetes {found}, not {}: `cargo xtask down` first, or name another --state",
                self.name,
                kube.version
            ),
            Ok(_) => Ok(()),
            Err(_) => {
                fs::create_dir_all(&self.dir)?;
                Ok(fs::write(file, &kube.version)?)
            }
        }
    }
}

/// The clusters that a state folder has, in order.
pub(crate) fn existing(state: &State) -> Vec<Cluster> {
    (1..).map(|number| Cluster::new(state, number)).take_while(|cluster| cluster.dir.is_dir()).collect()
}

/// The version that a state folder's first cluster was made with.
pub(crate) fn version_of(state: &State) -> Option<String> {
    fs::read_to_string(Cluster::new(state, 1).dir.join("version")).ok()
}

/// `path` as text, for a component's arguments.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
