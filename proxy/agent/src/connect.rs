//! Keeps links up: for every edge one for short requests and one for bulk, each dialled again as soon as it is lost. A
//! busy link asks for another beside it, which goes when it has been idle for a while.

mod certificate;

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use hawser_identity::{TrustBundle, tls};
use hawser_kube::{clock::Clock, close::CloseReason};
use hawser_transport::Scope;
use hawser_tunnel::{
    Connection, DialConfig, LinkLost, TunnelStream, dial,
    wire::{ALPN_LINK, Class, Control, DrainV1, HelloV1, StatusV1},
};
use rustls::sign::CertifiedKey;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use certificate::Certificate;

use crate::{
    Config, Metrics,
    apiserver::ApiServer,
    credentials::TokenFile,
    error::AgentError,
    facts,
    serve::{self, Budget},
};

/// What all links of an agent share.
pub(crate) struct Agent {
    pub(crate) config: Config,
    pub(crate) server: Rc<ApiServer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) kept: Rc<Budget>,
    edges: TrustBundle,
    certificate: Certificate,
    status: watch::Receiver<StatusV1>,
    /// Tells that a link is busy.
    busy: mpsc::Sender<Route>,
}

/// What links are for: an edge, and a class of exchanges.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    edge: String,
    class: Class,
}

/// Runs an agent until `scope` ends: then no new exchanges are taken, and those that run may finish.
///
/// # Errors
/// The configuration cannot work: an address that is none, a CA that cannot be read.
pub async fn run(
    config: Config,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    scope: Scope,
) -> Result<(), AgentError> {
    let ca = tls::apiserver_client(&config.apiserver_ca, &[], Arc::clone(&clock))?;
    let token = TokenFile::new(config.apiserver_token.clone());
    let server = ApiServer::new(&config.apiserver_host, config.apiserver_port, ca, token)
        .map_err(|error| AgentError::Cluster(format!("API server {}: {error}", config.apiserver_host)))?;
    let first = facts::look(&server, &*clock).await;
    let (out, status) = watch::channel(first);
    let observer = tokio::task::spawn_local(facts::observe(Rc::clone(&server), Arc::clone(&clock), out));
    let edges = TrustBundle::from_pem(&config.join.ca_pem)?;
    let addresses = config.join.edges.clone();
    let (busy, mut more) = mpsc::channel(1);
    let agent = Rc::new(Agent {
        config,
        server,
        clock,
        metrics,
        kept: Budget::new(KEPT_BYTES_MAX),
        edges,
        certificate: Certificate::default(),
        status,
        busy,
    });
    let mut links = JoinSet::new();
    for edge in addresses {
        for class in [Class::General, Class::Bulk] {
            let route = Route { edge: edge.clone(), class };
            links.spawn_local(keep(Rc::clone(&agent), route, scope.clone()));
        }
    }
    let mut spare = Vec::new();
    loop {
        tokio::select! {
            ended = links.join_next() => match ended {
                Some(Ok(route)) => {
                    if let Some(at) = spare.iter().position(|one| *one == route) {
                        spare.swap_remove(at);
                    }
                }
                Some(Err(_)) => tracing::error!("the task of a link panicked"),
                None => break,
            },
            Some(route) = more.recv() => {
                let of_route = spare.iter().filter(|one| **one == route).count();
                if of_route < SPARE_LINKS_MAX && !scope.is_cancelled() {
                    spare.push(route.clone());
                    links.spawn_local(help(Rc::clone(&agent), route, scope.clone()));
                }
            }
        }
    }
    observer.abort();
    Ok(())
}

/// Holds a link beside a busy one, once.
async fn help(agent: Rc<Agent>, route: Route, scope: Scope) -> Route {
    match hold(&agent, &route, true, &scope).await {
        Ok(lost) => {
            tracing::info!(edge = route.edge, class = ?route.class, reason = %lost, "spare link down")
        }
        Err(error) => tracing::warn!(class = ?route.class, %error, "no spare link"),
    }
    route
}

