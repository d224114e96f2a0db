//! Samples of all rounds, and what is said of them: rows for programs, a table for people.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use crate::progress::note;

/// Everything measured in one benchmark.
pub(crate) struct Results {
    name: &'static str,
    series: Vec<Series>,
}

/// One figure, once per round.
struct Series {
    key: Key,
    unit: String,
    values: Vec<f64>,
}

#[derive(Clone, PartialEq, Eq, Serialize)]
struct Key {
    scenario: &'static str,
    system: &'static str,
    metric: String,
}

/// The form of `bench/results/*.json`, which other programs read.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    key: &'a Key,
    unit: &'a str,
    median: f64,
    min: f64,
    max: f64,
    n: usize,
}

/// A bound on the ratio of two systems.
pub(crate) struct Aim {
    pub(crate) scenario: &'static str,
    pub(crate) metric: &'static str,
    pub(crate) system: &'static str,
    pub(crate) beside: &'static str,
    pub(crate) at_most: f64,
}

impl Results {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, series: Vec::new() }
    }

    /// One round's value.
    pub(crate) fn add(
        &mut self,
        scenario: &'static str,
        system: &'static str,
        metric: &str,
        unit: &str,
        value: f64,
    ) {
        let key = Key { scenario, system, metric: metric.to_owned() };
        match self.series.iter_mut().find(|series| series.key == key) {
            Some(series) => series.values.push(value),
            None => self.series.push(Series { key, unit: unit.to_owned(), values: vec![value] }),
        }
    }

    /// Adds the ratios of two systems, round by round, for all that both were measured by. Both sides of such a ratio
    /// come from the same seconds, so a machine that is slow for a while does not show in it.
    pub(crate) fn compare(&mut self, system: &'static str, beside: &'static str) {
        let ratio = |mine: &Series| {
            let other = self.series_of(mine.key.scenario, beside, &mine.key.metric)?;
            let values = mine.values.iter().zip(&other.values).map(|(mine, other)| mine / other).collect();
            let key = Key { metric: format!("{}_ratio", mine.key.metric), ..mine.key.clone() };
            Some(Series { key, unit: format!("x {beside}"), values })
        };
        let ratios: Vec<_> =
            self.series.iter().filter(|series| series.key.system == system).filter_map(ratio).collect();
        self.series.extend(ratios);
    }

    /// Says whether an aim was met.
    pub(crate) fn judge(&self, aim: &Aim) -> bool {
        let Some(ratio) = self.series_of(aim.scenario, aim.system, &format!("{}_ratio", aim.metric)) else {
            return false;
        };
        let got = median(&ratio.values);
        let met = got <= aim.at_most;
        println!(
            "aim: {} of {} at {} at most {:.2}x that of {}: {got:.2}x, {}",
            aim.metric,
            aim.system,
            aim.scenario,
            aim.at_most,
            aim.beside,
            if met { "met" } else { "MISSED" }
        );
        met
    }

    /// Writes `NAME.json` into `folder`.
    pub(crate) fn write(&self, machine: &Value, folder: &Path) -> Result<()> {
        let path = folder.join(format!("{}.json", self.name));
        fs::create_dir_all(folder)?;
        let rows: Vec<Row<'_>> = self.series.iter().map(Series::row).collect();
        let mut text = serde_json::to_string_pretty(&json!({"machine": machine, "rows": rows}))?;
        text.push('\n');
        fs::write(&path, text)?;
        note(format!("wrote {}", path.display()));
        Ok(())
    }

    /// A line per figure: every system's median and spread, and the ratio that [`Results::compare`] added for `system`.
    pub(crate) fn print(&self, systems: &[&str], system: &str) {
        let mut scenario = "";
        for (at, first) in self.series.iter().enumerate() {
            let key = &first.key;
            let shown_before = self.series[..at].iter().any(|earlier| same_line(&earlier.key, key));
            if shown_before || key.metric.ends_with("_ratio") || !systems.contains(&key.system) {
                continue;
            }
            if scenario != key.scenario {
                scenario = key.scenario;
                println!("\n{:<28}{}{:>22}", scenario, header(systems), "ratio");
            }
            let cells: String = systems.iter().map(|name| self.cell(key, name, &key.metric)).collect();
            let ratio = self.cell(key, system, &format!("{}_ratio", key.metric));
            println!("  {:<26}{cells}{ratio}", format!("{}, {}", key.metric, first.unit));
        }
        println!();
    }

    /// One line: a figure of several systems.
    pub(crate) fn print_parts(&self, scenario: &str, metric: &str, systems: &[&str]) {
        let part = |name: &&str| {
            let series = self.series_of(scenario, name, metric)?;
            Some(format!("{name} {} {}", series.shown(), series.unit))
        };
        let parts: Vec<String> = systems.iter().filter_map(part).collect();
        if !parts.is_empty() {
            println!("{metric}: {}", parts.join(", "));
        }
    }

    fn cell(&self, key: &Key, system: &str, metric: &str) -> String {
        let text = self.series_of(key.scenario, system, metric).map_or_else(|| "-".to_owned(), Series::shown);
        format!("{text:>22}")
    }

    fn series_of(&self, scenario: &str, system: &str, metric: &str) -> Option<&Series> {
        let is = |key: &Key| key.scenario == scenario && key.system == system && key.metric == metric;
        self.series.iter().find(|series| is(&series.key))
    }
}

