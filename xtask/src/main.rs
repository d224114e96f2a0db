//! Developer commands of Hawser: `cargo xtask up | down | build | test | bench | tidy | cluster`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool: output is its purpose")]
#![expect(clippy::disallowed_methods, reason = "a composition root: reads the clock and the environment")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

mod bench;
mod cluster;
mod command;
mod down;
mod golang;
mod hawser;
mod interrupt;
mod packages;
mod process;
mod programs;
mod progress;
mod state;
mod test;
mod tidy;
mod up;

/// Developer commands of Hawser.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A real cluster, an edge and an agent, and how to use them
    Up {
        #[command(flatten)]
        options: up::Options,
        #[command(flatten)]
        then: up::Then,
    },
    /// Remove everything that `up` made, also after a crash half-way
    Down(StateOption),
    /// Build the one static program, optimized, and print its path
    Build,
    /// Run the tests; the last line says `N passed, N failed, N skipped`
    Test(test::Options),
    /// Print the path of a program that tests use, made on first use
    Program {
        /// Which one
        name: programs::Program,
    },
    /// Measure Hawser beside what people would use in its place
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Check layers, documents and names, and report the longest files
    Tidy,
    /// The bare test cluster, without Hawser
    #[command(subcommand)]
    Cluster(ClusterCommand),
}

#[derive(Subcommand)]
enum ClusterCommand {
    /// Start the clusters only
    Up(up::Options),
    /// The same as `cargo xtask down`
    Down(StateOption),
    /// kubectl as a cluster's own administrator, inside its namespace
    Kubectl {
        #[command(flatten)]
        state: StateOption,
        /// Which cluster, counted from 1
        #[arg(long, default_value_t = 1)]
        number: u32,
        /// Arguments for kubectl, after `--`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

#[derive(Args)]
struct StateOption {
    /// Folder for all state [default: $XDG_STATE_HOME/hawser/up]
    #[arg(long = "state", value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl StateOption {
    fn open(&self) -> Result<state::State> {
        state::State::at(self.dir.as_deref())
    }
}

fn main() -> ExitCode {
    interrupt::listen();
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) if interrupt::seen() || error.is::<interrupt::Interrupted>() => {
            eprintln!("interrupted");
            ExitCode::from(interrupt::EXIT_CODE)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up { options, then } => up::up(&options, &then)?,
        Command::Build => println!("{}", hawser::build()?.display()),
        Command::Test(options) => return Ok(exit_code(test::test(&options)?)),
        Command::Program { name } => println!("{}", name.path()?.display()),
        Command::Bench(bench) => bench::bench(&bench)?,
        Command::Tidy => return Ok(exit_code(tidy::tidy()?)),
        Command::Down(option) | Command::Cluster(ClusterCommand::Down(option)) => {
            down::down(&option.open()?)?
        }
        Command::Cluster(ClusterCommand::Up(options)) => up::clusters_only(&options)?,
        Command::Cluster(ClusterCommand::Kubectl { state, number, arguments }) => {
            return kubectl(&state.open()?, number, &arguments);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn exit_code(well: bool) -> ExitCode {
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn kubectl(state: &state::State, number: u32, arguments: &[String]) -> Result<ExitCode> {
    let version = cluster::version_of(state).context("no cluster here: `cargo xtask up` first")?;
    let kube = golang::kube(&version)?;
    let mut command = cluster::Cluster::new(state, number).kubectl(&kube);
    let status = command.args(arguments).stdin(std::process::Stdio::inherit()).status()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}
