//! One stage: a cargo command in a process group of its own, with a time limit, its output passed
//! on as it comes and its test results counted.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::command::tool;
use crate::hawser::cargo;
use crate::process::end_group;
use crate::state::repository;
use crate::{interrupt, progress::seconds};

/// The stages, in the order in which they fail fastest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Format,
    Tidy,
    Clippy,
    Unit,
    Deny,
    EndToEnd,
}

impl Stage {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Tidy => "tidy",
            Self::Clippy => "clippy",
            Self::Unit => "unit",
            Self::Deny => "deny",
            Self::EndToEnd => "e2e",
        }
    }

    /// A command that passes or fails as one.
    pub(super) fn check(self, arguments: &[&str], limit: Duration) -> Result<Counts> {
        let (success, _) = cargo_run(arguments, &[], limit)?;
        Ok(Counts::one(success))
    }

    /// A command whose tests are counted. One that fails without a failed test (it did not build, a
    /// test killed its process) counts as a failure too.
    pub(super) fn count(
        self,
        arguments: &[&str],
        variables: &[(&str, &OsStr)],
        limit: Duration,
    ) -> Result<Counts> {
        let (success, counts) = cargo_run(arguments, variables, limit)?;
        Ok(if success || counts.failed > 0 { counts } else { counts + Counts::FAILED })
    }
}

/// Results of tests.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
}

impl Counts {
    pub(super) const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };

    pub(super) fn one(success: bool) -> Self {
        if success { Self { passed: 1, ..Self::default() } } else { Self::FAILED }
    }

    /// Reads the line that ends the output of each test program.
    fn parse(line: &str) -> Option<Self> {
        let results = line.trim().strip_prefix("test result: ")?.split_once(". ")?.1;
        let mut counts = Self::default();
        for part in results.split(';') {
            let mut words = part.split_whitespace();
            let (number, kind) = (words.next()?, words.next());
            match (number.parse::<u64>(), kind) {
                (Ok(number), Some("passed")) => counts.passed = number,
                (Ok(number), Some("failed")) => counts.failed = number,
                (Ok(number), Some("ignored")) => counts.skipped = number,
                (_, _) => {}
            }
        }
        Some(counts)
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

/// Own process group: what a test left behind holds the pipe open, and ends with the group.
fn cargo_run(arguments: &[&str], variables: &[(&str, &OsStr)], limit: Duration) -> Result<(bool, Counts)> {
    let mut child = tool(cargo())
        .current_dir(repository())
        .args(arguments)
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("cannot start cargo")?;
    let stdout = child.stdout.take().context("no output to read")?;
    let reader = thread::spawn(move || {
        let mut counts = Counts::default();
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            counts = counts + Counts::parse(&line).unwrap_or_default();
        }
        counts
    });
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if interrupt::seen() || started.elapsed() > limit {
            break None;
        }
        thread::sleep(Duration::from_millis(100));
    };
    end_group(child.id());
    child.wait()?;
    let counts = reader.join().unwrap_or(Counts::FAILED);
    interrupt::check()?;
    match status {
        Some(status) => Ok((status.success(), counts)),
        None => bail!("`cargo {}` ended after {}", arguments.join(" "), seconds(limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_read() {
        let line =
            "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 1 filtered out; finished in 0.31s";
        assert_eq!(Counts::parse(line), Some(Counts { passed: 12, failed: 0, skipped: 3 }));
        let line = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.0s";
        assert_eq!(Counts::parse(line), Some(Counts { passed: 1, failed: 2, skipped: 0 }));
        assert_eq!(Counts::parse("test result_lines_are_read ... ok"), None);
    }
}
