//! Where things lie: the state folder of one `up` (disposable, removed by `down`) and the cache of
//! built programs (kept, shared by every clone and every state folder).

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// One state folder. Everything that it owns outside itself (network namespaces, links, cgroups,
/// processes) carries `id` in its name, which follows from the path alone: `down` finds all of it
/// even when the folder is gone.
pub(crate) struct State {
    pub(crate) dir: PathBuf,
    pub(crate) id: String,
}

impl State {
    /// The state folder at `chosen`, or the default one. Nothing is created yet.
    pub(crate) fn at(chosen: Option<&Path>) -> Result<Self> {
        let dir = match chosen {
            Some(dir) => std::path::absolute(dir)?,
            None => home_folder("XDG_STATE_HOME", ".local/state")?.join("hawser/up"),
        };
        let dir = resolve(&dir);
        let length = dir.as_os_str().len();
        if length > PATH_BYTES_MAX {
            bail!(
                "--state {}: {length} bytes long; at most {PATH_BYTES_MAX}, because sockets below it must fit in 107",
                dir.display()
            );
        }
        let id = hex(&Sha256::digest(dir.as_os_str().as_encoded_bytes()))[..8].to_owned();
        Ok(Self { dir, id })
    }

    /// Creates the folder. Refuses one that holds something else, since `down` removes it whole.
    pub(crate) fn create(&self) -> Result<()> {
        let used = fs::read_dir(&self.dir).is_ok_and(|mut entries| entries.next().is_some());
        if used && !self.exists() {
            bail!("--state {}: holds other files; name an empty or a new folder", self.dir.display());
        }
        fs::create_dir_all(&self.dir).with_context(|| format!("cannot create {}", self.dir.display()))?;
        fs::write(
            self.dir.join(MARKER),
            "Created by `cargo xtask up`; `cargo xtask down` removes this folder.\n",
        )?;
        Ok(())
    }

    /// Whether the folder is there and is one of ours.
    pub(crate) fn exists(&self) -> bool {
        self.dir.join(MARKER).is_file()
    }

    /// Held while `up` or `down` changes the state; a second one waits.
    pub(crate) fn lock(&self) -> Result<File> {
        lock(&format!("state-{}", self.id))
    }

    /// Prefix of network namespaces and cgroups of this state.
    pub(crate) fn prefix(&self) -> String {
        format!("hawser-{}-", self.id)
    }

    /// Prefix of the host's ends of the clusters' links (a link's name has at most 15 bytes).
    pub(crate) fn link_prefix(&self) -> String {
        format!("hw{}-", self.id)
    }
}

/// The folder of built programs: `$HAWSER_CACHE`, else `hawser` in the user's cache folder.
pub(crate) fn cache() -> Result<PathBuf> {
    let dir = match std::env::var_os("HAWSER_CACHE") {
        Some(dir) => PathBuf::from(dir),
        None => home_folder("XDG_CACHE_HOME", ".cache")?.join("hawser"),
    };
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// Takes a lock between processes; waits, and says so, while another one holds it.
pub(crate) fn lock(name: &str) -> Result<File> {
    let path = cache()?.join(format!("{name}.lock"));
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    if file.try_lock().is_err() {
        crate::progress::note(format!("waiting for another xtask ({})", path.display()));
        file.lock()?;
    }
    Ok(file)
}

/// The clone that this program was built from.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("/"))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn home_folder(variable: &str, below_home: &str) -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os(variable).filter(|dir| !dir.is_empty()) {
        return Ok(std::path::absolute(PathBuf::from(dir))?);
    }
    let home = std::env::home_dir().filter(|home| home.is_absolute()).context("HOME is not set")?;
    Ok(home.join(below_home))
}

/// Follows symbolic links in the part of a path that exists, so that a folder has one id.
fn resolve(path: &Path) -> PathBuf {
    match (fs::canonicalize(path), path.parent(), path.file_name()) {
        (Ok(resolved), _, _) => resolved,
        (Err(_), Some(parent), Some(name)) => resolve(parent).join(name),
        (Err(_), _, _) => path.to_owned(),
    }
}

/// Longest path of a state folder. The longest socket below it, a kubelet's, adds 46 bytes, and the
/// kernel takes 107.
const PATH_BYTES_MAX: usize = 60;
const MARKER: &str = "hawser-state";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_folder_has_one_id_and_another_has_another() {
        let id = |path: &str| State::at(Some(Path::new(path))).unwrap().id;
        assert_eq!(id("/tmp/one"), id("/tmp/one/"));
        assert_ne!(id("/tmp/one"), id("/tmp/two"));
        assert_eq!(id("/proc/self/root/tmp/one"), id("/tmp/one"), "through a symbolic link");
    }

    #[test]
    fn names_fit_where_they_must() {
        let longest = format!("/{}", "x".repeat(PATH_BYTES_MAX - 1));
        let state = State::at(Some(Path::new(&longest))).unwrap();
        assert!(state.link_prefix().len() + "9999".len() <= 15);
        assert!(State::at(Some(Path::new(&format!("{longest}x")))).is_err());
    }

    #[test]
    fn a_folder_with_other_files_is_refused() {
        let dir = std::env::temp_dir().join(format!("hawser-state-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("thesis.txt"), "years of work").unwrap();
        let state = State::at(Some(&dir)).unwrap();
        assert!(state.create().is_err());
        fs::remove_file(dir.join("thesis.txt")).unwrap();
        state.create().unwrap();
        state.create().unwrap();
        fs::remove_dir_all(dir).unwrap();
    }
}
