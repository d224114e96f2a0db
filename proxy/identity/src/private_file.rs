//! Files that hold private keys: mode 0600, replaced whole, on disk before the call returns.

use crate::error::IdentityError;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Largest key file that is read, in bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Makes `dir` (mode 0700 where it is missing) and holds an exclusive lock on it until the file is dropped, so
/// that two processes that start together do not each make their own keys.
pub(crate) fn lock_dir(dir: &Path) -> Result<File, IdentityError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| file_error(dir, source))?;
    let path = dir.join(".lock");
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    lock.and_then(|lock| lock.lock().map(|()| lock)).map_err(|source| file_error(&path, source))
}

/// The file's bytes; `None` when there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, IdentityError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(file_error(path, source)),
    };
    let meta = file.metadata().map_err(|source| file_error(path, source))?;
    let mode = meta.permissions().mode() & 0o777;
    // A Secret mounted with fsGroup is readable by the group; nothing else is expected.
    if mode & 0o037 != 0 {
        return Err(IdentityError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|source| file_error(path, source))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let why = format!("larger than {FILE_BYTES_MAX} bytes");
        return Err(IdentityError::BadAuthority { path: path.to_owned(), why });
    }
    Ok(Some(bytes))
}

/// Writes `bytes` as `dir/name`: a reader sees the old file or the whole new one, also after a power cut.
pub(crate) fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), IdentityError> {
    let path = dir.join(name);
    let new = dir.join(format!(".{name}.new"));
    replace(dir, &new, &path, bytes).map_err(|source| file_error(&path, source))
}

fn replace(dir: &Path, new: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // Left behind by a process that died here, perhaps with another mode.
    match std::fs::remove_file(new) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(new, path)?;
    File::open(dir)?.sync_all()
}

fn file_error(path: &Path, source: std::io::Error) -> IdentityError {
    IdentityError::File { path: path.to_owned(), source }
}
