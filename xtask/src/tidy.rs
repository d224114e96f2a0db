//! `cargo xtask tidy`: what neither compiler nor clippy checks. Layers, documents, and a report of
//! the longest files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::hawser::metadata;
use crate::state::repository;
use crate::test::{forgotten, is_end_to_end};

mod documents;

use documents::documents;

/// Prints every fault found; says whether there was none.
pub(crate) fn tidy() -> Result<bool> {
    let root = repository();
    let files = source_files(root);
    let metadata = metadata()?;
    let mut faults = layers(&dependencies(&metadata)?);
    faults.extend(mod_files(&files));
    faults.extend(promises(&files)?);
    faults.extend(forgotten(&metadata, &files));
    faults.extend(documents(root)?);
    for fault in &faults {
        println!("tidy: {fault}");
    }
    report_longest(root, &files)?;
    Ok(faults.is_empty())
}

/// Each crate of the workspace with the workspace's crates that it uses, in tests and build too.
fn dependencies(metadata: &Value) -> Result<BTreeMap<String, Vec<String>>> {
    let mut found = BTreeMap::new();
    for package in metadata["packages"].as_array().context("cargo metadata lists no packages")? {
        let local = |dependency: &&Value| dependency["path"].is_string();
        let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
        let used = package["dependencies"].as_array().into_iter().flatten().filter(local).map(name).collect();
        found.insert(name(package), used);
    }
    Ok(found)
}

/// A room depends on lower layers only; rooms of one layer meet in the binary.
fn layers(dependencies: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let layer = |name: &str| LAYERS.iter().position(|rooms| rooms.contains(&name));
    let mut faults = Vec::new();
    for (name, used) in dependencies {
        if OUTSIDE.contains(&name.as_str()) {
            continue;
        }
        let Some(own) = layer(name) else {
            faults.push(format!("{name}: in no layer; give it one in xtask/src/tidy.rs"));
            continue;
        };
        for other in used {
            match layer(other) {
                Some(theirs) if theirs < own => {}
                Some(theirs) => {
                    faults.push(format!("{name} (layer {own}) must not use {other} (layer {theirs})"))
                }
                None => faults.push(format!("{name} must not use {other}, which is in no layer")),
            }
        }
    }
    faults
}

fn mod_files(files: &[PathBuf]) -> Vec<String> {
    let bad = files.iter().filter(|file| file.file_name().is_some_and(|name| name == "mod.rs"));
    bad.map(|file| format!("{}: name it after its folder (`forward.rs` beside `forward/`)", file.display()))
        .collect()
}

/// Each end-to-end test file begins with the promise that it tests.
fn promises(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| is_end_to_end(file)) {
        if !fs::read_to_string(file)?.starts_with("//! ") {
            faults.push(format!("{}: must begin with `//! ` and the promise that it tests", file.display()));
        }
    }
    Ok(faults)
}

fn report_longest(root: &Path, files: &[PathBuf]) -> Result<()> {
    let mut counted = Vec::new();
    for file in files {
        counted.push((fs::read_to_string(file)?.lines().count(), file));
    }
    counted.sort_by(|a, b| b.cmp(a));
    println!("longest files (a report, not a gate):");
    for (lines, file) in counted.iter().take(LONGEST_SHOWN) {
        println!("  {lines:5}  {}", file.strip_prefix(root).unwrap_or(file).display());
    }
    Ok(())
}

fn source_files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = SOURCES.iter().map(|name| root.join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// From the bottom up; a crate may use what stands in lines above its own.
const LAYERS: &[&[&str]] = &[
    &["hawser-kube", "hawser-http1", "hawser-frames"],
    &["hawser-policy"],
    &["hawser-tunnel", "hawser-transport", "hawser-identity", "hawser-store"],
    &["hawser-audit"],
    &["hawser-edge", "hawser-agent"],
    &["hawser-console"],
    &["hawser"],
];
/// Tests, benches and developer commands may use everything.
const OUTSIDE: &[&str] = &["hawser-tests", "hawser-bench", "xtask"];
const SOURCES: &[&str] = &["proxy", "ebpf", "bench", "tests", "xtask"];
const LONGEST_SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, uses: &str) -> usize {
        layers(&BTreeMap::from([(name.to_owned(), vec![uses.to_owned()])])).len()
    }

    #[test]
    fn rooms_use_lower_layers_only() {
        assert_eq!(check("hawser-edge", "hawser-audit"), 0);
        assert_eq!(check("hawser-edge", "hawser-agent"), 1, "the same layer");
        assert_eq!(check("hawser-kube", "hawser-policy"), 1, "a higher layer");
        assert_eq!(check("hawser-unheard-of", "hawser-kube"), 1, "no layer");
        assert_eq!(check("hawser-tests", "hawser-edge"), 0);
    }
}
