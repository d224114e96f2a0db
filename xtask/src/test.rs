//! `cargo xtask test`: every check in stages, with the time of each, in three tiers.
//!
//! Results are kept in `target/test-results/TIER.json`, and what the cluster and the edge logged
//! beside it when an end-to-end stage fails.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::command::{run, shown, tool};
use crate::down::down;
use crate::hawser::{cargo, metadata};
use crate::progress::{heading, note, seconds};
use crate::state::{State, cache, hex, repository};
use crate::{interrupt, programs, tidy, up};

mod files;
mod stage;

pub(crate) use files::{forgotten, is_end_to_end};
use stage::{Counts, Stage};

/// Which tier, and which part of it.
#[derive(Args)]
pub(crate) struct Options {
    /// Without a cluster: under 5 minutes once built
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Everything at full length, in stages of at most 120 minutes
    #[arg(long)]
    full: bool,
    /// Only these stages (may be repeated); the results of others are kept from earlier runs
    #[arg(long, value_name = "NAME")]
    stage: Vec<String>,
}

/// Runs the stages of a tier, all of them even when one fails; says whether all is well.
pub(crate) fn test(options: &Options) -> Result<bool> {
    let tier = match (options.quick, options.full) {
        (true, _) => Tier::Quick,
        (_, true) => Tier::Full,
        (false, false) => Tier::Plain,
    };
    let stages = tier.chosen(&options.stage)?;
    let cold = !repository().join("target/test-results").exists();
    let started = Instant::now();
    let mut results = Vec::new();
    for stage in stages {
        heading(format!("== {}", stage.name()));
        let begun = Instant::now();
        let counts = run_stage(stage, tier);
        interrupt::check()?;
        let counts = counts.unwrap_or_else(|error| {
            note(format!("error: {error:#}"));
            Counts::FAILED
        });
        results.push(Outcome { stage: stage.name(), seconds: begun.elapsed().as_secs(), counts });
        keep(tier, &results)?;
    }
    report(tier, cold, started.elapsed(), &results);
    Ok(results.iter().all(|outcome| outcome.counts.failed == 0))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tier {
    Quick,
    Plain,
    Full,
}

impl Tier {
    fn stages(self) -> Vec<Stage> {
        let quick = [Stage::Format, Stage::Tidy, Stage::Clippy, Stage::Unit];
        match self {
            Self::Quick => quick.to_vec(),
            Self::Plain | Self::Full => [&quick[..], &[Stage::Deny, Stage::EndToEnd]].concat(),
        }
    }

    /// The stages of these names, all if there are none, in the order in which they run.
    fn chosen(self, names: &[String]) -> Result<Vec<Stage>> {
        let mut stages = self.stages();
        let unknown = names.iter().find(|name| !stages.iter().any(|stage| stage.name() == **name));
        if let Some(unknown) = unknown {
            let known: Vec<&str> = stages.iter().map(Stage::name).collect();
            bail!("--stage {unknown}: the tier {} has {}", self.name(), known.join(", "));
        }
        stages.retain(|stage| names.is_empty() || names.iter().any(|name| name == stage.name()));
        Ok(stages)
    }

    /// How many inputs a property is tried with, where its test leaves that open.
    fn property_cases(self) -> &'static str {
        match self {
            Self::Quick | Self::Plain => "256",
            Self::Full => "8192",
        }
    }

    /// How end-to-end tests learn at what length to run.
    fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Plain => "plain",
            Self::Full => "full",
        }
    }

    fn budget(self, cold: bool) -> Duration {
        let minutes = match (self, cold) {
            (Self::Quick, false) => 5,
            (Self::Quick, true) => 15,
            (Self::Plain, false) => 30,
            (Self::Plain, true) => 55,
            (Self::Full, _) => 6 * 120,
        };
        Duration::from_secs(minutes * 60)
    }

    fn stage_limit(self) -> Duration {
        match self {
            Self::Quick | Self::Plain => Duration::from_secs(45 * 60),
            Self::Full => Duration::from_secs(120 * 60),
        }
    }
}

#[derive(Serialize)]
struct Outcome {
    stage: &'static str,
    seconds: u64,
    #[serde(flatten)]
    counts: Counts,
}

