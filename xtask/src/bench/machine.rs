//! What a figure was measured on.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::command::{output, tool};
use crate::hawser::cargo;
use crate::state::repository;

/// Facts of the machine and the programs, for the results file.
pub(crate) fn facts() -> Value {
    let repository = repository().to_string_lossy();
    json!({
        "cpu": field("/proc/cpuinfo", "model name"),
        "cores": cores(),
        "memory_mib": field("/proc/meminfo", "MemTotal")
            .and_then(|text| Some(text.split_whitespace().next()?.parse::<u64>().ok()? / 1024)),
        "kernel": read("/proc/sys/kernel/osrelease"),
        "load_average": read("/proc/loadavg"),
        "system": field_after("/etc/os-release", "PRETTY_NAME", '='),
        "date": said("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        "rustc": said("rustc", &["-V"]),
        "haproxy": said("haproxy", &["-v"]),
        "commit": said("git", &["-C", &repository, "describe", "--always", "--dirty"]),
    })
}

/// Cores that processes of ours may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Work of others in the last minute, in cores.
pub(crate) fn busy_cores() -> f64 {
    let text = read("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// Names the toolchain that built the programs, though it may differ from the shell's.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let beside = Path::new(&cargo()).with_file_name(program);
    let program = if beside.is_file() { beside } else { program.into() };
    let text = output(tool(program).args(arguments)).ok()?;
    Some(text.lines().next()?.trim().to_owned())
}

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn field(path: &str, name: &str) -> Option<String> {
    field_after(path, name, ':')
}

fn field_after(path: &str, name: &str, separator: char) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let value = |line: &str| {
        let (key, value) = line.split_once(separator)?;
        (key.trim() == name).then(|| value.trim().trim_matches('"').to_owned())
    };
    text.lines().find_map(value)
}
