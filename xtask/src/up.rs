//! `cargo xtask up`: from a fresh machine to a kubectl that works through Hawser.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::cluster::{Cluster, TEST_IMAGE};
use crate::down::down;
use crate::golang::{self, KUBERNETES_DEFAULT, Kube};
use crate::hawser::{self, Access, Edge};
use crate::progress::{heading, note, seconds};
use crate::state::State;
use crate::{interrupt, packages, process};

/// What to start, and where.
#[derive(Args)]
pub(crate) struct Options {
    /// How many clusters, each in a namespace of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=CLUSTERS_MAX))]
    clusters: u32,
    /// Kubernetes version of the clusters
    #[arg(long, value_name = "VERSION", default_value = KUBERNETES_DEFAULT)]
    kubernetes: String,
    /// Folder for all state [default: $XDG_STATE_HOME/hawser/up]
    #[arg(long = "state", value_name = "DIR")]
    state: Option<PathBuf>,
}

/// What to do once all runs.
#[derive(Args)]
pub(crate) struct Then {
    /// Return and leave all running; without it, Ctrl-C stops and removes all
    #[arg(long)]
    detach: bool,
    /// Print one JSON object as the last line, for programs; implies --detach
    #[arg(long)]
    json: bool,
}

/// Everything that other programs need to know; the fields are a promise (`--json`).
#[derive(Serialize)]
pub(crate) struct Running {
    kubectl: PathBuf,
    helm: PathBuf,
    kubeconfig: PathBuf,
    admin_kubeconfig: PathBuf,
    edge: Edge,
    clusters: Vec<RunningCluster>,
    /// Lines for a shell, so that kubectl, helm and hawser work in it as they stand.
    exports: Vec<String>,
}

#[derive(Serialize)]
struct RunningCluster {
    name: String,
    netns: String,
    direct_kubeconfig: PathBuf,
    server: String,
    image: &'static str,
    containerd_socket: PathBuf,
    version: String,
}

/// Starts everything, says how to use it, and stays until Ctrl-C unless told otherwise.
pub(crate) fn up(options: &Options, then: &Then) -> Result<()> {
    let state = State::at(options.state.as_deref())?;
    let ran_before = !process::of_state(&state.id).is_empty();
    let started = Instant::now();
    let running = match start(options, &state) {
        Ok(running) => running,
        Err(_) if interrupt::seen() => {
            stop(&state, ran_before)?;
            return Err(interrupt::Interrupted.into());
        }
        Err(error) => {
            if state.exists() {
                note(format!(
                    "what was started goes on running; `cargo xtask down --state {}`",
                    state.dir.display()
                ));
            }
            return Err(error);
        }
    };
    heading(format!("ready in {}", seconds(started.elapsed())));
    if then.json {
        println!("{}", serde_json::to_string(&running)?);
        return Ok(());
    }
    print_what_to_try(&state, &running);
    if then.detach || ran_before {
        return Ok(());
    }
    println!("\nCtrl-C stops and removes all of it.");
    while !interrupt::seen() {
        if !state.exists() {
            note("removed by another `cargo xtask down`");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    stop(&state, ran_before)
}

/// Starts everything that is not running yet.
pub(crate) fn start(options: &Options, state: &State) -> Result<Running> {
    heading("build");
    packages::ensure()?;
    let kube = golang::kube(&options.kubernetes)?;
    let helm = golang::helm(3)?;
    let built = hawser::build()?;
    let _changing = state.lock()?;
    heading("Kubernetes");
    let clusters = start_clusters(options, state, &kube)?;
    heading("Hawser");
    let Access { edge, program, kubeconfig, admin_kubeconfig } =
        hawser::start(state, &kube, &clusters, &built)?;
    let describe = |cluster: &Cluster| -> Result<RunningCluster> {
        Ok(RunningCluster {
            name: cluster.name.clone(),
            netns: cluster.netns.clone(),
            direct_kubeconfig: cluster.kubeconfig(),
            server: cluster.server(),
            image: TEST_IMAGE,
            containerd_socket: cluster.containerd_socket(),
            version: cluster.version(&kube)?,
        })
    };
    let kubectl = kube.program("kubectl");
    Ok(Running {
        exports: exports([&program, &kubectl, &helm], &kubeconfig, edge.data_dir()),
        kubectl,
        helm,
        kubeconfig,
        admin_kubeconfig,
        edge,
        clusters: clusters.iter().map(describe).collect::<Result<_>>()?,
    })
}

/// Starts the clusters without Hawser, and leaves them running.
pub(crate) fn clusters_only(options: &Options) -> Result<()> {
    let state = State::at(options.state.as_deref())?;
    packages::ensure()?;
    let kube = golang::kube(&options.kubernetes)?;
    let _changing = state.lock()?;
    for cluster in start_clusters(options, &state, &kube)? {
        let kubectl = kube.program("kubectl");
        println!("{}, directly:", cluster.name);
        println!(
            "  nsenter --net=/run/netns/{} {} --kubeconfig {} get pods -A",
            cluster.netns,
            kubectl.display(),
            cluster.kubeconfig().display()
        );
    }
    Ok(())
}

impl Options {
    /// What the tests need: two clusters of the default version.
    pub(crate) fn plain(state: &State) -> Self {
        Self { clusters: 2, kubernetes: KUBERNETES_DEFAULT.to_owned(), state: Some(state.dir.clone()) }
    }
}

fn start_clusters(options: &Options, state: &State, kube: &Kube) -> Result<Vec<Cluster>> {
    state.create()?;
    let clusters: Vec<Cluster> = (1..=options.clusters).map(|number| Cluster::new(state, number)).collect();
    for cluster in &clusters {
        cluster.start(kube)?;
    }
    Ok(clusters)
}

/// After Ctrl-C; what ran before this command goes on running.
fn stop(state: &State, ran_before: bool) -> Result<()> {
    interrupt::clear();
    if ran_before {
        note("interrupted; what ran before goes on running");
    } else {
        down(state)?;
    }
    Ok(())
}

fn exports(programs: [&PathBuf; 3], kubeconfig: &Path, data_dir: &Path) -> Vec<String> {
    let folders = programs.map(|program| program.parent().unwrap_or(program).display().to_string());
    vec![
        format!("export PATH=\"{}:$PATH\"", folders.join(":")),
        format!("export KUBECONFIG=\"{}\"", kubeconfig.display()),
        format!("export HAWSER_DATA_DIR=\"{}\"", data_dir.display()),
    ]
}

fn print_what_to_try(state: &State, running: &Running) {
    println!();
    for line in &running.exports {
        println!("  {line}");
    }
    println!("\nThen follow \"Five minutes with it\" in README.md, or for example:");
    println!("  kubectl get pods -A");
    println!("  kubectl get nodes      # refused, with a reason; works with:");
    println!("  kubectl --kubeconfig {} get nodes", running.admin_kubeconfig.display());
    println!("  cargo xtask down --state {}", state.dir.display());
}

const CLUSTERS_MAX: i64 = 16;
