//! `bench path`: the same requests to the same backend directly, through haproxy → haproxy, and through Hawser's edge
//! and agent; TLS on every hop.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;

use super::chains::{self, Chain, DIRECT, HAPROXY, HAWSER, Programs};
use super::load::Load;
use super::results::{Aim, Results};
use super::{machine, profile};
use crate::interrupt;
use crate::progress::{heading, note, seconds, step};
use crate::state::{State, repository};

/// How thoroughly to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// How often each measurement is made; medians are reported
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long each measurement of small requests lasts
    #[arg(long, value_name = "S", default_value_t = 3)]
    seconds: u32,
    /// A first impression: 2 short rounds; `bench/results` stays as it is
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
}

/// Runs it, prints the table, and leaves nothing running.
pub(crate) fn path(options: &Options) -> Result<()> {
    let plan = Plan::of(options);
    heading("build");
    chains::ensure_haproxy()?;
    let programs = chains::build()?;
    let state = chains::state()?;
    let _alone = state.lock()?;
    chains::clear(&state)?;
    let started = Instant::now();
    let outcome = measure(&state, &programs, &plan);
    let interrupted = interrupt::seen();
    interrupt::clear();
    if outcome.is_err() && !interrupted {
        chains::end(&state)?;
        note(format!("logs are in {}; the next run removes them", state.dir.display()));
        return outcome;
    }
    chains::clear(&state)?;
    note(format!("{} in {}", if interrupted { "removed" } else { "measured" }, seconds(started.elapsed())));
    outcome
}

/// How much is measured.
struct Plan {
    rounds: u32,
    seconds: f64,
    bulk_bytes: u64,
    keep: bool,
}

impl Plan {
    fn of(options: &Options) -> Self {
        if options.quick {
            return Self { rounds: 2, seconds: 1.0, bulk_bytes: BULK_BYTES / 4, keep: false };
        }
        let Options { rounds, seconds, quick: _ } = *options;
        Self { rounds, seconds: f64::from(seconds), bulk_bytes: BULK_BYTES, keep: true }
    }

    /// Results that are kept lie in the repository, others beside the programs.
    fn folder(&self) -> PathBuf {
        repository().join(if self.keep { "bench/results" } else { "target/bench" })
    }
}

fn measure(state: &State, programs: &Programs, plan: &Plan) -> Result<()> {
    heading("start");
    let others = machine::busy_cores();
    let facts = machine::facts();
    let chains = chains::start(state, programs)?;
    let load = Load { program: &programs.bench };
    heading("measure");
    let mut results = Results::new("path");
    for round in 1..=plan.rounds {
        step(format!("round {round} of {}", plan.rounds), || one_round(&load, &chains, plan, &mut results))?;
    }
    results.compare(HAWSER, HAPROXY);
    results.print(&[DIRECT, HAPROXY, HAWSER], HAWSER);
    for chain in &chains {
        let proxies: Vec<&str> = chain.proxies.iter().map(|proxy| proxy.name).collect();
        results.print_parts(BUSY, CPU_PER_REQUEST, &proxies);
        results.print_parts(BULK, CPU_PER_GB, &proxies);
    }
    println!("{}", caveat(plan, others));
    let met = results.judge(&AIM);
    results.write(&facts, &plan.folder())?;
    if !met {
        heading("profiles, because the aim is missed");
        for chain in &chains {
            profile::profile(&load, chain, (CONNECTIONS, STREAMS), &plan.folder())?;
        }
    }
    Ok(())
}

/// Every scenario on every system. Systems are next to each other in time, because they are compared.
fn one_round(load: &Load<'_>, chains: &[Chain], plan: &Plan, results: &mut Results) -> Result<()> {
    let mut direct = None;
    for chain in chains {
        interrupt::check()?;
        let measured = load.small(chain, 1, 1, plan.seconds)?;
        results.add(ONE, chain.name, "p50", "us", measured.p50_us);
        match direct {
            None => direct = Some(measured.p50_us),
            Some(direct) => results.add(ONE, chain.name, "added_p50", "us", measured.p50_us - direct),
        }
    }
    for chain in chains {
        interrupt::check()?;
        let measured = load.small(chain, CONNECTIONS, STREAMS, plan.seconds)?;
        let rate = measured.requests as f64 / measured.seconds;
        results.add(BUSY, chain.name, "requests_per_second", "1/s", rate);
        results.add(BUSY, chain.name, "p99", "us", measured.p99_us);
        add_cpu(results, chain, (BUSY, CPU_PER_REQUEST, "us"), &measured.per_request_us());
    }
    for chain in chains {
        interrupt::check()?;
        let measured = load.bulk(chain, plan.bulk_bytes)?;
        let rate = measured.bytes as f64 / 1e6 / measured.seconds;
        results.add(BULK, chain.name, "throughput", "MB/s", rate);
        add_cpu(results, chain, (BULK, CPU_PER_GB, "ms"), &measured.per_gb_ms());
    }
    Ok(())
}

/// Of the whole chain, and of each proxy in it as a system of its own.
fn add_cpu(results: &mut Results, chain: &Chain, row: (&'static str, &str, &str), each: &[f64]) {
    let (scenario, metric, unit) = row;
    if !each.is_empty() {
        results.add(scenario, chain.name, metric, unit, each.iter().sum());
    }
    for (proxy, value) in chain.proxies.iter().zip(each) {
        results.add(scenario, proxy.name, metric, unit, *value);
    }
}

fn caveat(plan: &Plan, others: f64) -> String {
    let cores = machine::cores();
    let mut text = format!(
        "Medians (min-max) of {} interleaved rounds; ratios are {HAWSER} to {HAPROXY} within a round.\n\
         Load, proxies and backend share {cores} cores: requests/s and MB/s are those of all of them together; CPU time\n\
         is that of the proxies alone.",
        plan.rounds
    );
    if plan.rounds < ROUNDS_TRUSTED {
        text.push_str(&format!("\nFewer than {ROUNDS_TRUSTED} rounds: an impression, no result."));
    }
    if others > BUSY_CORES_MAX {
        text.push_str(&format!("\nThe machine was busy before the run began (load average {others:.1})."));
    }
    text
}

/// A kilobyte at a time, one request after the other.
const ONE: &str = "get_1kb_c1_s1";
/// The same on 16 connections with 8 requests in flight on each.
const BUSY: &str = "get_1kb_c16_s8";
const CONNECTIONS: u32 = 16;
const STREAMS: u32 = 8;
/// One large body.
const BULK: &str = "bulk_down";
const BULK_BYTES: u64 = 256 << 20;
const CPU_PER_REQUEST: &str = "cpu_per_request";
const CPU_PER_GB: &str = "cpu_per_gb";
const AIM: Aim =
    Aim { scenario: BUSY, metric: CPU_PER_REQUEST, system: HAWSER, beside: HAPROXY, at_most: 1.5 };
/// Single numbers of a shared machine swing by a factor of two.
const ROUNDS_TRUSTED: u32 = 5;
/// A build or another test beside the run shows in every figure.
const BUSY_CORES_MAX: f64 = 0.5;
