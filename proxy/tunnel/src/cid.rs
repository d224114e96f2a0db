//! Connection ids that say whose they are.
//!
//! A datagram names its connection by an id this process chose: four bytes of nonce, then generation,
//! process and worker under a mask. The mask is a keyed hash of the nonce, so that an observer can
//! tell neither how many workers there are nor which ids belong together. The hash is small 32-bit
//! arithmetic (HalfSipHash-2-4), so that a packet filter in the kernel can undo the mask too.
//!
//! Nothing secret hangs on it: who forges an id gets a datagram to a worker that cannot decrypt it.

use quinn::{ConnectionId, ConnectionIdGenerator};
use rustls::crypto::GetRandomFailed;

/// Length of every connection id chosen by an edge.
pub(crate) const CID_BYTES: usize = 8;

/// Key of the mask; one per group of processes that share a port.
#[derive(Clone, Copy)]
pub struct CidKey([u32; 2]);

/// Whose a connection id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Generation of the configuration that was in force.
    pub(crate) generation: u8,
    /// Process among those that share the port.
    pub(crate) process: u8,
    /// Worker within the process.
    pub(crate) worker: u16,
}

impl CidKey {
    /// A new key.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn random() -> Result<Self, GetRandomFailed> {
        let mut bytes = [0; 8];
        rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut bytes)?;
        Ok(Self::from_bytes(bytes))
    }

    /// The key another process was given.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self([u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])])
    }

    pub(crate) fn seal(self, nonce: [u8; 4], owner: Owner) -> [u8; CID_BYTES] {
        let worker = owner.worker.to_be_bytes();
        let plain = u32::from_be_bytes([owner.generation, owner.process, worker[0], worker[1]]);
        let masked = (plain ^ self.mask(nonce)).to_be_bytes();
        let mut cid = [0; CID_BYTES];
        cid[..4].copy_from_slice(&nonce);
        cid[4..].copy_from_slice(&masked);
        cid
    }

    /// Reads an id; one that was not made with this key names a random owner.
    pub(crate) fn open(self, cid: [u8; CID_BYTES]) -> Owner {
        let [n0, n1, n2, n3, m0, m1, m2, m3] = cid;
        let plain = u32::from_be_bytes([m0, m1, m2, m3]) ^ self.mask([n0, n1, n2, n3]);
        let [generation, process, high, low] = plain.to_be_bytes();
        Owner { generation, process, worker: u16::from_be_bytes([high, low]) }
    }

    fn mask(self, nonce: [u8; 4]) -> u32 {
        half_sip_hash(self.0, u32::from_le_bytes(nonce))
    }
}

/// Makes the connection ids of one worker.
pub(crate) struct CidGenerator {
    key: CidKey,
    owner: Owner,
    /// Turns a counter into nonces that do not look like one.
    nonce_key: CidKey,
    made: u32,
}

impl CidGenerator {
    pub(crate) const fn new(key: CidKey, owner: Owner, nonce_key: CidKey) -> Self {
        Self { key, owner, nonce_key, made: 0 }
    }
}

impl ConnectionIdGenerator for CidGenerator {
    fn generate_cid(&mut self) -> ConnectionId {
        self.made = self.made.wrapping_add(1);
        let nonce = self.nonce_key.mask(self.made.to_be_bytes()).to_be_bytes();
        ConnectionId::new(&self.key.seal(nonce, self.owner))
    }

    fn cid_len(&self) -> usize {
        CID_BYTES
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// HalfSipHash-2-4 of a message of exactly four bytes, 32 bits of output (Aumasson and Bernstein's
/// reference parameters).
fn half_sip_hash(key: [u32; 2], message: u32) -> u32 {
    let [k0, k1] = key;
    let mut v = [k0, k1, 0x6c79_6765 ^ k0, 0x7465_6462 ^ k1];
    for word in [message, LENGTH_WORD] {
        v[3] ^= word;
        round(&mut v);
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for _ in 0..4 {
        round(&mut v);
    }
    v[1] ^ v[3]
}

fn round(v: &mut [u32; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(5) ^ v[0];
    v[0] = v[0].rotate_left(16);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(8) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(7) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[2];
    v[2] = v[2].rotate_left(16);
}

/// The padding block of a four-byte message: its length in the top byte, no bytes left over.
const LENGTH_WORD: u32 = 4 << 24;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: CidKey = CidKey::from_bytes([0, 1, 2, 3, 4, 5, 6, 7]);
    const OWNER: Owner = Owner { generation: 3, process: 1, worker: 500 };

    #[test]
    fn hash_agrees_with_the_reference_vector() {
        let message = u32::from_le_bytes([0, 1, 2, 3]);
        assert_eq!(half_sip_hash(KEY.0, message).to_le_bytes(), [0x2a, 0x6e, 0x46, 0x89]);
    }

    #[test]
    fn an_id_tells_its_owner_to_who_has_the_key() {
        let cid = KEY.seal([9, 8, 7, 6], OWNER);
        assert_eq!(KEY.open(cid), OWNER);
        assert_ne!(CidKey::from_bytes([1; 8]).open(cid), OWNER);
    }

    #[test]
    fn ids_of_one_worker_have_nothing_in_common_and_do_not_repeat() {
        let mut generator = CidGenerator::new(KEY, OWNER, CidKey::from_bytes([7; 8]));
        let mut seen = std::collections::HashSet::new();
        let mut always_set = [0xff_u8; CID_BYTES];
        let mut ever_set = [0_u8; CID_BYTES];
        for _ in 0..1000 {
            let cid = generator.generate_cid();
            assert_eq!(KEY.open((&cid[..]).try_into().unwrap()), OWNER);
            assert!(seen.insert(cid));
            for (at, byte) in cid.iter().enumerate() {
                always_set[at] &= byte;
                ever_set[at] |= byte;
            }
        }
        assert_eq!((always_set, ever_set), ([0; CID_BYTES], [0xff; CID_BYTES]));
    }
}
