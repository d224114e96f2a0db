//! `hawser up`: an edge with its embedded store. Data and keys first, then the tables, then the workers; at SIGTERM the
//! other way round. What changes while it runs comes through [`crate::reload`].

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use hawser_audit::{Audit, OnFull};
use hawser_edge::{Config, ConfigHandle, Enrolment, Hosts, Keys, LastSeen, Refusals, Shared, Stalled};
use hawser_identity::{Authorities, IdentityError, SubjectName, tls};
use hawser_kube::{
    clock::{Clock, SystemClock},
    close::CloseReason,
    source::Sources,
};
use hawser_policy::{PolicyHandle, compile};
use hawser_store::Store;
use hawser_transport::{Scope, Workers, WorkersConfig};
use hawser_tunnel::{
    CidKey, HandoverConfig, HandoverHub, Registry as Links,
    wire::{ALPN_ENROLL, ALPN_LINK},
};
use prometheus_client::registry::Registry;
use rustls::{ServerConfig, sign::SingleCertAndKey};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    cli::{OnAuditFull, Up},
    config::EdgeConfig,
    counters::Counters,
    data::{DataDir, Settings},
    health, logging, output,
    reload::{Reload, Watched},
    report,
    tables::Tables,
};

/// Runs until SIGTERM or Ctrl-C, then drains. With `--check` it only judges the configuration.
pub(crate) fn run(options: Up) -> anyhow::Result<()> {
    let file = Watched::new(options.config.iter().cloned().collect());
    let config = EdgeConfig::read(&options)?;
    if options.check {
        output::line("the configuration is valid");
        return Ok(());
    }
    let _log = logging::start(config.log, options.log_filter.clone())?;
    hawser_transport::run(edge(options, config, file))?
}

async fn edge(options: Up, config: EdgeConfig, file: Watched) -> anyhow::Result<()> {
    let hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be received")?;
    let terminated = terminated()?;
    let data = DataDir::create(&config.data_dir)?;
    let _alone = data.lock()?;
    alone_on(config.listen)?;
    let store = data.store()?;
    let settings = Settings {
        pid: std::process::id(),
        port: config.listen.port(),
        advertise: config.advertise.clone(),
        health: config.health,
    };
    let health_listener = health::listen(config.health).await?;
    let mut registry = Registry::default();
    let (changes, policy_changes) = watch::channel(0);
    let (shared, link) = shared(&config, &data, &settings, store.clone(), &mut registry, policy_changes)?;
    registry.register_collector(Box::new(Counters {
        audit: shared.audit.clone(),
        store: store.clone(),
        handover: shared.handover.clone(),
    }));
    let shared = Arc::new(shared);
    let mut tables = Tables::new(
        store.clone(),
        Arc::clone(&shared.policy),
        changes,
        shared.hosts.clone(),
        shared.keys.clone(),
        Arc::clone(&shared.clock),
        settings.clone(),
    );
    let from = tables.load().await?;
    let drain = shared.drain.clone();
    let scope = Scope::root();
    // Whoever can connect finds the settings there.
    data.write_settings(&settings)?;
    let workers = start_workers(&config, &shared, &scope)?;
    let (told, drained) = (drain.clone(), drain.clone());
    let answers = health::Answers {
        registry,
        ready: Box::new(move || !told.is_cancelled()),
        status: Some(report::source(store, Arc::clone(&shared), config.listen)),
    };
    let health = tokio::task::spawn_local(health::serve(health_listener, Arc::new(answers)));
    tracing::info!(listen = %config.listen, health = %config.health, data = %config.data_dir.display(), "edge up");
    let (reload, renew) = Reload::new(options, config, file, data, Arc::clone(&shared), link);
    let tables = tokio::task::spawn_local(tables.follow(from, renew));
    let reload = tokio::task::spawn_local(reload.follow(hangup));
    let outcome = tokio::select! {
        () = terminated => Ok(()),
        ended = tables => match ended {
            Ok(Err(error)) => Err(error.context("the policy tables can no longer be kept current")),
            Ok(Ok(())) | Err(_) => Err(anyhow::anyhow!("the keeper of the policy tables ended")),
        },
        _reason = drained.cancelled() => Err(anyhow::anyhow!("a worker cannot serve; the log says why")),
    };
    if let Err(error) = &outcome {
        tracing::error!(error = format!("{error:#}"), "the edge ends");
    }
    reload.abort();
    tracing::info!(timeout = ?shared.config.current().drain_timeout, "draining");
    drain.cancel(CloseReason::Drain);
    tokio::task::spawn_blocking(move || workers.join()).await.context("waiting for the workers")??;
    health.abort();
    shared.audit.close();
    tracing::info!("edge down");
    outcome
}