/// Holds one link to one edge, again and again.
async fn keep(agent: Rc<Agent>, route: Route, scope: Scope) -> Route {
    let Route { edge, class } = &route;
    let mut wait = RETRY_FIRST;
    let mut failures = 0_u32;
    while !scope.is_cancelled() {
        let began = agent.clock.now();
        match hold(&agent, &route, false, &scope).await {
            Ok(lost) => {
                tracing::info!(edge, ?class, reason = %lost, "link down");
                if lost == REVOKED {
                    agent.certificate.distrust();
                }
            }
            Err(error) => {
                tracing::warn!(?class, %error, "no link");
                failures += 1;
                // It may be the certificate that the edge does not take (its authority was replaced).
                if error.is_loss(&REVOKED) || failures.is_multiple_of(DISTRUST_AFTER) {
                    agent.certificate.distrust();
                }
            }
        }
        // A link that held for a while was a good one: the next is tried at once.
        let held = agent.clock.now().duration_since(began);
        wait = if held > RETRY_LONGEST { RETRY_FIRST } else { (wait * 2).min(RETRY_LONGEST) };
        tokio::select! {
            () = tokio::time::sleep(jittered(wait, held)) => {}
            _reason = scope.cancelled() => {}
        }
    }
    route
}

/// One link, from dialling to its end.
async fn hold(agent: &Rc<Agent>, route: &Route, spare: bool, scope: &Scope) -> Result<LinkLost, AgentError> {
    let Route { edge, class } = route;
    let set_up = tokio::time::timeout(SET_UP_WAIT, set_up(agent, edge, *class));
    let (connection, TunnelStream { mut send, mut recv }, mut status) = tokio::select! {
        set_up = set_up => set_up.map_err(|_elapsed| AgentError::Silent { edge: edge.to_owned() })??,
        reason = scope.cancelled() => return Ok(LinkLost::ClosedHere(reason)),
    };
    let stream = |source| AgentError::Stream { edge: edge.to_owned(), source };
    let _up = Up::enter(agent, *class);
    let mut exchanges = JoinSet::new();
    let mut drain: Option<Drain> = None;
    let mut used = tokio::time::Instant::now();
    loop {
        let idle = (spare && exchanges.is_empty()).then_some(used + SPARE_IDLE);
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Ok(stream) if drain.is_some() => stream.refuse(),
                Ok(stream) => {
                    // In a box of its own: to spawn a future moves it several times.
                    exchanges.spawn_local(Box::pin(serve::serve(Rc::clone(agent), stream)));
                    if exchanges.len() > BUSY_EXCHANGES {
                        // Full means that somebody has asked already.
                        agent.busy.try_send(route.clone()).ok();
                    }
                }
                Err(_) => return Ok(connection.closed().await),
            },
            Some(_done) = exchanges.join_next() => used = tokio::time::Instant::now(),
            control = recv.recv_control() => match control {
                Ok(Some(Control::Drain(_))) => tracing::info!(edge, "the edge drains"),
                Ok(Some(other)) => tracing::debug!(?other, "control"),
                Ok(None) | Err(_) => return Ok(connection.closed().await),
            },
            changed = status.changed() => {
                let now = status.borrow_and_update().clone();
                if changed.is_err() || send.send_control(&Control::Status(now)).await.is_err() {
                    return Ok(connection.closed().await);
                }
            },
            () = done_here(idle, scope), if drain.is_none() => {
                let now = tokio::time::Instant::now();
                drain = Some(Drain { quiet: now + DRAIN_QUIET, until: now + agent.config.drain_timeout });
                send.send_control(&Control::Drain(DrainV1 {})).await.map_err(stream)?;
            },
            () = sleep_until(drain.as_ref().map(|drain| drain.quiet)), if exchanges.is_empty() => {
                connection.close(CloseReason::Drain);
                return Ok(connection.closed().await);
            }
            () = sleep_until(drain.as_ref().map(|drain| drain.until)) => {
                connection.close(CloseReason::Drain);
                return Ok(connection.closed().await);
            }
        }
    }
}

/// Waits until the agent ends, or a spare link has been idle for long enough.
async fn done_here(idle: Option<tokio::time::Instant>, scope: &Scope) {
    tokio::select! {
        _reason = scope.cancelled() => {}
        () = sleep_until(idle) => {}
    }
}

/// When a draining link is closed.
struct Drain {
    /// With nothing running, not before this: the edge may have opened streams before it learned of the drain.
    quiet: tokio::time::Instant,
    /// Whatever runs.
    until: tokio::time::Instant,
}

