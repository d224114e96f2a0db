//! One worker of the edge: its listener, its QUIC endpoint, and what all its connections share.

use std::{cell::RefCell, io, rc::Rc, sync::Arc};

use hawser_audit::Audit;
use hawser_kube::{clock::Clock, source::Sources};
use hawser_policy::PolicyHandle;
use hawser_transport::Scope;
use hawser_tunnel::{Acceptor, AcceptorConfig, HandoverHub, LinkConfig, Registry};
use tokio::sync::watch;

use crate::{
    ConfigHandle, Enrolment, Hosts, Keys, LastSeen, Metrics, Stalled, accept, exchange, exchange::Exchanges,
    fleet,
};

/// Everything the workers of one process share. All of it is read without a lock on the request path.
pub struct Shared {
    /// How this edge runs.
    pub config: ConfigHandle,
    /// Clusters' names and certificates.
    pub hosts: Hosts,
    /// Who may do what.
    pub policy: Arc<PolicyHandle>,
    /// Tells of each new policy table.
    pub policy_changes: watch::Receiver<u64>,
    /// Live links to agents.
    pub links: Registry,
    /// When clusters that have no link had one.
    pub last_seen: LastSeen,
    /// Where events go.
    pub audit: Audit,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Keys, and trust in clients.
    pub keys: Keys,
    /// Lets agents in (knows the store).
    pub enrolment: Enrolment,
    /// TLS of agents' links, as it is at this moment.
    pub link_tls: watch::Receiver<Arc<rustls::ServerConfig>>,
    /// Passes datagrams between workers.
    pub handover: HandoverHub,
    /// Cancelled when the process begins to drain: nothing new is taken, watches end, the rest may finish.
    pub drain: Scope,
    /// Open connections per source, all workers; touched at accept and close only.
    pub sources: Sources,
    /// Exchanges whose client does not take what has come.
    pub stalled: Stalled,
}

/// The part of a worker that its connections see.
pub(crate) struct Worker {
    pub(crate) id: usize,
    pub(crate) shared: Arc<Shared>,
    /// Exchanges that run here now.
    pub(crate) live: RefCell<Exchanges>,
    /// Agents' connections here.
    pub(crate) pinned: fleet::Pinned,
    pub(crate) drain: Scope,
    /// Cancelled when the drain's time is up.
    pub(crate) scope: Scope,
}

/// Runs one worker: takes clients and agents until a drain has seen them off.
///
/// # Errors
/// The address cannot be used.
pub async fn run(this: hawser_transport::Worker, shared: Arc<Shared>) -> io::Result<()> {
    let listen = shared.config.current().listen;
    let listener = hawser_transport::listen_tcp(listen, true)?;
    let acceptor = Acceptor::bind(AcceptorConfig {
        socket: hawser_transport::bind_udp(listen, true)?,
        worker: this.id,
        tls: shared.link_tls.clone(),
        hub: shared.handover.clone(),
        link: LinkConfig::edge(),
    })?;
    let worker = Rc::new(Worker {
        id: this.id,
        // Of its own: whoever waits for it takes its lock.
        drain: shared.drain.child(),
        scope: this.scope,
        shared,
        live: RefCell::default(),
        pinned: fleet::Pinned::default(),
    });
    let links = tokio::task::spawn_local(fleet::accept(Rc::clone(&worker), acceptor));
    tokio::task::spawn_local(fleet::follow(Rc::clone(&worker)));
    tokio::task::spawn_local(exchange::judge(Rc::clone(&worker)));
    accept::accept(Rc::clone(&worker), listener).await;
    drained(&worker).await;
    worker.scope.cancel(hawser_kube::close::CloseReason::Drain);
    // Links end last: what ran on them has been told.
    if links.await.is_err() {
        tracing::error!("the task of the agents' links panicked");
    }
    Ok(())
}

/// Waits until nothing runs on any worker, because it may run on links of this one, or until the drain's time is up; then
/// tells what still runs here, and gives all that runs a moment.
async fn drained(worker: &Worker) {
    let timeout = worker.shared.config.current().drain_timeout;
    let metrics = &worker.shared.metrics;
    let quiet = async {
        while metrics.live_exchanges.get() > 0 || metrics.connections.get() > 0 {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    };
    tokio::select! {
        () = quiet => {}
        () = tokio::time::sleep(timeout) => {
            worker.live.borrow().cancel_all(&hawser_kube::close::CloseReason::Drain);
            let told = async {
                while metrics.live_exchanges.get() > 0 {
                    tokio::time::sleep(DRAIN_LOOK).await;
                }
            };
            if tokio::time::timeout(LAST_WORDS, told).await.is_err() {
                tracing::warn!(exchanges = metrics.live_exchanges.get(), "exchanges did not end with the drain");
            }
        }
        _reason = worker.scope.cancelled() => {}
    }
}

/// How often a draining worker looks whether it is done.
const DRAIN_LOOK: std::time::Duration = std::time::Duration::from_millis(20);
/// How long exchanges have to say why they end.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(6);
