//! Where exchanges get their connection from. What the API server (or the load balancer before it) chooses in the TLS
//! handshake decides the protocol, anew for each connection: HTTP/2, which exchanges share, or HTTP/1.1, where each takes
//! one for itself.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use super::{
    ApiServer, ConnectError, Lease,
    http1::{self, Kept},
    http2,
};

/// The connections to one API server.
#[derive(Default)]
pub(crate) struct Pool {
    /// HTTP/2, most recently dialled last.
    shared: RefCell<Vec<Rc<http2::Connection>>>,
    /// HTTP/1.1.
    kept: Rc<Kept>,
    dialling: tokio::sync::Mutex<()>,
    /// What was chosen last.
    http1: Cell<bool>,
}

/// Which connections will do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Any.
    Any,
    /// No HTTP/1.1 connection that has idled: the server may just have closed it.
    NoKept,
}

impl Pool {
    /// A place for one more exchange, on a connection that is there or on a new one.
    pub(crate) async fn lease(&self, server: &Rc<ApiServer>, reuse: Reuse) -> Result<Lease, ConnectError> {
        loop {
            let lease = match self.connection(server, reuse).await? {
                Lease::Http2(lease) => lease,
                lease @ Lease::Http1(_) => return Ok(lease),
            };
            match lease.ready().await {
                Ok(()) => return Ok(Lease::Http2(lease)),
                Err(error) => {
                    tracing::debug!(%error, "connection to the API server takes no more streams");
                    lease.retire();
                }
            }
        }
    }

    async fn connection(&self, server: &Rc<ApiServer>, reuse: Reuse) -> Result<Lease, ConnectError> {
        if let Some(lease) = self.there(reuse) {
            return Ok(lease);
        }
        // Those who wait for a new HTTP/2 connection share it with the one who dials.
        let dialling = self.dialling.lock().await;
        if let Some(lease) = self.there(reuse) {
            return Ok(lease);
        }
        if self.http1.get() {
            drop(dialling);
            return self.dial(server).await;
        }
        let lease = self.dial(server).await;
        drop(dialling);
        lease
    }

    fn there(&self, reuse: Reuse) -> Option<Lease> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|connection| !connection.is_gone());
        if let Some(connection) = shared.iter().find(|connection| connection.is_vacant()) {
            return Some(Lease::Http2(http2::Lease::new(Rc::clone(connection))));
        }
        match reuse {
            Reuse::Any => http1::Connection::idle(&self.kept).map(Lease::Http1),
            Reuse::NoKept => None,
        }
    }

    async fn dial(&self, server: &Rc<ApiServer>) -> Result<Lease, ConnectError> {
        let place = self.kept.place();
        if self.http1.get() && place.is_none() {
            return Err(ConnectError::Full);
        }
        let io = server.dial(&[b"h2", b"http/1.1"]).await?;
        let http1 = io.get_ref().1.alpn_protocol() != Some(b"h2");
        if self.http1.replace(http1) != http1 {
            tracing::info!(http1, "protocol of the API server");
        }
        if http1 {
            let place = place.ok_or(ConnectError::Full)?;
            return Ok(Lease::Http1(http1::Connection::new(Box::new(io), place, Rc::clone(&self.kept))));
        }
        let begun = http2::Connection::begin(io).await;
        let connection = begun.map_err(|error| ConnectError::Http2(server.authority(), error))?;
        self.shared.borrow_mut().push(Rc::clone(&connection));
        Ok(Lease::Http2(http2::Lease::new(connection)))
    }
}
