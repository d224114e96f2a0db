//! The near end of every chain: `connections` HTTP/2 connections with `streams` requests in flight on each, first for a
//! warm-up that is not counted, then for the measurement. The CPU time of the processes between the two ends is read at the
//! same two instants that bound the measurement.

mod client;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use hawser_transport::{Scope, Workers, WorkersConfig};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

use crate::{cpu::OnCpu, target::Target};
use client::{Client, Tally};

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Whom to ask, and as whom
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// What to GET
    #[arg(long)]
    path: String,
    /// What to GET once on each connection before
    #[arg(long, default_value = "/version", value_name = "PATH")]
    first: String,
    /// HTTP/2 connections
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Requests in flight on each
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, conflicts_with = "requests")]
    seconds: f64,
    /// Measure so many requests of each stream, however long they take
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// How long to ask before measuring begins
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5, conflicts_with = "requests")]
    warm: f64,
    /// Threads that ask; by default one for every two cores
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Read the CPU time of these processes, too (may be repeated)
    #[arg(long, value_name = "PID")]
    cpu_of: Vec<u32>,
}

/// What was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    /// Requests answered with 200 and a whole body.
    requests: u64,
    /// Body bytes.
    bytes: u64,
    seconds: f64,
    /// Times from request to the end of its body, microseconds.
    p50_us: f64,
    p99_us: f64,
    /// On a core, nanoseconds, of each process of `--cpu-of` in that order.
    cpu_ns: Vec<u64>,
}

/// What all streams see.
pub(crate) struct Run {
    pub(crate) options: Options,
    pub(crate) target: Target,
    phase: watch::Sender<Phase>,
    ready: AtomicU64,
    tallies: Mutex<Vec<anyhow::Result<Tally>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Connect,
    Warm,
    Measure,
    Stop,
}

/// Runs the load.
///
/// # Errors
/// The first request that had no good answer.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let target = Target::read(&options.kubeconfig)?;
    let run = Arc::new(Run {
        options: options.clone(),
        target,
        phase: watch::Sender::new(Phase::Connect),
        ready: AtomicU64::new(0),
        tallies: Mutex::default(),
    });
    let asked = options.threads.unwrap_or_else(|| hawser_transport::cores().len() / 2);
    let count = asked.clamp(1, options.connections.max(1));
    let config = WorkersConfig { count, pin: false, name: "load".to_owned() };
    let for_workers = Arc::clone(&run);
    let workers = Workers::start(&Scope::root(), &config, move |worker| {
        ask(Arc::clone(&for_workers), worker.id, worker.count)
    })?;
    let (seconds, cpu_ns) = hawser_transport::run(conduct(&run))??;
    workers.join()?;
    let tallies: Vec<_> = std::mem::take(&mut *run.tallies.lock());
    let mut all = Tally::default();
    for tally in tallies {
        all.add(tally?);
    }
    all.latencies_ns.sort_unstable();
    Ok(Report {
        requests: all.latencies_ns.len() as u64,
        bytes: all.bytes,
        seconds,
        p50_us: quantile_us(&all.latencies_ns, 0.5),
        p99_us: quantile_us(&all.latencies_ns, 0.99),
        cpu_ns,
    })
}

/// One thread: its share of the connections.
async fn ask(run: Arc<Run>, thread: usize, threads: usize) {
    let mut streams = tokio::task::JoinSet::new();
    for _connection in (thread..run.options.connections).step_by(threads) {
        match Client::connect(&run).await {
            Ok(client) => {
                for _ in 0..run.options.streams {
                    streams.spawn_local(client.clone().ask(Arc::clone(&run)));
                }
            }
            Err(error) => run.end(Err(error)),
        }
        run.ready.fetch_add(1, Ordering::Relaxed);
    }
    while let Some(ended) = streams.join_next().await {
        run.end(ended.unwrap_or_else(|panicked| Err(panicked.into())));
    }
}

/// Leads all threads through the phases; the measurement's length and cost.
async fn conduct(run: &Run) -> anyhow::Result<(f64, Vec<u64>)> {
    let options = &run.options;
    let deadline = Instant::now() + CONNECT_WITHIN;
    while run.ready.load(Ordering::Relaxed) < options.connections as u64 {
        anyhow::ensure!(Instant::now() < deadline, "not connected within {CONNECT_WITHIN:?}");
        tokio::time::sleep(LOOK).await;
    }
    if options.requests.is_none() {
        run.phase.send_replace(Phase::Warm);
        tokio::time::sleep(Duration::from_secs_f64(options.warm)).await;
    }
    let cpu = OnCpu::of(&options.cpu_of)?;
    let began = Instant::now();
    run.phase.send_replace(Phase::Measure);
    match options.requests {
        Some(_) => run.all_ended().await,
        None => tokio::time::sleep(Duration::from_secs_f64(options.seconds)).await,
    }
    let seconds = began.elapsed().as_secs_f64();
    let used = OnCpu::of(&options.cpu_of).context("the system under test")? - cpu;
    run.phase.send_replace(Phase::Stop);
    Ok((seconds, used))
}

impl Run {
    /// Now. One relaxed read in the common case: streams ask after each answer.
    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits for the first phase in which this stream has something to do.
    pub(crate) async fn begin(&self) {
        let mut phase = self.phase.subscribe();
        let wanted = |phase: &Phase| match phase {
            Phase::Connect => false,
            Phase::Warm => self.options.requests.is_none(),
            Phase::Measure | Phase::Stop => true,
        };
        // The sender lives as long as `self`.
        phase.wait_for(wanted).await.ok();
    }

    fn end(&self, tally: anyhow::Result<Tally>) {
        self.tallies.lock().push(tally);
    }

    async fn all_ended(&self) {
        let all = self.options.connections * self.options.streams;
        let over = || {
            let tallies = self.tallies.lock();
            tallies.len() >= all || tallies.iter().any(Result::is_err)
        };
        while !over() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn quantile_us(sorted_ns: &[u64], quantile: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below the length")]
    let at = (sorted_ns.len() as f64 * quantile) as usize;
    sorted_ns.get(at.min(sorted_ns.len().saturating_sub(1))).map_or(0.0, |ns| *ns as f64 / 1e3)
}

const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// How often the conductor looks whether the others are done.
const LOOK: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let sorted: Vec<u64> = (1..=100).map(|n| n * 1000).collect();
        assert_eq!(quantile_us(&sorted, 0.5), 51.0);
        assert_eq!(quantile_us(&sorted, 0.99), 100.0);
        assert_eq!(quantile_us(&[7000], 0.99), 7.0);
        assert_eq!(quantile_us(&[], 0.5), 0.0);
    }
}
