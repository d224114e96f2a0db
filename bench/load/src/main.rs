//! The two ends of a benchmark, and the papers both need: `backend` answers like an API server, `load` asks and
//! measures, `fixture` makes keys, tokens and kubeconfigs. What stands between the ends is the caller's business
//! (`cargo xtask bench`), so that every system under test meets the same two programs.
#![expect(clippy::print_stdout, reason = "a command-line tool: its result goes to standard output")]
#![expect(clippy::disallowed_methods, reason = "a composition root: reads the clock")]

use clap::{Parser, Subcommand};

mod backend;
mod cpu;
mod fixture;
mod load;
mod target;
mod tls;

#[derive(Parser)]
#[command(name = "hawser-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a folder with certificates, tokens and kubeconfigs
    Fixture(fixture::Options),
    /// Serve TLS and HTTP/2 like an API server, until killed
    Backend(backend::Options),
    /// Ask again and again, and print one JSON object with what was measured
    Load(load::Options),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Fixture(options) => fixture::write(&options),
        Command::Backend(options) => backend::run(&options),
        Command::Load(options) => {
            println!("{}", serde_json::to_string(&load::run(&options)?)?);
            Ok(())
        }
    }
}
