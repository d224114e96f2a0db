//! The three authorities of an installation and their files.
//!
//! They are separate so that a certificate of one use is worth nothing in another: a serving key cannot sign in,
//! and an agent cannot pose as a person. Each is one file, key and certificates together, so that there is no
//! moment with one and without the other.
//!
//! To rotate one, write a file with the new key, its certificate, and behind it the old certificate: the new one
//! signs, both are trusted. The serving authority is pinned by kubeconfigs and agents, so put the new certificate
//! behind the old one first and let it spread.

use crate::authority::Authority;
use crate::error::IdentityError;
use crate::private_file;
use jiff::Timestamp;
use std::path::Path;

/// The serving, client and agent authorities.
pub struct Authorities {
    /// Signs what the edges present on HTTPS and QUIC.
    pub serving: Authority,
    /// Signs the client certificates in kubeconfigs.
    pub clients: Authority,
    /// Signs the agents' certificates.
    pub agents: Authority,
}

impl Authorities {
    /// Reads the authorities in `dir`, making the directory and whatever is missing. Two processes that do this
    /// at once get the same authorities.
    ///
    /// # Errors
    /// A file that cannot be read or written, is readable by others, or is damaged. A damaged file is never
    /// replaced.
    pub fn load_or_create(dir: &Path, now: Timestamp) -> Result<Self, IdentityError> {
        let lock = private_file::lock_dir(dir)?;
        let authorities = Self {
            serving: load_or_create(dir, "serving-ca.pem", "hawser serving CA", now)?,
            clients: load_or_create(dir, "clients-ca.pem", "hawser clients CA", now)?,
            agents: load_or_create(dir, "agents-ca.pem", "hawser agents CA", now)?,
        };
        drop(lock);
        Ok(authorities)
    }
}

fn load_or_create(
    dir: &Path,
    file: &str,
    common_name: &str,
    now: Timestamp,
) -> Result<Authority, IdentityError> {
    let path = dir.join(file);
    if let Some(pem) = private_file::read(&path)? {
        return Authority::from_pem(&pem, &path);
    }
    let (authority, pem) = Authority::create(common_name, now)?;
    private_file::write(dir, file, pem.as_bytes())?;
    Ok(authority)
}
