//! `cargo xtask bench`: what Hawser costs, beside what people would use in its place.
//!
//! Every benchmark interleaves its systems (A B C A B C …) in one run, so that a machine that slows down slows all of
//! them, reads CPU time from the kernel, and leaves rows in `bench/results/NAME.json`.

use anyhow::Result;
use clap::Subcommand;

mod chains;
mod load;
mod machine;
mod path;
mod policies;
mod profile;
mod results;

/// The benchmarks.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Added latency, requests per second, bulk throughput and CPU time of edge and agent, beside direct access and
    /// two haproxies in a row
    Path(path::Options),
}

/// Runs one.
pub(crate) fn bench(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Path(options) => path::path(options),
    }
}
