//! `cargo xtask up`: from a fresh machine to a kubectl that works through Hawser.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cluster::Cluster;
use crate::golang::{self, KUBERNETES_DEFAULT, Kube};
use crate::packages;
use crate::state::State;

/// What to start, and where.
#[derive(Args)]
pub(crate) struct Options {
    /// How many clusters, each in a namespace of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    clusters: u32,
    /// Kubernetes version of the clusters.
    #[arg(long, value_name = "VERSION", default_value = KUBERNETES_DEFAULT)]
    kubernetes: String,
    /// Folder for all state [default: $XDG_STATE_HOME/hawser/up]
    #[arg(long = "state", value_name = "DIR")]
    state: Option<PathBuf>,
}

/// Starts the clusters without Hawser, and leaves them running.
pub(crate) fn clusters_only(options: &Options) -> Result<()> {
    let state = State::at(options.state.as_deref())?;
    let (_, clusters) = start_clusters(options, &state)?;
    for cluster in &clusters {
        println!("{}: nsenter --net=/run/netns/{} kubectl --kubeconfig {}", cluster.name, cluster.netns, cluster.kubeconfig().display());
    }
    Ok(())
}

fn start_clusters(options: &Options, state: &State) -> Result<(Kube, Vec<Cluster>)> {
    packages::ensure()?;
    let kube = golang::kube(&options.kubernetes)?;
    let _changing = state.lock()?;
    state.create()?;
    let clusters: Vec<Cluster> = (1..=options.clusters).map(|number| Cluster::new(state, number)).collect();
    for cluster in &clusters {
        cluster.start(&kube)?;
    }
    Ok((kube, clusters))
}
