//! The compressed header block of SYN_STREAM and SYN_REPLY: one zlib stream per direction for the whole connection.
//!
//! A receiver that reads lazily takes what one block leaves over for the next one. So a block must be consumed
//! exactly, both as it is on the wire and inflated, and end in a sync flush.

use std::collections::BTreeMap;

use flate2::{Decompress, FlushDecompress, Status};

use super::Violation;

/// Bytes of one compressed header block; a real one has at most 61.
pub const HEADER_BLOCK_BYTES_MAX: usize = 16 * 1024;
/// Bytes of one inflated header block; a real one has at most 63.
pub const HEADER_BLOCK_INFLATED_BYTES_MAX: usize = 64 * 1024;
/// Headers in one block; a real one has at most 3.
pub const HEADERS_MAX: usize = 32;
/// Bytes of one header name or value.
pub const HEADER_TEXT_BYTES_MAX: usize = 4096;

/// The preset dictionary of SPDY/3 (SPDY protocol draft 3, section 2.6.10.1).
const DICTIONARY: &[u8; 1423] = include_bytes!("dictionary.bin");
const DICTIONARY_ADLER: u32 = 0xe3c6_a7c2;
/// What a deflate sync flush ends in.
const SYNC_FLUSH: [u8; 4] = [0, 0, 0xff, 0xff];
/// The bit of the second byte of a zlib stream that says a preset dictionary is used.
const FDICT: u8 = 0x20;
const INFLATE_STEP_BYTES: usize = 512;

/// The header state of one direction.
#[derive(Debug, Default)]
pub(crate) enum HeaderBlocks {
    /// No block yet.
    #[default]
    Unused,
    /// In the middle of the zlib stream.
    Open(Decompress),
    /// No block can come any more; the window is given back.
    Finished,
}

/// The headers of one block.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(BTreeMap<String, String>);

impl Headers {
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl HeaderBlocks {
    pub(crate) fn read(&mut self, block: &[u8]) -> Result<Headers, Violation> {
        if block.is_empty() || block.len() > HEADER_BLOCK_BYTES_MAX {
            return Err(Violation("header block empty or too long"));
        }
        parse(&self.inflate(block)?)
    }

    /// No further block is expected.
    pub(crate) fn finish(&mut self) {
        *self = Self::Finished;
    }

    fn inflate(&mut self, block: &[u8]) -> Result<Vec<u8>, Violation> {
        match self {
            Self::Unused => {
                if block.get(1).is_none_or(|flags| flags & FDICT == 0) {
                    return Err(Violation("header compression without the preset dictionary"));
                }
                let mut zlib = Decompress::new(true);
                let consumed = set_dictionary(&mut zlib, block)?;
                let inflated = inflate_exactly(&mut zlib, &block[consumed..])?;
                *self = Self::Open(zlib);
                Ok(inflated)
            }
            Self::Open(zlib) => inflate_exactly(zlib, block),
            Self::Finished => Err(Violation("header block after every stream is open")),
        }
    }
}

/// Feeds the start of the zlib stream until it asks for the dictionary; returns how many bytes that took.
fn set_dictionary(zlib: &mut Decompress, block: &[u8]) -> Result<usize, Violation> {
    let asked = zlib.decompress(block, &mut [0; 1], FlushDecompress::Sync);
    if asked.err().and_then(|error| error.needs_dictionary()) != Some(DICTIONARY_ADLER) {
        return Err(Violation("header compression with another dictionary"));
    }
    if zlib.set_dictionary(DICTIONARY).is_err() {
        return Err(Violation("header compression state"));
    }
    let consumed = usize::try_from(zlib.total_in()).unwrap_or(usize::MAX);
    if consumed > block.len() {
        return Err(Violation("header compression state"));
    }
    Ok(consumed)
}

/// Inflates `block` to its last byte, with a bound on what comes out.
fn inflate_exactly(zlib: &mut Decompress, block: &[u8]) -> Result<Vec<u8>, Violation> {
    if !block.ends_with(&SYNC_FLUSH) {
        return Err(Violation("header block without a sync flush"));
    }
    let mut out = Vec::new();
    let mut left = block;
    loop {
        out.reserve_exact(INFLATE_STEP_BYTES);
        let before = zlib.total_in();
        let status = zlib.decompress_vec(left, &mut out, FlushDecompress::Sync);
        match status {
            Ok(Status::Ok | Status::BufError) => {}
            Ok(Status::StreamEnd) => return Err(Violation("header compression ends")),
            Err(_) => return Err(Violation("header block does not inflate")),
        }
        let consumed = usize::try_from(zlib.total_in() - before).unwrap_or(usize::MAX);
        left = left.get(consumed..).ok_or(Violation("header compression state"))?;
        if out.len() > HEADER_BLOCK_INFLATED_BYTES_MAX {
            return Err(Violation("header block inflates to too much"));
        }
        if out.len() < out.capacity() {
            break; // room was left: the inflater has nothing more to say
        }
    }
    if left.is_empty() { Ok(out) } else { Err(Violation("header block not consumed")) }
}

fn parse(mut block: &[u8]) -> Result<Headers, Violation> {
    let count = take_number(&mut block)?;
    if count > HEADERS_MAX {
        return Err(Violation("too many headers"));
    }
    let mut headers = BTreeMap::new();
    for _ in 0..count {
        let name = take_text(&mut block, is_name_byte)?;
        let value = take_text(&mut block, |byte| matches!(byte, b' '..=b'~'))?;
        if name.is_empty() {
            return Err(Violation("header name empty"));
        }
        if headers.insert(name, value).is_some() {
            return Err(Violation("header name twice"));
        }
    }
    if block.is_empty() { Ok(Headers(headers)) } else { Err(Violation("bytes left over after the headers")) }
}

const fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')
}

