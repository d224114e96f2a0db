//! The installation's keys as they are at this moment. They are replaced whole, and count for connections made from
//! then on; the trust in agents alone stays that of the start (see [`crate::Enrolment`]).

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use hawser_identity::Authorities;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// Where connections find the authorities, and where the next ones are published.
#[derive(Clone)]
pub struct Keys(Arc<ArcSwap<Authorities>>);

impl Keys {
    /// Starts with these.
    #[must_use]
    pub fn new(authorities: Arc<Authorities>) -> Self {
        Self(Arc::new(ArcSwap::new(authorities)))
    }

    /// The authorities of this moment.
    #[must_use]
    pub fn current(&self) -> Arc<Authorities> {
        self.0.load_full()
    }

    /// Puts `next` in force.
    pub fn publish(&self, next: Arc<Authorities>) {
        self.0.store(next);
    }
}

/// The certificate that agents see: a handshake shows the one of its moment.
pub struct LinkCertificate(ArcSwap<CertifiedKey>);

impl LinkCertificate {
    /// Starts with this one.
    #[must_use]
    pub fn new(certificate: Arc<CertifiedKey>) -> Arc<Self> {
        Arc::new(Self(ArcSwap::new(certificate)))
    }

    /// Shows `next` from here on.
    pub fn publish(&self, next: Arc<CertifiedKey>) {
        self.0.store(next);
    }
}

impl ResolvesServerCert for LinkCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for LinkCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkCertificate")
    }
}
