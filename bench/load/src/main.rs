//! The two ends of a benchmark, and the papers both need: `backend` answers like an API server, `load` asks and
//! measures, `fixture` makes keys, tokens and kubeconfigs. What stands between the ends is the caller's business
//! (`cargo xtask bench`), so that every system under test meets the same two programs.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool: output is its purpose")]
#![expect(clippy::disallowed_methods, reason = "a composition root: reads the clock")]

use std::process::ExitCode;

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

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Fixture(options) => fixture::write(options)?,
        Command::Backend(options) => backend::run(options)?,
        Command::Load(options) => println!("{}", serde_json::to_string(&load::run(options)?)?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    fn command(words: &[&str]) -> Command {
        Cli::try_parse_from([&["hawser-bench"], words].concat()).unwrap().command
    }

    /// The two ends understand each other without anything between them.
    #[test]
    fn a_load_on_the_backend() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let (listen, server) = (format!("127.0.0.1:{port}"), format!("direct={port}"));
        let Command::Fixture(options) = command(&["fixture", "--dir", dir, "--server", &server]) else {
            panic!()
        };
        fixture::write(&options).unwrap();
        let Command::Backend(options) = command(&["backend", "--dir", dir, "--listen", &listen]) else {
            panic!()
        };
        std::thread::spawn(move || backend::run(&options).unwrap());
        while std::net::TcpStream::connect(&listen).is_err() {
            std::thread::yield_now();
        }
        let kubeconfig = format!("{dir}/direct.kubeconfig");
        let measured = |words: &[&str]| {
            let Command::Load(options) = command(&[&["load", "--kubeconfig", &kubeconfig], words].concat())
            else {
                panic!()
            };
            load::run(&options).map(|report| serde_json::to_value(report).unwrap())
        };

        let pid = std::process::id().to_string();
        let small = "/api/v1/namespaces/default/configmaps/one";
        let flags =
            ["--connections", "3", "--streams", "2", "--seconds", "0.2", "--warm", "0.1", "--cpu-of", &pid];
        let report = measured(&[&["--path", small][..], &flags].concat()).unwrap();
        let (requests, bytes) = (report["requests"].as_u64().unwrap(), report["bytes"].as_u64().unwrap());
        assert!(requests > 0 && bytes == requests * 1024, "{report}");
        assert!(report["cpu_ns"][0].as_u64().unwrap() > 0, "{report}");

        let log = "/api/v1/namespaces/default/pods/p/log?limitBytes=3000001";
        let report = measured(&["--path", log, "--requests", "2"]).unwrap();
        assert_eq!((&report["requests"], &report["bytes"]), (&2.into(), &6_000_002.into()));

        for flags in [&["--requests", "1"][..], &["--seconds", "0.1"]] {
            let refused = measured(&[&["--path", "/nothing"][..], flags].concat()).err().unwrap();
            assert!(format!("{refused:#}").contains("404"), "{refused:#}");
        }
    }
}
