//! The file. Whole lines only, no file beyond its size but for one long line, readable by its owner only.
//!
//! It is looked at again before each batch: if somebody moved or removed it (logrotate), a new one is opened.
//! Two processes may append to the same path, as the old and the new one do during a restart.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::writer::Sink;

/// A log file by its path, open or not.
pub(crate) struct LogFile {
    path: PathBuf,
    rotate_bytes: u64,
    rotate_keep: u32,
    /// Closed after each error: what is left is then put on disk through a new handle.
    open: Option<Open>,
}

struct Open {
    file: File,
    /// Device and inode.
    id: (u64, u64),
}

const MODE: u32 = 0o600;

impl LogFile {
    pub(crate) fn new(path: PathBuf, rotate_bytes: u64, rotate_keep: u32) -> Self {
        Self { path, rotate_bytes, rotate_keep, open: None }
    }

    /// Makes sure that the file at the path is the one that is open, and answers its state.
    pub(crate) fn open(&mut self) -> io::Result<(&File, Metadata)> {
        let there = match fs::metadata(&self.path) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let (open, metadata) = match (self.open.take(), there) {
            (Some(open), Some(there)) if open.id == (there.dev(), there.ino()) => (open, there),
            _ => {
                let file = self.open_new()?;
                let metadata = file.metadata()?;
                (Open { file, id: (metadata.dev(), metadata.ino()) }, metadata)
            }
        };
        Ok((&self.open.insert(open).file, metadata))
    }

    fn open_new(&self) -> io::Result<File> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(&self.path)?;
        let metadata = file.metadata()?;
        if metadata.is_file() {
            if metadata.permissions().mode() & 0o777 != MODE {
                file.set_permissions(Permissions::from_mode(MODE))?;
            }
            if ends_inside_a_line(&file, metadata.len())? {
                file.write_all(b"\n")?;
            }
            self.sync_directory()?;
        }
        Ok(file)
    }

    /// A new or renamed file is only there after a power failure if its directory was synced.
    fn sync_directory(&self) -> io::Result<()> {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
    }

    /// Puts as many lines on disk as the file has room for, rotating first if it has none.
    fn append_some(&mut self, lines: &[u8], done: &mut usize) -> io::Result<()> {
        let rotate_bytes = self.rotate_bytes;
        let (file, metadata) = self.open()?;
        if !metadata.is_file() {
            // A terminal or a pipe: nothing to rotate, nothing to sync.
            return write_lines(file, lines, done);
        }
        let mut run = fitting(lines, rotate_bytes.saturating_sub(metadata.len()));
        if run == 0 {
            if metadata.len() > 0 {
                return self.rotate();
            }
            run = lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1);
        }
        let mut written = 0;
        let outcome = write_lines(file, &lines[..run], &mut written);
        // What a failed sync leaves behind is unknown: these lines are then written again.
        file.sync_data()?;
        *done += written;
        outcome
    }

    /// `PATH` becomes `PATH.1`, and so on up to the first free number or the last one kept, which is lost.
    /// Stopping at a free number, a rotation that failed half way and is repeated loses nothing more.
    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        let mut last = 1;
        while last < self.rotate_keep && self.older(last).try_exists()? {
            last += 1;
        }
        for number in (1..last).rev() {
            fs::rename(self.older(number), self.older(number + 1))?;
        }
        fs::rename(&self.path, self.older(1))?;
        self.sync_directory()
    }

    fn older(&self, number: u32) -> PathBuf {
        let mut path = OsString::from(&self.path);
        path.push(format!(".{number}"));
        path.into()
    }
}

impl Sink for LogFile {
    fn append(&mut self, lines: &[u8], done: &mut usize) -> io::Result<()> {
        while *done < lines.len() {
            let outcome = self.append_some(&lines[*done..], done);
            if outcome.is_err() {
                self.open = None;
                return outcome;
            }
        }
        Ok(())
    }
}

/// A crash or a full disk cut the last line: the next one must not continue it.
fn ends_inside_a_line(file: &File, bytes: u64) -> io::Result<bool> {
    let Some(last) = bytes.checked_sub(1) else { return Ok(false) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte != *b"\n")
}

/// Bytes of the whole lines that fit into `room`.
fn fitting(lines: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).map_or(lines.len(), |room| room.min(lines.len()));
    whole_lines(&lines[..room])
}

fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

/// Writes all, or adds to `done` what was written up to the last whole line.
fn write_lines(mut file: impl Write, lines: &[u8], done: &mut usize) -> io::Result<()> {
    let mut at = 0;
    let outcome = loop {
        if at == lines.len() {
            break Ok(());
        }
        match file.write(&lines[at..]) {
            Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => at += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    *done += whole_lines(&lines[..at]);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, three at a time with an interruption before each, then is full.
    struct Full {
        left: usize,
        interrupted: bool,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.interrupted = !self.interrupted;
            if self.interrupted {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if self.left == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = self.left.min(bytes.len()).min(3);
            self.left -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_whole_lines_count_when_the_disk_fills() {
        let lines = b"one\ntwo\nthree\n";
        for (room, whole, fits) in
            [(0, 0, false), (3, 0, false), (4, 4, false), (7, 4, false), (13, 8, false), (14, 14, true)]
        {
            let mut done = 0;
            let outcome = write_lines(Full { left: room, interrupted: false }, lines, &mut done);
            assert_eq!((done, outcome.is_ok()), (whole, fits), "room for {room}");
        }
    }

    #[test]
    fn lines_that_fit() {
        let lines = b"one\ntwo\n";
        for (room, fit) in [(0, 0), (3, 0), (4, 4), (7, 4), (8, 8), (u64::MAX, 8)] {
            assert_eq!(fitting(lines, room), fit, "room for {room}");
        }
    }
}
