//! Does a binary need a dynamic linker?

/// Whether an ELF file (64 bit, little endian: all we build for) names an interpreter. Anything else does not.
pub(super) fn is_dynamic(binary: &[u8]) -> bool {
    names_interpreter(binary).unwrap_or(false)
}

fn names_interpreter(binary: &[u8]) -> Option<bool> {
    if !binary.starts_with(MAGIC) {
        return None;
    }
    let first = usize::try_from(u64::from_le_bytes(field(binary, PROGRAM_HEADERS_AT)?)).ok()?;
    let size = usize::from(u16::from_le_bytes(field(binary, PROGRAM_HEADER_SIZE_AT)?));
    let count = usize::from(u16::from_le_bytes(field(binary, PROGRAM_HEADER_COUNT_AT)?));
    for number in 0..count {
        let at = first.checked_add(number * size)?;
        if u32::from_le_bytes(field(binary, at)?) == INTERPRETER {
            return Some(true);
        }
    }
    Some(false)
}

fn field<const N: usize>(binary: &[u8], at: usize) -> Option<[u8; N]> {
    binary.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// 64 bit, little endian.
const MAGIC: &[u8] = b"\x7fELF\x02\x01";
const PROGRAM_HEADERS_AT: usize = 32;
const PROGRAM_HEADER_SIZE_AT: usize = 54;
const PROGRAM_HEADER_COUNT_AT: usize = 56;
/// PT_INTERP.
const INTERPRETER: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of a header and two program headers of the types given.
    fn elf(types: [u32; 2]) -> Vec<u8> {
        let mut file = vec![0; 64 + 2 * 56];
        file[..MAGIC.len()].copy_from_slice(MAGIC);
        file[PROGRAM_HEADERS_AT] = 64;
        file[PROGRAM_HEADER_SIZE_AT] = 56;
        file[PROGRAM_HEADER_COUNT_AT] = 2;
        file[64..68].copy_from_slice(&types[0].to_le_bytes());
        file[120..124].copy_from_slice(&types[1].to_le_bytes());
        file
    }

    #[test]
    fn an_interpreter_is_found() {
        assert!(is_dynamic(&elf([1, INTERPRETER])));
        assert!(!is_dynamic(&elf([1, 2])));
        assert!(!is_dynamic(b"#!/bin/sh"));
    }

    #[test]
    fn damaged_files_are_no_binaries() {
        let whole = elf([1, INTERPRETER]);
        for length in 0..124 {
            assert!(!is_dynamic(&whole[..length]), "{length}");
        }
        let mut far = whole;
        far[PROGRAM_HEADERS_AT..PROGRAM_HEADERS_AT + 8].fill(0xff);
        assert!(!is_dynamic(&far));
    }
}
