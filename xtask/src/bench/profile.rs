//! Where the CPU time of a chain goes: `perf`, if it is there or can be installed; one text file per proxy.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::Result;

use super::chains::Chain;
use super::load::Load;
use crate::command::{output, run, tool, which};
use crate::packages::is_root;
use crate::progress::note;

/// Profiles every proxy of the chain, one after the other, under a load of small requests; writes
/// `path-profile-PROXY.txt` into `folder`.
///
/// # Errors
/// The load fails. A machine without a working `perf` gets a note only.
pub(crate) fn profile(
    load: &Load<'_>,
    chain: &Chain,
    (connections, streams): (u32, u32),
    folder: &Path,
) -> Result<()> {
    if chain.proxies.is_empty() {
        return Ok(());
    }
    if !available() {
        note("no profile: `perf` is not here (Debian package linux-perf)");
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    let data = std::env::temp_dir().join(format!("hawser-bench-{}.perf", std::process::id()));
    for proxy in &chain.proxies {
        let mut recording = tool("perf")
            .args(["record", "--quiet", "--freq", FREQUENCY, "--pid", &proxy.pid.to_string(), "--output"])
            .arg(&data)
            .args(["--", "sleep", &SECONDS.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let loaded = load.small(chain, connections, streams, SECONDS + 1.0);
        let recorded = recording.wait()?;
        loaded?;
        if !recorded.success() {
            note(format!("no profile: `perf record` ended with {recorded}; it needs root"));
            return Ok(());
        }
        let report = ["report", "--stdio", "--no-children", "--field-separator=;", "--sort=comm,dso,symbol"];
        let report = output(tool("perf").args(report).arg("--input").arg(&data))?;
        fs::remove_file(&data)?;
        let file = folder.join(format!("path-profile-{}.txt", proxy.name));
        fs::write(&file, summary(&report)?)?;
        note(format!("profile of {}: {}", proxy.name, file.display()));
    }
    Ok(())
}

fn available() -> bool {
    if which("perf").is_some() {
        return true;
    }
    let install = ["install", "-y", "-qq", "--no-install-recommends", "linux-perf"];
    is_root() && run(tool("apt-get").args(install).env("DEBIAN_FRONTEND", "noninteractive")).is_ok()
}

/// A line of `perf report`.
struct Line<'a> {
    percent: f64,
    thread: &'a str,
    object: &'a str,
    symbol: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().splitn(4, ';').map(str::trim);
        let percent = fields.next()?.trim_end_matches('%').parse().ok()?;
        let (thread, object, symbol) = (fields.next()?, fields.next()?, fields.next()?);
        // Columns that only some processors fill follow the symbol.
        Some(Self { percent, thread, object, symbol: symbol.split(';').next().unwrap_or(symbol).trim() })
    }

    /// The crate, library or kind of work that a symbol belongs to.
    fn part(&self) -> &'a str {
        let Some(name) = self.symbol.strip_prefix("[.] ") else { return "kernel" };
        let plain = name.trim_start_matches('_');
        let is = |words: &[&str]| words.iter().any(|word| plain.starts_with(word));
        if is(&[
            "int_malloc",
            "int_free",
            "int_realloc",
            "malloc",
            "free",
            "calloc",
            "realloc",
            "cfree",
            "unlink_chunk",
        ]) {
            return "allocator";
        }
        if is(&["mem", "str"]) {
            return "copies and comparisons";
        }
        if is(&["aws_lc", "gcm", "aes", "sha", "skip_iv_len", "iv_len_12"]) {
            return "cryptography";
        }
        match name.split_once("::") {
            Some((first, _)) => first.rsplit(['<', '&', ' ', '(']).next().unwrap_or(first),
            None => self.object,
        }
    }
}

/// By thread, by part, and the longest symbols.
fn summary(report: &str) -> Result<String> {
    let lines: Vec<Line<'_>> = report.lines().filter_map(Line::parse).collect();
    let mut text = String::from("CPU time, percent of the process.\n");
    let by = |key: &dyn Fn(&Line<'_>) -> String| {
        let mut sums = BTreeMap::<String, f64>::new();
        for line in &lines {
            *sums.entry(key(line)).or_default() += line.percent;
        }
        let mut sums: Vec<_> = sums.into_iter().filter(|(_, percent)| *percent >= PERCENT_SHOWN).collect();
        sums.sort_by(|one, other| other.1.total_cmp(&one.1));
        sums
    };
    let tables = [
        ("By thread", by(&|line| line.thread.to_owned())),
        ("By crate, library or kind of work", by(&|line| line.part().to_owned())),
        ("By symbol", by(&|line| format!("{:<16} {}", line.object, line.symbol))),
    ];
    for (title, rows) in tables {
        writeln!(text, "\n{title}")?;
        for (name, percent) in rows {
            writeln!(text, "{percent:7.2}  {name}")?;
        }
    }
    Ok(text)
}

/// Samples a second; a prime, so that nothing periodic hides between them.
const FREQUENCY: &str = "997";
const SECONDS: f64 = 4.0;
const PERCENT_SHOWN: f64 = 0.2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_put_together_by_what_they_belong_to() {
        let report = "# comment\n\n  10.50%;edge-0;hawser;[.] h2::proto::Connection<T,P,B>::poll;-;-\n\
            2.25%;edge-0;hawser;[.] <h2::codec::Framed as core::Future>::poll\n\
            1.00%;edge-1;hawser;[.] _int_malloc\n3.00%;edge-1;[kernel.kallsyms];[k] iowrite16\n\
            4.00%;haproxy;libcrypto.so.3;[.] EVP_Something\n0.01%;edge-1;hawser;[.] quinn::rare";
        let text = summary(report).unwrap();
        for line in [
            "  12.75  edge-0",
            "  12.75  h2",
            "   1.00  allocator",
            "   3.00  kernel",
            "   4.00  libcrypto.so.3",
        ] {
            assert!(text.lines().any(|there| there == line), "{line:?} in {text}");
        }
        assert!(!text.contains("quinn"), "too little to show");
    }
}
