//! The edge's folder, shared by `hawser up` and the commands beside it.

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use hawser_identity::Authorities;
use hawser_kube::clock::{Clock, SystemClock};
use hawser_store::{Options, Store};
use serde::{Deserialize, Serialize};

/// What the running edge leaves for the commands: where it is.
#[derive(Serialize, Deserialize, Clone)]
pub(crate) struct Settings {
    /// Process id of the edge.
    pub(crate) pid: u32,
    /// Port of clients and agents.
    pub(crate) port: u16,
    /// As given by `--advertise`.
    pub(crate) advertise: Option<String>,
    /// Metrics and health.
    pub(crate) health: SocketAddr,
}

/// The folder.
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// The folder of an edge that has run before.
    pub(crate) fn existing(path: &Path) -> anyhow::Result<Self> {
        if !path.join(STORE_FILE).exists() {
            anyhow::bail!(
                "{} is not the folder of an edge; start one with `hawser up`, or name its folder with --data-dir",
                path.display()
            );
        }
        Ok(Self(path.to_owned()))
    }

    /// The folder, made where it is not there.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        make_private(path).context("the data folder can be chosen with --data-dir")?;
        Ok(Self(path.to_owned()))
    }

    pub(crate) fn store(&self) -> anyhow::Result<Store> {
        let path = self.0.join(STORE_FILE);
        Store::open(&path, Options::default()).with_context(|| format!("cannot open {}", path.display()))
    }

    pub(crate) fn authorities(&self) -> anyhow::Result<Arc<Authorities>> {
        let path = self.0.join("keys");
        let authorities = Authorities::load_or_create(&path, SystemClock.wall())
            .with_context(|| format!("cannot load the keys in {}", path.display()))?;
        Ok(Arc::new(authorities))
    }

    /// The keys as they are in the folder by now. None is made: a file that is not there is a fault.
    pub(crate) fn authorities_again(&self) -> anyhow::Result<Arc<Authorities>> {
        for path in self.key_files() {
            anyhow::ensure!(path.exists(), "{} is not there", path.display());
        }
        self.authorities()
    }

    /// What [`DataDir::authorities`] reads.
    pub(crate) fn key_files(&self) -> Vec<PathBuf> {
        KEY_FILES.iter().map(|name| self.0.join("keys").join(name)).collect()
    }

    /// Path of the audit log; its folder is made.
    pub(crate) fn audit_log(&self) -> anyhow::Result<PathBuf> {
        let folder = self.0.join("audit");
        make_private(&folder)?;
        Ok(folder.join("audit.log"))
    }

    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let path = self.0.join(SETTINGS_FILE);
        let text = std::fs::read(&path)
            .with_context(|| format!("{}: has `hawser up` run with this folder?", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    pub(crate) fn write_settings(&self, settings: &Settings) -> anyhow::Result<()> {
        let path = self.0.join(SETTINGS_FILE);
        write_private(&path, &serde_json::to_string_pretty(settings)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Settings {
    /// The advertised name, if it is one (not an address).
    pub(crate) fn domain(&self) -> Option<&str> {
        self.advertise.as_deref().filter(|text| text.parse::<IpAddr>().is_err())
    }

    /// The advertised address, if it is one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.advertise.as_deref()?.parse().ok()
    }

    /// Where agents dial: the advertised name or address, or what this machine would send from.
    pub(crate) fn agent_address(&self) -> String {
        match (&self.advertise, self.address()) {
            (_, Some(address)) => SocketAddr::new(address, self.port).to_string(),
            (Some(name), None) => format!("{name}:{}", self.port),
            (None, None) => SocketAddr::new(outgoing_address(), self.port).to_string(),
        }
    }
}

/// Makes a folder that only its owner may enter.
fn make_private(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
}

/// The source address of this machine's default route; nothing is sent.
fn outgoing_address() -> IpAddr {
    std::net::UdpSocket::bind("0.0.0.0:0")
        .and_then(|socket| {
            socket.connect("192.0.2.1:9")?;
            Ok(socket.local_addr()?.ip())
        })
        .unwrap_or_else(|_no_network| IpAddr::from([127, 0, 0, 1]))
}

/// Readable by its owner only, and there whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidFilename)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.new", uuid::Uuid::new_v4().simple()));
    let new: PathBuf = path.with_file_name(hidden);
    let written = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).and_then(
        |mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&new, path)
        },
    );
    if written.is_err() {
        // It may not even have been made.
        drop(std::fs::remove_file(&new));
    }
    written
}

const STORE_FILE: &str = "store.db";
const SETTINGS_FILE: &str = "edge.json";
const KEY_FILES: [&str; 3] = ["serving-ca.pem", "clients-ca.pem", "agents-ca.pem"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_that_is_gone_is_not_made_anew_by_a_reload() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::create(folder.path()).unwrap();
        data.authorities().unwrap();
        for path in data.key_files() {
            let text = std::fs::read(&path).unwrap();
            data.authorities_again().unwrap();
            std::fs::remove_file(&path).unwrap();
            let error = data.authorities_again().err().unwrap().to_string();
            assert!(error.contains(path.to_str().unwrap()) && !path.exists(), "{error}");
            // Without the mode 0600 that the file had.
            std::fs::write(&path, text).unwrap();
            assert!(data.authorities_again().is_err(), "readable by others");
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}
