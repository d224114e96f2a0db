//! As much of the tar format (POSIX ustar) as an image needs: folders and files of root, without times.

use std::io::{Error, ErrorKind};

/// Everything in an archive is a multiple of this.
pub(super) const BLOCK: usize = 512;
/// What an archive ends with.
pub(super) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The header of a folder; its path ends with `/`.
pub(super) fn folder(path: &str) -> Result<[u8; BLOCK], Error> {
    header(path, 0, 0o755, b'5')
}

/// The header of a file of `size` bytes.
pub(super) fn file(path: &str, size: usize, mode: u32) -> Result<[u8; BLOCK], Error> {
    header(path, size, mode, b'0')
}

/// What follows `size` bytes up to the next block.
pub(super) fn padding(size: usize) -> &'static [u8] {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    &ZEROS[..(BLOCK - size % BLOCK) % BLOCK]
}

fn header(path: &str, size: usize, mode: u32, kind: u8) -> Result<[u8; BLOCK], Error> {
    let mut header = [0; BLOCK];
    if path.len() > PATH_BYTES_MAX || size > SIZE_MAX {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("{path}: too long or too large for an archive"),
        ));
    }
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, path.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    for owner in [108, 116] {
        put(owner, b"0000000");
    }
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"00000000000");
    // The sum is taken with its own field blank.
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    Ok(header)
}

/// Bytes of the path field.
const PATH_BYTES_MAX: usize = 100;
/// What eleven octal digits can say: 8 GiB, less one byte.
const SIZE_MAX: usize = 0o77_777_777_777;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_fills_the_block() {
        for (size, wanted) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)] {
            assert_eq!(padding(size).len(), wanted);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(file(&"x".repeat(PATH_BYTES_MAX), SIZE_MAX, 0o644).is_ok());
        assert!(file(&"x".repeat(PATH_BYTES_MAX + 1), 0, 0o644).is_err());
        assert!(file("x", SIZE_MAX + 1, 0o644).is_err());
    }
}