fn run_stage(stage: Stage, tier: Tier) -> Result<Counts> {
    match stage {
        Stage::Tidy => Ok(Counts::one(tidy::tidy()?)),
        Stage::Deny => {
            let deny = cargo_deny()?;
            let mut command = tool(deny);
            command.current_dir(repository()).args(["check", "bans", "licenses", "sources"]);
            Ok(Counts::one(shown(&mut command).is_ok()))
        }
        Stage::EndToEnd => end_to_end(tier),
        Stage::Format => {
            stage.check(&["fmt", "--all", "--check", "--message-format", "short"], tier.stage_limit())
        }
        Stage::Clippy => stage.check(
            &["clippy", "--quiet", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"],
            tier.stage_limit(),
        ),
        Stage::Unit => stage.count(
            &["test", "--quiet", "--workspace", "--no-fail-fast"],
            &[("PROPTEST_CASES", tier.property_cases().as_ref())],
            tier.stage_limit(),
        ),
    }
}

/// Cluster, edge and agent in a state folder of this clone's own, then the tests against them.
fn end_to_end(tier: Tier) -> Result<Counts> {
    let state = test_state()?;
    down(&state).context("leftovers of an earlier run")?;
    let counts = start_and_test(&state, tier);
    if !counts.as_ref().is_ok_and(|counts| counts.failed == 0) {
        let kept = results_folder().join("logs");
        note(format!("logs are kept in {}", kept.display()));
        keep_logs(&state, &kept)?;
    }
    interrupt::clear();
    down(&state)?;
    counts
}

fn start_and_test(state: &State, tier: Tier) -> Result<Counts> {
    let running = up::start(&up::Options::plain(state), state)?;
    programs::prepare()?;
    let described = state.dir.join("up.json");
    fs::write(&described, serde_json::to_vec(&running)?)?;
    let variables: [(&str, &OsStr); 2] =
        [("HAWSER_TIER", tier.name().as_ref()), ("HAWSER_E2E", described.as_os_str())];
    let mut counts = Counts::default();
    let metadata = metadata()?;
    for feature in files::FEATURES {
        let names = files::of_feature(&metadata, feature);
        let mut command = vec!["test", "--package", "hawser-tests", "--features", feature, "--no-fail-fast"];
        command.extend(names.iter().flat_map(|name| ["--test", name]));
        counts = counts + Stage::EndToEnd.count(&command, &variables, tier.stage_limit())?;
    }
    Ok(counts)
}

/// One per clone, so that two clones can test at the same time.
fn test_state() -> Result<State> {
    use sha2::Digest;
    let clone = hex(&sha2::Sha256::digest(repository().as_os_str().as_encoded_bytes()));
    let beside = State::at(None)?.dir;
    State::at(Some(&beside.with_file_name(format!("test-{}", &clone[..8]))))
}

fn keep_logs(state: &State, into: &Path) -> Result<()> {
    if into.exists() {
        fs::remove_dir_all(into)?;
    }
    fs::create_dir_all(into)?;
    let edge = state.dir.join("edge.log");
    if edge.exists() {
        fs::copy(edge, into.join("edge.log"))?;
    }
    for cluster in crate::cluster::existing(state) {
        for (from, name) in [("log", "components"), ("pod-logs", "pods")] {
            let from = cluster.dir.join(from);
            if from.exists() {
                let to = into.join(format!("{}-{name}", cluster.name));
                run(tool("cp").arg("-r").arg(from).arg(to))?;
            }
        }
    }
    Ok(())
}

/// cargo-deny from the cache, built there on first use.
fn cargo_deny() -> Result<PathBuf> {
    let root = cache()?.join(format!("cargo-deny-{CARGO_DENY}"));
    let program = root.join("bin/cargo-deny");
    if !program.exists() {
        note(format!("building cargo-deny {CARGO_DENY}: a few minutes, once"));
        shown(
            tool(cargo())
                .args(["install", "--quiet", "--locked", "--version", CARGO_DENY, "cargo-deny", "--root"])
                .arg(&root),
        )?;
    }
    Ok(program)
}

fn results_folder() -> PathBuf {
    repository().join("target/test-results")
}

/// One file for each stage of `--full`, whose stages may be run on different days; one for all of
/// the others.
fn keep(tier: Tier, results: &[Outcome]) -> Result<()> {
    let folder = results_folder();
    fs::create_dir_all(&folder)?;
    match (tier, results.last()) {
        (Tier::Full, Some(last)) => {
            fs::write(folder.join(format!("full-{}.json", last.stage)), serde_json::to_vec_pretty(last)?)?;
        }
        (Tier::Quick | Tier::Plain | Tier::Full, _) => {
            fs::write(folder.join(format!("{}.json", tier.name())), serde_json::to_vec_pretty(results)?)?;
        }
    }
    Ok(())
}

fn report(tier: Tier, cold: bool, took: Duration, results: &[Outcome]) {
    println!("\nstage          passed  failed skipped     time");
    let mut all = Counts::default();
    for Outcome { stage, seconds: time, counts } in results {
        let Counts { passed, failed, skipped } = counts;
        println!(
            "{stage:<12} {passed:>8} {failed:>7} {skipped:>7} {:>12}",
            seconds(Duration::from_secs(*time))
        );
        all = all + *counts;
    }
    let budget = tier.budget(cold);
    let kept = if took <= budget { "within" } else { "OVER" };
    let start = if cold { "cold" } else { "warm" };
    println!("{} in {}: {kept} the budget of {} ({start})", tier.name(), seconds(took), seconds(budget));
    println!("{} passed, {} failed, {} skipped", all.passed, all.failed, all.skipped);
}

const CARGO_DENY: &str = "0.20.2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_chosen_by_names_that_the_tier_has() {
        let chosen = |tier: Tier, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let stages = tier.chosen(&names).map_err(|error| error.to_string())?;
            Ok::<_, String>(stages.iter().map(Stage::name).collect::<Vec<_>>())
        };
        assert_eq!(chosen(Tier::Quick, &[]).unwrap(), ["format", "tidy", "clippy", "unit"]);
        assert_eq!(chosen(Tier::Plain, &["e2e", "tidy"]).unwrap(), ["tidy", "e2e"]);
        let known = "format, tidy, clippy, unit";
        for names in [&["e2e"][..], &["unit", "e2e"]] {
            let error = chosen(Tier::Quick, names).unwrap_err();
            assert_eq!(error, format!("--stage e2e: the tier quick has {known}"));
        }
    }
}
