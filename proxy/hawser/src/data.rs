//! The edge's folder, shared by `hawser up` and the commands beside it.

use std::{
    fs::{File, TryLockError},
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
        let store = path.join(STORE_FILE);
        let is_there = store.try_exists().with_context(|| {
            format!(
                "cannot look for {}; the commands are for whoever may read the edge's folder",
                store.display()
            )
        })?;
        if !is_there {
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

    /// Makes this process the folder's edge for as long as it keeps the file. The lock ends with the process, however that
    /// ends. Commands beside the edge do not ask for it.
    pub(crate) fn lock(&self) -> anyhow::Result<File> {
        let path = self.0.join(LOCK_FILE);
        let cannot_lock = || format!("cannot lock {}", path.display());
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).with_context(cannot_lock)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = std::io::read_to_string(&file).unwrap_or_default();
                let folder = self.0.display();
                anyhow::bail!(
                    "another edge (process {}) runs on {folder}: stop it, or give this one a folder of its own with --data-dir",
                    pid.trim()
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot_lock),
        }
        file.set_len(0).with_context(cannot_lock)?;
        writeln!(file, "{}", std::process::id()).with_context(cannot_lock)?;
        Ok(file)
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
            anyhow::ensure!(path.exists(), "{} is not there: put it back", path.display());
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
        serde_json::from_slice(&text).with_context(|| {
            format!("{} is damaged; start `hawser up` again, which writes it anew", path.display())
        })
    }

    pub(crate) fn write_settings(&self, settings: &Settings) -> anyhow::Result<()> {
        let path = self.0.join(SETTINGS_FILE);
        let text = serde_json::to_string_pretty(settings)?;
        PrivateFile::create(&path)
            .and_then(|file| file.write(&text))
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

/// A file that is readable by its owner only, and there whole or not at all.
pub(crate) struct PrivateFile<'a> {
    path: &'a Path,
    /// What is to take the place of `path`, beside it.
    new: PathBuf,
    file: File,
}

impl<'a> PrivateFile<'a> {
    /// Makes sure that it can be written, as far as that can be known; what is there stays as it is.
    pub(crate) fn create(path: &'a Path) -> std::io::Result<Self> {
        if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            return Err(std::io::Error::other("what is there is no regular file"));
        }
        let name = path.file_name().ok_or(std::io::ErrorKind::InvalidFilename)?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.new", uuid::Uuid::new_v4().simple()));
        let new = path.with_file_name(hidden);
        let file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        Ok(Self { path, new, file })
    }

    pub(crate) fn write(mut self, text: &str) -> std::io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        self.file.sync_all()?;
        std::fs::rename(&self.new, self.path)
    }
}

impl Drop for PrivateFile<'_> {
    fn drop(&mut self) {
        // It is not there any more once it has taken its place.
        drop(std::fs::remove_file(&self.new));
    }
}

const STORE_FILE: &str = "store.db";
const SETTINGS_FILE: &str = "edge.json";
/// Holds the process id of the edge that has it locked.
const LOCK_FILE: &str = "edge.lock";
const KEY_FILES: [&str; 3] = ["serving-ca.pem", "clients-ca.pem", "agents-ca.pem"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_edge_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::create(folder.path()).unwrap();
        let first = data.lock().unwrap();
        let error = data.lock().unwrap_err().to_string();
        let told =
            format!("another edge (process {}) runs on {}: ", std::process::id(), folder.path().display());
        assert!(error.starts_with(&told) && error.contains("--data-dir"), "{error}");
        drop(first);
        data.lock().unwrap();
    }

    #[test]
    fn what_cannot_be_read_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::create(folder.path()).unwrap();
        std::fs::write(folder.path().join(SETTINGS_FILE), "{").unwrap();
        let error = data.settings().err().unwrap().to_string();
        assert!(error.contains("is damaged; start `hawser up` again"), "{error}");
        let existing = |path: &Path| format!("{:#}", DataDir::existing(path).err().unwrap());
        assert!(existing(folder.path()).contains("name its folder with --data-dir"));
        let file = existing(&folder.path().join(SETTINGS_FILE));
        assert!(file.contains("cannot look for") && file.contains("edge.json/store.db"), "{file}");
    }

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
