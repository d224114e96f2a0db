//! Which end-to-end test files there are, and in which order they run: by the feature that each requires in
//! tests/Cargo.toml.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The features, in the order of the runs: what leaves a cluster unwell for a while comes behind all others.
pub(crate) const FEATURES: [&str; 2] = ["e2e", "e2e-last"];

/// Names of the files that a run takes.
pub(super) fn of_feature(metadata: &Value, feature: &str) -> Vec<String> {
    let targets = targets(metadata).into_iter().filter(|target| requires(target, feature));
    targets.filter_map(|target| Some(target["name"].as_str()?.to_owned())).collect()
}

/// What is wrong with files among the end-to-end tests that no run takes.
pub(crate) fn forgotten(metadata: &Value, files: &[PathBuf]) -> Vec<String> {
    let runs = |target: &Value| FEATURES.iter().any(|feature| requires(target, feature));
    let targets: Vec<Value> = targets(metadata).into_iter().filter(runs).collect();
    let taken =
        |file: &Path| targets.iter().any(|target| target["src_path"].as_str().map(Path::new) == Some(file));
    let left = files.iter().filter(|file| is_end_to_end(file) && !taken(file));
    let advice = FEATURES.join("\"] or [\"");
    left.map(|file| {
        format!(
            "{}: needs a [[test]] in tests/Cargo.toml with required-features = [\"{advice}\"]",
            file.display()
        )
    })
    .collect()
}

/// Whether it is a test program of its own, not a part of one.
pub(crate) fn is_end_to_end(file: &Path) -> bool {
    file.parent().is_some_and(|folder| folder.ends_with("tests/e2e"))
}

fn targets(metadata: &Value) -> Vec<Value> {
    list(metadata, "packages").iter().flat_map(|package| list(package, "targets")).cloned().collect()
}

fn requires(target: &Value, feature: &str) -> bool {
    matches!(list(target, "required-features"), [only] if only == feature)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_file_is_run_once_or_missed() {
        let target = |name: &str, features: &[&str]| json!({"name": name, "src_path": path(name), "required-features": features});
        let metadata = json!({"packages": [{"targets": [
            target("a", &["e2e"]),
            target("b", &["e2e-last"]),
            target("c", &["e2e-soon"]),
            target("d", &[]),
        ]}]});
        assert_eq!(FEATURES.map(|feature| of_feature(&metadata, feature)), [["a"], ["b"]]);
        let files = ["a", "b", "c", "d", "e", "own_edge/edge"].map(|name| PathBuf::from(path(name)));
        let faults = forgotten(&metadata, &files);
        let named: Vec<_> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        assert_eq!(named, ["c", "d", "e"].map(path));
    }

    fn path(name: &str) -> String {
        format!("/hawser/tests/e2e/{name}.rs")
    }
}
