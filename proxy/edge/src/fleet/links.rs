//! Agents' connections: enrolment, or a link that is taken into service with its first message and carries exchanges
//! until it is lost.

use std::{rc::Rc, sync::Arc, time::Duration};

use hawser_identity::agent;
use hawser_kube::close::CloseReason;
use hawser_store::StoreError;
use hawser_tunnel::{
    Acceptor, Incoming, Link, LinkIdentity, SendHalf, StreamError,
    wire::{ALPN_ENROLL, Control, HelloV1, WelcomeV1},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::pins;
use crate::worker::Worker;

/// Takes agents' connections until the worker ends.
pub(crate) async fn accept(worker: Rc<Worker>, mut acceptor: Acceptor) {
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    loop {
        let incoming = tokio::select! {
            incoming = acceptor.accept() => incoming,
            reason = worker.scope.cancelled() => return acceptor.close(&reason).await,
        };
        let Some(incoming) = incoming else { return };
        let strangers = Arc::clone(&strangers);
        let Ok(place) = strangers.try_acquire_owned() else {
            worker.shared.metrics.refused_links.inc();
            incoming.connection.close(CloseReason::LimitReached);
            continue;
        };
        let worker = Rc::clone(&worker);
        tokio::task::spawn_local(async move {
            let remote = incoming.remote_addr;
            let outcome = if incoming.alpn == ALPN_ENROLL {
                // From its first to its last step: whoever stalls one has no place for long.
                timeout(ENROLMENT_WAIT, enrol(&worker, incoming)).await.unwrap_or(Err(Refused::Silent))
            } else {
                link(&worker, incoming, place).await
            };
            if let Err(refused) = outcome {
                worker.shared.metrics.refused_links.inc();
                tracing::warn!(%remote, %refused, "agent connection");
            }
        });
    }
}

/// Why a connection was not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Stream(#[from] StreamError),
    #[error("{0}")]
    Link(#[from] hawser_tunnel::LinkError),
    #[error("the agent's certificate: {0}")]
    Certificate(#[from] hawser_identity::AuthError),
    #[error("the agent did not do its part in time")]
    Silent,
    #[error("{0}")]
    Hello(&'static str),
    #[error("{0}")]
    Full(#[from] hawser_tunnel::ClusterFull),
    #[error("the store of the edge is not available: {0}")]
    Store(#[from] StoreError),
    #[error("the certificate was issued before the cluster's name was given to another, or taken away")]
    Replaced,
}

async fn enrol(worker: &Worker, incoming: Incoming) -> Result<(), Refused> {
    let mut stream = incoming.connection.accept().await?;
    let enroll = stream.recv.recv_enroll().await?;
    let lifetime = worker.shared.config.current().agent_certificate;
    let answer = worker.shared.enrolment.enrol(enroll, lifetime).await;
    stream.send.send_enrollment(&answer).await?;
    stream.send.finish();
    // The answer must have arrived before the connection goes.
    stream.send.stopped().await;
    Ok(())
}

async fn link(worker: &Rc<Worker>, incoming: Incoming, place: OwnedSemaphorePermit) -> Result<(), Refused> {
    let shared = &worker.shared;
    let keys = shared.keys.current();
    let identity = agent::verify(keys.agents.bundle(), &incoming.peer_chain, shared.clock.wall())?;
    let first = async {
        let mut stream = incoming.connection.accept().await?;
        let first = stream.recv.recv_control().await?;
        Ok::<_, Refused>((stream, first))
    };
    let (mut stream, first) =
        timeout(FIRST_MESSAGE_WAIT, first).await.map_err(|_elapsed| Refused::Silent)??;
    let Some(Control::Hello(hello)) = first else {
        return Err(Refused::Hello("the first message is not a hello"));
    };
    check(&hello, &identity)?;
    let _pinned = worker.pinned.enter(&identity, &incoming.connection);
    let pin = pins::pin(&shared.enrolment.store, &identity.cluster).await?;
    if pin.as_ref() != Some(&identity.pin) {
        incoming.connection.close(CloseReason::Revoked);
        return Err(Refused::Replaced);
    }
    drop((place, incoming.place));
    let config = shared.config.current();
    let welcome = WelcomeV1 {
        edge_id: config.edge_id.clone(),
        edges: config.advertise.clone(),
        extensions: Vec::new(),
    };
    stream.send.send_control(&Control::Welcome(welcome)).await?;
    let link = Link::new(
        incoming.connection,
        LinkIdentity {
            cluster: identity.cluster.as_str().into(),
            replica: identity.replica.as_str().into(),
            class: hello.class,
            worker: worker.id,
        },
    );
    let _in_service = InService::enter(worker, &link, &hello)?;
    tracing::info!(cluster = identity.cluster, replica = identity.replica, class = ?hello.class, "link up");
    let outcome = serve(worker, &link, &mut stream.send, &mut stream.recv).await;
    tracing::info!(cluster = identity.cluster, replica = identity.replica, class = ?hello.class, "link down");
    outcome
}

fn check(hello: &HelloV1, identity: &hawser_identity::AgentIdentity) -> Result<(), Refused> {
    if hello.cluster != identity.cluster || hello.replica != identity.replica {
        return Err(Refused::Hello("the hello names another cluster or replica than the certificate"));
    }
    Ok(())
}

/// Reads what the agent reports until the link ends.
async fn serve(
    worker: &Worker,
    link: &Link,
    send: &mut SendHalf,
    recv: &mut hawser_tunnel::RecvHalf,
) -> Result<(), Refused> {
    let mut told = false;
    loop {
        let control = tokio::select! {
            control = recv.recv_control() => control,
            _reason = worker.drain.cancelled(), if !told => {
                told = true;
                send.send_control(&Control::Drain(hawser_tunnel::wire::DrainV1 {})).await?;
                continue;
            }
        };
        match control {
            Ok(Some(Control::Status(status))) => worker.shared.links.report(link, status),
            Ok(Some(Control::Drain(_))) => link.drain(),
            Ok(Some(Control::Hello(_) | Control::Welcome(_))) => {
                return Err(Refused::Hello("a message that has no place on a running link"));
            }
            Ok(None) | Err(StreamError::LinkLost(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A link in routing, until dropped.
struct InService<'a> {
    worker: &'a Worker,
    link: &'a Link,
}

impl<'a> InService<'a> {
    fn enter(worker: &'a Worker, link: &'a Link, hello: &HelloV1) -> Result<Self, Refused> {
        worker
            .shared
            .links
            .add(link.clone(), hello)
            .inspect_err(|_full| link.close(CloseReason::LimitReached))?;
        worker.shared.metrics.links.inc();
        Ok(Self { worker, link })
    }
}

impl Drop for InService<'_> {
    fn drop(&mut self) {
        let shared = &self.worker.shared;
        // First, so that nobody finds the cluster gone and never seen.
        shared.last_seen.note(self.link.cluster(), &*shared.clock);
        shared.links.remove(self.link);
        shared.metrics.links.dec();
        self.link.close(CloseReason::LinkLost);
    }
}

/// Connections of a worker that have not shown yet whose they are; more are closed at once.
const STRANGERS_MAX: usize = 256;
/// How long an enrolment may take, the store's part of it too.
const ENROLMENT_WAIT: Duration = Duration::from_secs(20);
/// How long a new connection may be silent.
const FIRST_MESSAGE_WAIT: Duration = Duration::from_secs(10);
