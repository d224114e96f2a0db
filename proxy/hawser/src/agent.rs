//! `hawser agent`: what the Deployment of the import manifest runs.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Args;
use hawser_agent::{Config, Metrics};
use hawser_identity::JoinToken;
use hawser_kube::{
    clock::{Clock, SystemClock},
    close::CloseReason,
};
use hawser_transport::Scope;
use hawser_tunnel::LinkConfig;
use prometheus_client::registry::Registry;

use crate::{cli, health, logging, serve};

/// Where the agent finds what it needs; the defaults are those of the import manifest.
#[derive(Args)]
pub(crate) struct Options {
    /// Name of the cluster
    #[arg(long, env = "HAWSER_CLUSTER")]
    cluster: String,
    /// Name of this replica
    #[arg(long, env = "HAWSER_REPLICA")]
    replica: String,
    /// File with the join token
    #[arg(long, default_value = "/var/run/secrets/hawser/join/token", value_name = "FILE")]
    join_token: PathBuf,
    /// File with the projected ServiceAccount token for audience `hawser`
    #[arg(long, default_value = "/var/run/secrets/hawser/identity/token", value_name = "FILE")]
    identity_token: PathBuf,
    /// Host of the API server
    #[arg(long, env = "KUBERNETES_SERVICE_HOST")]
    apiserver_host: String,
    /// Port of the API server
    #[arg(long, env = "KUBERNETES_SERVICE_PORT", default_value = "443")]
    apiserver_port: u16,
    /// Folder with `token` and `ca.crt` for the API server
    #[arg(long, default_value = "/var/run/secrets/kubernetes.io/serviceaccount", value_name = "DIR")]
    service_account: PathBuf,
    /// What every user name must begin with; requests with others are refused
    #[arg(long, env = "HAWSER_USER_PREFIX", default_value = "hawser:", value_name = "PREFIX")]
    user_prefix: String,
    /// Address of metrics and health
    #[arg(long, default_value = "[::]:9090", value_name = "ADDR:PORT")]
    health: SocketAddr,
    /// How long running requests may go on after SIGTERM
    #[arg(long, default_value = "30s", value_parser = cli::duration, value_name = "DURATION")]
    drain_timeout: Duration,
    /// How logs look
    #[arg(long, value_enum, default_value = "text")]
    log: cli::Format,
    #[command(flatten)]
    log_filter: logging::Filter,
}

/// Runs until SIGTERM or Ctrl-C, then drains.
pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    let _log = logging::start(options.log, options.log_filter)?;
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).with_context(|| {
            format!("{} cannot be read; the manifest of `hawser import` puts it there", path.display())
        })
    };
    let join = JoinToken::decode(&read(&options.join_token)?).with_context(|| {
        let file = options.join_token.display();
        format!("the join token in {file} cannot be used: run `hawser import` again and apply what it prints")
    })?;
    let config = Config {
        cluster: options.cluster,
        replica: options.replica,
        join,
        identity_token: options.identity_token,
        apiserver_host: options.apiserver_host,
        apiserver_port: options.apiserver_port,
        apiserver_ca: read(&options.service_account.join("ca.crt"))?,
        apiserver_token: options.service_account.join("token"),
        user_prefix: options.user_prefix,
        link: LinkConfig::agent(),
        drain_timeout: options.drain_timeout,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut registry = Registry::default();
    let metrics = Arc::new(Metrics::new(&mut registry));
    let ready = Arc::clone(&metrics);
    let scope = Scope::root();
    hawser_transport::run(async {
        let terminated = serve::terminated()?;
        let answers = health::Answers { registry, ready: Box::new(move || ready.ready()), status: None };
        let listener = health::listen(options.health).await?;
        let health = tokio::task::spawn_local(health::serve(listener, Arc::new(answers)));
        let stop = scope.clone();
        let signals = tokio::task::spawn_local(async move {
            terminated.await;
            tracing::info!("draining");
            stop.cancel(CloseReason::Drain);
        });
        hawser_agent::run(config, clock, metrics, scope.clone()).await?;
        signals.abort();
        health.abort();
        anyhow::Ok(())
    })?
}