/// The workers share the address by `SO_REUSEPORT`, with which another edge would silently take half of the connections.
fn alone_on(listen: SocketAddr) -> anyhow::Result<()> {
    let taken = || format!("cannot listen on {listen} (choose with --listen)");
    drop(hawser_transport::listen_tcp(listen, false).with_context(taken)?);
    drop(hawser_transport::bind_udp(listen, false).with_context(taken)?);
    Ok(())
}

fn start_workers(config: &EdgeConfig, shared: &Arc<Shared>, scope: &Scope) -> anyhow::Result<Workers> {
    let workers = WorkersConfig { count: worker_count(config), pin: true, name: "edge".to_owned() };
    let (for_worker, stop) = (Arc::clone(shared), shared.drain.clone());
    let workers = Workers::start(scope, &workers, move |worker| {
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

fn worker_count(config: &EdgeConfig) -> usize {
    config.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

fn shared(
    config: &EdgeConfig,
    data: &DataDir,
    settings: &Settings,
    store: Store,
    registry: &mut Registry,
    policy_changes: watch::Receiver<u64>,
) -> anyhow::Result<(Shared, watch::Sender<Arc<ServerConfig>>)> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let authorities = data.authorities()?;
    let (link, link_tls) = watch::channel(link_tls(&authorities, &clock)?);
    let keys = Keys::new(authorities);
    let in_force = Config {
        listen: config.listen,
        edge_id: edge_id(),
        advertise: vec![settings.agent_address()],
        agent_certificate: config.agent_certificate,
        audit_request_received: config.audit.request_received,
        drain_timeout: config.drain_timeout,
        limits: config.limits.clone(),
    };
    let shared = Shared {
        hosts: Hosts::default(),
        policy: Arc::new(PolicyHandle::new(compile(&[], 0))),
        policy_changes,
        links: Links::new(),
        last_seen: LastSeen::new(&*clock),
        audit: audit(config, data)?,
        metrics: Arc::new(hawser_edge::Metrics::new(registry)),
        enrolment: Enrolment {
            store,
            keys: keys.clone(),
            clock: Arc::clone(&clock),
            refusals: Refusals::default(),
        },
        link_tls,
        handover: HandoverHub::new(HandoverConfig {
            workers: u16::try_from(worker_count(config)).context("more workers than can be told apart")?,
            generation: 0,
            process: 0,
            key: CidKey::random()
                .map_err(|_no_randomness| anyhow::anyhow!("this machine gives no randomness"))?,
            ring_datagrams_max: HANDOVER_RING,
        }),
        drain: Scope::root(),
        sources: Sources::default(),
        stalled: Stalled::default(),
        config: ConfigHandle::new(in_force),
        clock,
        keys,
    };
    Ok((shared, link))
}

/// TLS of agents' links: a new certificate for them to see, and trust in theirs.
pub(crate) fn link_tls(
    authorities: &Authorities,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>, IdentityError> {
    let name = [SubjectName::Dns(hawser_agent::LINK_NAME.to_owned())];
    let certificate = authorities.serving.issue_serving(&name, LINK_CERTIFICATE, clock.wall())?;
    let shown = Arc::new(SingleCertAndKey::from(certificate));
    let agents = authorities.agents.bundle();
    Ok(Arc::new(tls::link_server(shown, agents, &[ALPN_LINK, ALPN_ENROLL], Arc::clone(clock))?))
}

fn audit(config: &EdgeConfig, data: &DataDir) -> anyhow::Result<Audit> {
    let path = data.audit_log()?;
    let config = hawser_audit::Config {
        on_full: match config.audit.on_full {
            OnAuditFull::Refuse => OnFull::Refuse,
            OnAuditFull::Count => OnFull::Count,
        },
        path: path.clone(),
        rotate_bytes: config.audit.file_bytes,
        rotate_keep: config.audit.files_kept,
        queue_max: config.audit.queue,
    };
    Audit::start(config).with_context(|| format!("cannot write the audit log {}", path.display()))
}

/// This machine's name, as audit events carry it.
fn edge_id() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "edge".to_owned() } else { name.trim().to_owned() }
}

/// Waits for SIGTERM or Ctrl-C. From the call on they end the process only through whoever waits.
pub(crate) fn terminated() -> anyhow::Result<impl Future<Output = ()> + 'static> {
    let received = |kind, name| signal(kind).with_context(|| format!("{name} cannot be received"));
    let mut term = received(SignalKind::terminate(), "SIGTERM")?;
    let mut int = received(SignalKind::interrupt(), "SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// Datagrams that wait for the worker they belong to.
const HANDOVER_RING: usize = 4096;
/// Of the certificate agents see; it is issued anew at every start, every day, and with new keys.
const LINK_CERTIFICATE: Duration = Duration::from_secs(366 * 86_400);