fn take_number(block: &mut &[u8]) -> Result<usize, Violation> {
    let (number, rest) = block.split_first_chunk().ok_or(Violation("header block too short"))?;
    *block = rest;
    usize::try_from(u32::from_be_bytes(*number)).or(Err(Violation("header length")))
}

fn take_text(block: &mut &[u8], allowed: impl Fn(u8) -> bool) -> Result<String, Violation> {
    let length = take_number(block)?;
    if length > HEADER_TEXT_BYTES_MAX {
        return Err(Violation("header text too long"));
    }
    let (text, rest) = block.split_at_checked(length).ok_or(Violation("header block too short"))?;
    *block = rest;
    if !text.iter().all(|byte| allowed(*byte)) {
        return Err(Violation("header text has a byte that is not allowed"));
    }
    Ok(text.iter().map(|byte| char::from(*byte)).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    /// The writing side, as spdystream has it.
    pub(crate) struct Writer(Compress);

    impl Writer {
        pub(crate) fn new() -> Self {
            let mut zlib = Compress::new(Compression::best(), true);
            zlib.set_dictionary(DICTIONARY).unwrap();
            Self(zlib)
        }

        pub(crate) fn block(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
            self.compress(&plain(headers))
        }

        pub(crate) fn compress(&mut self, plain: &[u8]) -> Vec<u8> {
            let mut out = Vec::with_capacity(plain.len() + 1024);
            self.0.compress_vec(plain, &mut out, FlushCompress::Sync).unwrap();
            out
        }
    }

    pub(crate) fn plain(headers: &[(&str, &str)]) -> Vec<u8> {
        let mut out = u32::try_from(headers.len()).unwrap().to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            out.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            out.extend(text.as_bytes());
        }
        out
    }

    fn check(plain: &[u8], expected: Result<usize, &'static str>) {
        let read = HeaderBlocks::default().read(&Writer::new().compress(plain));
        assert_eq!(read.map(|headers| headers.0.len()).map_err(|violation| violation.0), expected);
    }

    #[test]
    fn blocks_share_one_zlib_stream() {
        let (mut writer, mut blocks) = (Writer::new(), HeaderBlocks::default());
        for turn in 0..100 {
            let id = turn.to_string();
            let block = writer.block(&[("streamtype", "data"), ("requestid", &id)]);
            assert_eq!(blocks.read(&block).unwrap().value("requestid"), Some(id.as_str()));
        }
        assert!(blocks.read(&writer.block(&[])).unwrap().is_empty());
        blocks.finish();
        let late = blocks.read(&writer.block(&[]));
        assert_eq!(late, Err(Violation("header block after every stream is open")));
    }

    #[test]
    fn header_rules() {
        check(&plain(&[("a", "b"), ("c-1", "")]), Ok(2));
        check(&plain(&[("a", "b"), ("a", "c")]), Err("header name twice"));
        check(&plain(&[("", "b")]), Err("header name empty"));
        check(&plain(&[("A", "b")]), Err("header text has a byte that is not allowed"));
        check(&plain(&[("a b", "b")]), Err("header text has a byte that is not allowed"));
        check(&plain(&[("a", "stdin\0resize")]), Err("header text has a byte that is not allowed"));
        check(&plain(&[("a", "é")]), Err("header text has a byte that is not allowed"));
        check(&[plain(&[("a", "b")]), vec![0]].concat(), Err("bytes left over after the headers"));
        check(&plain(&[("a", "b")])[..11], Err("header block too short"));
        check(&[0, 0, 0], Err("header block too short"));
        check(&u32::MAX.to_be_bytes(), Err("too many headers"));
    }

    #[test]
    fn bounds_at_their_edge() {
        let names: Vec<_> = (0..=HEADERS_MAX).map(|number| number.to_string()).collect();
        let all: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
        check(&plain(&all[..HEADERS_MAX]), Ok(HEADERS_MAX));
        check(&plain(&all), Err("too many headers"));

        let long = "v".repeat(HEADER_TEXT_BYTES_MAX + 1);
        check(&plain(&[("a", &long[1..])]), Ok(1));
        check(&plain(&[("a", &long)]), Err("header text too long"));

        let most = HEADER_BLOCK_INFLATED_BYTES_MAX;
        check(&vec![0; most], Err("bytes left over after the headers"));
        check(&vec![0; most + 1], Err("header block inflates to too much"));
    }

    #[test]
    fn an_inflate_bomb_is_stopped() {
        let bomb = Writer::new().compress(&vec![b'a'; 8 << 20]);
        assert!(bomb.len() < HEADER_BLOCK_BYTES_MAX, "{}", bomb.len());
        let read = HeaderBlocks::default().read(&bomb);
        assert_eq!(read, Err(Violation("header block inflates to too much")));
    }

    #[test]
    fn compression_rules() {
        let good = Writer::new().block(&[("a", "b")]);
        let read = |block: &[u8]| HeaderBlocks::default().read(block).map_err(|violation| violation.0);
        assert!(read(&good).is_ok());
        assert_eq!(read(&[]), Err("header block empty or too long"));
        assert_eq!(read(&[good.clone(), vec![0]].concat()), Err("header block without a sync flush"));
        assert_eq!(read(&good[..1]), Err("header compression without the preset dictionary"));
        let two = [good.as_slice(), &[0, 0, 0, 0xff, 0xff]].concat();
        assert!(read(&two).is_ok(), "an empty stored block adds nothing");

        let mut bare = Vec::with_capacity(1024);
        let mut zlib = Compress::new(Compression::best(), true);
        zlib.compress_vec(&plain(&[("a", "b")]), &mut bare, FlushCompress::Sync).unwrap();
        assert_eq!(read(&bare), Err("header compression without the preset dictionary"));

        let mut other = Vec::with_capacity(1024);
        let mut zlib = Compress::new(Compression::best(), true);
        zlib.set_dictionary(b"another dictionary").unwrap();
        zlib.compress_vec(&plain(&[("a", "b")]), &mut other, FlushCompress::Sync).unwrap();
        assert_eq!(read(&other), Err("header compression with another dictionary"));

        let mut ended = Vec::with_capacity(1024);
        let mut zlib = Compress::new(Compression::best(), true);
        zlib.set_dictionary(DICTIONARY).unwrap();
        zlib.compress_vec(&plain(&[("a", "b")]), &mut ended, FlushCompress::Finish).unwrap();
        ended.extend(SYNC_FLUSH);
        assert_eq!(read(&ended), Err("header compression ends"));

        let broken = [&good[..6], &[7, 0xff, 0xff, 0, 0, 0xff, 0xff]].concat();
        assert_eq!(read(&broken), Err("header block does not inflate"));
    }
}
