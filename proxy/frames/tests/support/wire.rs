//! Writes frames as clients and servers do, and as they should not.

use flate2::{Compress, Compression, FlushCompress};

/// The writing side of one SPDY direction.
pub(crate) struct Spdy(Compress);

impl Spdy {
    pub(crate) fn new() -> Self {
        let mut zlib = Compress::new(Compression::best(), true);
        zlib.set_dictionary(include_bytes!("../../src/spdy/dictionary.bin")).unwrap();
        Self(zlib)
    }

    pub(crate) fn block(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut plain = long(headers.len()).to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.extend(long(text.len()));
            plain.extend(text.as_bytes());
        }
        let mut out = Vec::with_capacity(plain.len() + 1024);
        self.0.compress_vec(&plain, &mut out, FlushCompress::Sync).unwrap();
        out
    }

    /// SYN_STREAM with everything in its place.
    pub(crate) fn syn(&mut self, id: u32, headers: &[(&str, &str)]) -> Vec<u8> {
        self.syn_with(id, 0, [0; 6], headers)
    }

    /// SYN_STREAM with flags, and the six bytes: associated stream, priority, slot.
    pub(crate) fn syn_with(
        &mut self,
        id: u32,
        flags: u8,
        rest: [u8; 6],
        headers: &[(&str, &str)],
    ) -> Vec<u8> {
        let block = self.block(headers);
        control(1, flags, &[&id.to_be_bytes()[..], &rest, &block].concat())
    }

    /// The streams of exec one after the other, from id 1.
    pub(crate) fn exec(&mut self, types: &[&str]) -> Vec<u8> {
        let ids = (1..).step_by(2);
        ids.zip(types).flat_map(|(id, of)| self.syn(id, &[("streamtype", of)])).collect()
    }

    /// The two streams of one forwarded connection.
    pub(crate) fn forward(&mut self, id: u32, request: &str, port: &str) -> Vec<u8> {
        let headers = |of| [("streamtype", of), ("port", port), ("requestid", request)];
        [self.syn(id, &headers("error")), self.syn(id + 2, &headers("data"))].concat()
    }

    pub(crate) fn reply(&mut self, id: u32) -> Vec<u8> {
        let block = self.block(&[]);
        control(2, 0, &[&id.to_be_bytes()[..], &block].concat())
    }
}

pub(crate) fn control(kind: u16, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80, 3];
    frame.extend(kind.to_be_bytes());
    frame.push(flags);
    frame.extend(&long(body.len())[1..]);
    frame.extend(body);
    frame
}

pub(crate) fn rst(id: u32) -> Vec<u8> {
    control(3, 0, &[id.to_be_bytes(), 5_u32.to_be_bytes()].concat())
}

pub(crate) fn ping(id: u32) -> Vec<u8> {
    control(6, 0, &id.to_be_bytes())
}

pub(crate) fn goaway() -> Vec<u8> {
    control(7, 0, &[0; 8])
}

pub(crate) fn data(id: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    let mut frame = id.to_be_bytes().to_vec();
    frame.push(flags);
    frame.extend(&long(bytes.len())[1..]);
    frame.extend(bytes);
    frame
}

/// A masked frame of a client; `first` is FIN, RSV and opcode.
pub(crate) fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [7, 1, 200, 3];
    let mut frame = head(first, 0x80, payload.len());
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A frame of a server.
pub(crate) fn server(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, 0, payload.len());
    frame.extend(payload);
    frame
}

fn head(first: u8, masked: u8, length: usize) -> Vec<u8> {
    match length {
        0..=125 => vec![first, masked | u8::try_from(length).unwrap()],
        126..=0xffff => [&[first, masked | 126], &long(length)[2..]].concat(),
        _ => [&[first, masked | 127][..], &(length as u64).to_be_bytes()].concat(),
    }
}

fn long(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap().to_be_bytes()
}