async fn sleep_until(when: Option<tokio::time::Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Certificate, connection, hello and welcome.
async fn set_up(
    agent: &Rc<Agent>,
    edge: &str,
    class: Class,
) -> Result<(Connection, TunnelStream, watch::Receiver<StatusV1>), AgentError> {
    let key = agent.certificate.get(agent, edge).await?;
    let connection = connect(agent, edge, Some(key), ALPN_LINK).await?;
    let stream = |source| AgentError::Stream { edge: edge.to_owned(), source };
    let mut control =
        connection.open().await.map_err(|source| AgentError::Link { edge: edge.to_owned(), source })?;
    let mut status = agent.status.clone();
    let now = status.borrow_and_update().clone();
    let hello = HelloV1 {
        cluster: agent.config.cluster.clone(),
        replica: agent.config.replica.clone(),
        agent_version: now.agent_version,
        kubernetes_version: now.kubernetes_version,
        nodes: now.nodes,
        problems: now.problems,
        class,
        capabilities: Vec::new(),
        extensions: Vec::new(),
    };
    control.send.send_control(&Control::Hello(hello)).await.map_err(stream)?;
    match control.recv.recv_control().await.map_err(stream)? {
        Some(Control::Welcome(welcome)) => tracing::info!(edge, edge_id = welcome.edge_id, ?class, "link up"),
        other => {
            let message = format!("no welcome but {other:?}");
            return Err(AgentError::Refused { edge: edge.to_owned(), message });
        }
    }
    Ok((connection, control, status))
}

/// A QUIC connection to an edge, from a socket of its own (which spreads links over the edge's workers).
async fn connect(
    agent: &Agent,
    edge: &str,
    key: Option<Arc<CertifiedKey>>,
    alpn: &[u8],
) -> Result<Connection, AgentError> {
    let resolved = tokio::net::lookup_host(edge).await;
    let mut addresses = resolved.map_err(|source| AgentError::Resolve { edge: edge.to_owned(), source })?;
    let Some(addr) = addresses.next() else {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(AgentError::Resolve { edge: edge.to_owned(), source });
    };
    let local: SocketAddr =
        if addr.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let config = DialConfig {
        socket: hawser_transport::bind_udp(local, false)?,
        addr,
        server_name: LINK_NAME.to_owned(),
        tls: Arc::new(tls::link_client(&agent.edges, key, &[alpn], Arc::clone(&agent.clock))?),
        link: agent.config.link.clone(),
    };
    dial(config).await.map_err(|source| AgentError::Link { edge: edge.to_owned(), source })
}

/// A link in service, until dropped.
struct Up<'a> {
    agent: &'a Agent,
    general: bool,
}

impl<'a> Up<'a> {
    fn enter(agent: &'a Agent, class: Class) -> Self {
        let general = class == Class::General;
        agent.metrics.link_up(general);
        Self { agent, general }
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.agent.metrics.link_down(self.general);
    }
}

/// Up to half as long again, so that the agents of a fleet do not come back in step.
fn jittered(wait: Duration, noise: Duration) -> Duration {
    wait + wait / 200 * (noise.subsec_micros() % 100)
}

/// Name in the certificate that edges show to agents, whatever their address is.
pub const LINK_NAME: &str = "link.hawser.internal";
/// How the edge ends links whose certificate counts no more.
const REVOKED: LinkLost = LinkLost::Closed(CloseReason::Revoked);
/// First wait after a lost link.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Longest wait between two attempts.
const RETRY_LONGEST: Duration = Duration::from_secs(5);
/// How long everything before a link is in service may take.
const SET_UP_WAIT: Duration = Duration::from_secs(20);
/// A draining link without exchanges stays open so long, to refuse what is on its way.
const DRAIN_QUIET: Duration = Duration::from_secs(1);
/// After so many failed attempts in a row a new certificate is asked for.
const DISTRUST_AFTER: u32 = 5;
/// Exchanges on one link from which on another is asked for: QUIC's own limit begins at 256.
const BUSY_EXCHANGES: usize = 100;
/// Links beside the first one, of each route.
const SPARE_LINKS_MAX: usize = 3;
/// How long a spare link may stay without an exchange.
const SPARE_IDLE: Duration = Duration::from_secs(60);
/// Bodies kept for repetition, all exchanges together.
const KEPT_BYTES_MAX: usize = 64 << 20;