impl Series {
    fn row(&self) -> Row<'_> {
        let (min, max) = spread(&self.values);
        Row {
            key: &self.key,
            unit: &self.unit,
            median: rounded(median(&self.values)),
            min: rounded(min),
            max: rounded(max),
            n: self.values.len(),
        }
    }

    fn shown(&self) -> String {
        let (min, max) = spread(&self.values);
        let [middle, min, max] = [median(&self.values), min, max].map(short);
        format!("{middle} ({min}-{max})")
    }
}

fn same_line(one: &Key, other: &Key) -> bool {
    one.scenario == other.scenario && one.metric == other.metric
}

fn header(systems: &[&str]) -> String {
    systems.iter().map(|name| format!("{name:>22}")).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.get(sorted.len() / 2), sorted.get(sorted.len().saturating_sub(1) / 2)) {
        (Some(upper), Some(lower)) => f64::midpoint(*upper, *lower),
        (Some(_) | None, _) => f64::NAN,
    }
}

fn spread(values: &[f64]) -> (f64, f64) {
    (
        values.iter().copied().fold(f64::INFINITY, f64::min),
        values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    )
}

/// Three decimals: more than any of it is worth.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        medium if medium >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let mut results = Results::new("test");
        for (mine, other) in [(10.0, 10.0), (30.0, 20.0), (8.0, 4.0)] {
            results.add("s", "mine", "cost", "us", mine);
            results.add("s", "other", "cost", "us", other);
            results.add("s", "mine", "only", "us", 1.0);
        }
        results.compare("mine", "other");
        let row = |metric| results.series_of("s", "mine", metric).map(Series::row).unwrap();
        let ratio = row("cost_ratio");
        assert_eq!((ratio.median, ratio.min, ratio.max, ratio.n), (1.5, 1.0, 2.0, 3));
        assert!(results.series_of("s", "mine", "only_ratio").is_none());
        let aim = |at_most| Aim { scenario: "s", metric: "cost", system: "mine", beside: "other", at_most };
        assert!(results.judge(&aim(1.5)) && !results.judge(&aim(1.4)));
        let written = serde_json::to_value(row("cost")).unwrap();
        let wanted = json!({
            "scenario": "s", "system": "mine", "metric": "cost", "unit": "us",
            "median": 10.0, "min": 8.0, "max": 30.0, "n": 3,
        });
        assert_eq!(written, wanted);
    }
}
