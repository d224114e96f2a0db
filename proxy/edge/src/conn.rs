//! One client connection: who stands behind it and how it may be ended. `!Send`: it lives and dies on its worker.

use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use hawser_identity::{AuthError, ClientIdentity};
use hawser_transport::Scope;
use tokio::sync::Notify;

use crate::{Config, hosts::Host, worker::Worker};

/// What every exchange on the connection shares.
pub(crate) struct Conn {
    pub(crate) worker: Rc<Worker>,
    /// In force when the connection was accepted.
    pub(crate) config: Arc<Config>,
    pub(crate) host: Arc<Host>,
    pub(crate) peer: SocketAddr,
    /// The verified client certificate, or why the one presented is worth nothing; `None` = none presented.
    pub(crate) certificate: Option<Result<ClientIdentity, AuthError>>,
    pub(crate) scope: Scope,
    /// Told once, when the first request has proved who it is from.
    pub(crate) admitted: Notify,
    /// Asks the driver to take no further request.
    pub(crate) quit: Notify,
    /// Told when the last exchange has ended.
    pub(crate) quiet: Notify,
    pub(crate) exchanges: Cell<usize>,
    authenticated: Cell<bool>,
}

impl Conn {
    pub(crate) fn new(
        worker: Rc<Worker>,
        config: Arc<Config>,
        host: Arc<Host>,
        peer: SocketAddr,
        certificate: Option<Result<ClientIdentity, AuthError>>,
        scope: Scope,
    ) -> Self {
        Self {
            worker,
            config,
            host,
            peer,
            certificate,
            scope,
            admitted: Notify::new(),
            quit: Notify::new(),
            quiet: Notify::new(),
            exchanges: Cell::new(0),
            authenticated: Cell::new(false),
        }
    }

    /// A request on this connection proved its identity: the limits for strangers no longer apply.
    pub(crate) fn admit(&self) {
        if !self.authenticated.replace(true) {
            self.admitted.notify_one();
        }
    }

    /// Nobody could be recognised: this connection takes no further request.
    pub(crate) fn turn_away(&self) {
        if !self.authenticated.get() {
            self.quit.notify_one();
        }
    }

    pub(crate) fn authenticated(&self) -> bool {
        self.authenticated.get()
    }

    pub(crate) fn draining(&self) -> bool {
        self.worker.drain.is_cancelled() || self.scope.is_cancelled()
    }

    /// How long it may stay without a request.
    pub(crate) fn idle_timeout(&self) -> Duration {
        let limits = &self.config.limits;
        if self.authenticated.get() { limits.idle_timeout } else { limits.unauthenticated_timeout }
    }

    /// Counts one live exchange until the guard is dropped.
    pub(crate) fn count(self: &Rc<Self>) -> Live {
        self.exchanges.set(self.exchanges.get() + 1);
        Live(Rc::clone(self))
    }
}

/// One live exchange of a connection.
pub(crate) struct Live(Rc<Conn>);

impl Drop for Live {
    fn drop(&mut self) {
        let left = self.0.exchanges.get() - 1;
        self.0.exchanges.set(left);
        if left == 0 {
            self.0.quiet.notify_one();
        }
    }
}
