//! `hawser up`: an edge with its embedded store. Data and keys first, then the tables, then the workers; at SIGTERM the
//! other way round.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use hawser_audit::{Audit, OnFull};
use hawser_edge::{Config, Enrolment, Hosts, Limits, Refusals, Shared, Sources};
use hawser_identity::{SubjectName, tls};
use hawser_kube::{
    clock::{Clock, SystemClock},
    close::CloseReason,
};
use hawser_policy::{PolicyHandle, compile};
use hawser_store::Store;
use hawser_transport::{Scope, Workers, WorkersConfig};
use hawser_tunnel::{
    CidKey, HandoverConfig, HandoverHub, Registry as Links,
    wire::{ALPN_ENROLL, ALPN_LINK},
};
use prometheus_client::registry::Registry;
use rustls::sign::SingleCertAndKey;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    cli::{OnAuditFull, Up},
    data::{DataDir, Settings},
    health, logging, report,
    tables::Tables,
};

/// Runs until SIGTERM or Ctrl-C, then drains.
pub(crate) fn run(options: Up) -> anyhow::Result<()> {
    logging::start(options.log)?;
    hawser_transport::run(edge(options))?
}

async fn edge(options: Up) -> anyhow::Result<()> {
    alone_on(options.listen)?;
    let data = DataDir::create(&options.data.data_dir)?;
    let store = data.store()?;
    let settings = Settings {
        pid: std::process::id(),
        port: options.listen.port(),
        advertise: options.advertise.clone(),
        health: options.health,
    };
    let health_listener = health::listen(options.health).await?;
    let mut registry = Registry::default();
    let (changes, policy_changes) = watch::channel(0);
    let shared = Arc::new(shared(&options, &data, &settings, store.clone(), &mut registry, policy_changes)?);
    let mut tables = Tables::new(
        store.clone(),
        Arc::clone(&shared.policy),
        changes,
        shared.hosts.clone(),
        Arc::clone(&shared.authorities),
        Arc::clone(&shared.clock),
        settings.clone(),
    );
    let from = tables.load().await?;
    let drain = shared.drain.clone();
    let scope = Scope::root();
    let workers = start_workers(&options, &shared, &scope)?;
    data.write_settings(&settings)?;
    let (told, drained) = (drain.clone(), drain.clone());
    let answers = health::Answers {
        registry,
        ready: Box::new(move || !told.is_cancelled()),
        status: Some(report::source(store, Arc::clone(&shared), options.listen)),
    };
    let health = tokio::task::spawn_local(health::serve(health_listener, Arc::new(answers)));
    let tables = tokio::task::spawn_local(tables.follow(from));
    tracing::info!(listen = %options.listen, health = %options.health, data = %options.data.data_dir.display(), "edge up");
    tokio::select! {
        () = terminated() => {}
        ended = tables => match ended {
            Ok(Err(error)) => tracing::error!(%error, "the policy tables can no longer be kept current"),
            Ok(Ok(())) | Err(_) => tracing::error!("the keeper of the policy tables ended"),
        },
        _reason = drained.cancelled() => {}
    }
    tracing::info!(timeout = ?options.drain_timeout, "draining");
    drain.cancel(CloseReason::Drain);
    tokio::task::spawn_blocking(move || workers.join()).await.context("waiting for the workers")??;
    health.abort();
    shared.audit.close();
    tracing::info!("edge down");
    Ok(())
}

/// The workers share the address by `SO_REUSEPORT`, with which another edge would silently take half of the connections.
fn alone_on(listen: SocketAddr) -> anyhow::Result<()> {
    let taken = || format!("cannot listen on {listen} (choose with --listen)");
    drop(hawser_transport::listen_tcp(listen, false).with_context(taken)?);
    drop(hawser_transport::bind_udp(listen, false).with_context(taken)?);
    Ok(())
}

