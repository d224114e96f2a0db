//! The `hawser` binary: subcommands, files and environment into what the rooms need, signals and exit codes.

use std::process::ExitCode;

use clap::Parser as _;

mod agent;
mod agent_image;
mod cli;
mod config;
mod counters;
mod data;
mod health;
mod import;
mod kubeconfig;
mod logging;
mod objects;
mod output;
mod reload;
mod report;
mod serve;
mod status;
mod tables;

/// A fifth of a busy agent's time went into glibc's allocator, and it seldom gives memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}