fn start_workers(options: &Up, shared: &Arc<Shared>, scope: &Scope) -> anyhow::Result<Workers> {
    let count = worker_count(options);
    let config = WorkersConfig { count, pin: true, name: "edge".to_owned() };
    let (for_worker, stop) = (Arc::clone(shared), shared.drain.clone());
    let workers = Workers::start(scope, &config, move |worker| {
        let (shared, stop) = (Arc::clone(&for_worker), stop.clone());
        async move {
            let id = worker.id;
            if let Err(error) = hawser_edge::run(worker, shared).await {
                tracing::error!(worker = id, %error, "cannot serve");
                stop.cancel(CloseReason::Shutdown);
            }
        }
    })?;
    Ok(workers)
}

fn worker_count(options: &Up) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    options.workers.unwrap_or_else(cores).max(1)
}

fn shared(
    options: &Up,
    data: &DataDir,
    settings: &Settings,
    store: Store,
    registry: &mut Registry,
    policy_changes: watch::Receiver<u64>,
) -> anyhow::Result<Shared> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let authorities = data.authorities()?;
    let link_name = [SubjectName::Dns(hawser_agent::LINK_NAME.to_owned())];
    let link_key = authorities.serving.issue_serving(&link_name, LINK_CERTIFICATE, clock.wall())?;
    let link_tls = tls::link_server(
        Arc::new(SingleCertAndKey::from(link_key)),
        authorities.agents.bundle(),
        &[ALPN_LINK, ALPN_ENROLL],
        Arc::clone(&clock),
    )?;
    let limits = Limits { drain_timeout: options.drain_timeout, ..Limits::default() };
    limits.check()?;
    let config = Config {
        listen: options.listen,
        edge_id: edge_id(),
        advertise: vec![settings.agent_address()],
        agent_certificate: AGENT_CERTIFICATE,
        audit_request_received: options.audit_request_received,
        limits,
    };
    Ok(Shared {
        hosts: Hosts::default(),
        policy: Arc::new(PolicyHandle::new(compile(&[], 0))),
        policy_changes,
        links: Links::new(),
        audit: audit(options, data)?,
        metrics: Arc::new(hawser_edge::Metrics::new(registry)),
        enrolment: Enrolment {
            store,
            authorities: Arc::clone(&authorities),
            clock: Arc::clone(&clock),
            certificate: AGENT_CERTIFICATE,
            refusals: Refusals::default(),
        },
        link_tls: Arc::new(link_tls),
        handover: HandoverHub::new(HandoverConfig {
            workers: u16::try_from(worker_count(options)).context("--workers")?,
            generation: 0,
            process: 0,
            key: CidKey::random()
                .map_err(|_no_randomness| anyhow::anyhow!("this machine gives no randomness"))?,
            ring_datagrams_max: HANDOVER_RING,
        }),
        drain: Scope::root(),
        sources: Sources::default(),
        config: Arc::new(config),
        clock,
        authorities,
    })
}

fn audit(options: &Up, data: &DataDir) -> anyhow::Result<Audit> {
    let path = data.audit_log()?;
    let config = hawser_audit::Config {
        on_full: match options.on_audit_full {
            OnAuditFull::Refuse => OnFull::Refuse,
            OnAuditFull::Count => OnFull::Count,
        },
        path: path.clone(),
        rotate_bytes: AUDIT_FILE_BYTES,
        rotate_keep: AUDIT_FILES_KEPT,
        queue_max: AUDIT_QUEUE,
    };
    Audit::start(config).with_context(|| format!("cannot write the audit log {}", path.display()))
}

/// This machine's name, as audit events carry it.
fn edge_id() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "edge".to_owned() } else { name.trim().to_owned() }
}

/// SIGTERM or Ctrl-C.
pub(crate) async fn terminated() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received; only SIGKILL ends this process");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// Datagrams that wait for the worker they belong to.
const HANDOVER_RING: usize = 4096;
/// Of the certificate agents see; it is issued anew at every start.
const LINK_CERTIFICATE: Duration = Duration::from_secs(366 * 86_400);
/// Size of an audit log file.
const AUDIT_FILE_BYTES: u64 = 100 << 20;
/// Older audit log files that are kept.
const AUDIT_FILES_KEPT: u32 = 10;
/// Audit events that wait for the disk.
const AUDIT_QUEUE: usize = 16_384;
/// Of an agent's certificate.
const AGENT_CERTIFICATE: Duration = Duration::from_secs(3600);
