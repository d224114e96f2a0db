//! What the Markdown files of the repository name exists: paths, links, tests, and the step that something open belongs to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Every fault of every document.
pub(super) fn documents(root: &Path) -> Result<Vec<String>> {
    let tops: Vec<String> = fs::read_dir(root)?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_source(name))
        .collect();
    let mut faults = Vec::new();
    for file in markdown_files(root) {
        let text = fs::read_to_string(&file)?;
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let folder = file.parent().unwrap_or(root);
        let prose = prose(&text);
        let words = quoted(&prose);
        let missing = paths(&words, &tops).filter(|path| !root.join(path).exists());
        faults.extend(missing.map(|path| format!("{name} names {path}, which is not there")));
        let broken = links(&prose).filter(|link| !folder.join(link).exists());
        faults.extend(broken.map(|link| format!("{name} links to {link}, which is not there")));
        let tests = words.iter().filter_map(|word| word.split_once(".rs::"));
        let unknown = tests.filter(|(file, test)| !has_test(&root.join(format!("{file}.rs")), test));
        faults
            .extend(unknown.map(|(file, test)| format!("{name} names {file}.rs::{test}, which is no test")));
        faults
            .extend(homeless(&text).map(|row| format!("{name}, {row}: names none of {}", STEPS.join(", "))));
    }
    Ok(faults)
}

fn markdown_files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && is_source(&entry.file_name().to_string_lossy()) {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Neither built nor git's own.
fn is_source(name: &str) -> bool {
    name != "target" && name != ".git"
}

/// The text without its fenced blocks.
fn prose(text: &str) -> String {
    let parts = text.split("```").step_by(2);
    parts.collect()
}

/// What stands in backticks.
fn quoted(prose: &str) -> Vec<&str> {
    prose.split('`').skip(1).step_by(2).collect()
}

/// What begins with a folder of the repository or looks like a Rust file, and is no pattern.
fn paths<'a>(words: &'a [&'a str], tops: &'a [String]) -> impl Iterator<Item = &'a str> {
    let looks_like_path = |word: &&&str| {
        let top = word.split('/').next().unwrap_or_default();
        let rooted = word.contains('/') && (tops.iter().any(|name| name == top) || word.ends_with(".rs"));
        rooted && !word.contains(char::is_whitespace) && !word.contains(['*', '{', '<', '$', ':'])
    };
    words.iter().filter(looks_like_path).map(|path| path.trim_end_matches('/'))
}

/// Targets of links inside the repository, as they are from the document's folder.
fn links(prose: &str) -> impl Iterator<Item = &str> {
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files =
        targets.filter(|target| !target.contains("://")).filter_map(|target| target.split('#').next());
    files.filter(|file| !file.is_empty())
}

/// Whether the file has a test function of this name.
fn has_test(file: &Path, name: &str) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_function = |line: &str| {
        line.trim_start_matches("async ")
            .strip_prefix("fn ")
            .is_some_and(|rest| rest.strip_prefix(name).is_some_and(|rest| rest.starts_with('(')))
    };
    let is_test = |at: usize| {
        let above =
            lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        above.into_iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    };
    (0..lines.len()).any(|at| is_function(lines[at]) && is_test(at))
}

/// Rows of a table whose last cell says `open` or `partly` without the step that brings the rest, by their first cell.
fn homeless(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim);
        let (row, state) = (cells.next()?, cells.next_back()?);
        let open = state.starts_with("open") || state.starts_with("partly");
        (open && !STEPS.iter().any(|step| state.contains(step))).then_some(row)
    })
}

/// What comes later, by the names that tests/CONFORMANCE.md gives.
const STEPS: [&str; 4] = ["Proof", "Access", "Kernel path", "recorder"];

#[cfg(test)]
mod tests {
    use super::*;

    /// The faults of a repository with this document beside a room and its test.
    fn check(text: &str) -> Vec<String> {
        let thread = std::thread::current();
        let folder = format!("hawser-tidy-{}-{}", std::process::id(), thread.name().unwrap_or_default());
        let root = std::env::temp_dir().join(folder.replace("::", "-"));
        fs::create_dir_all(root.join("proxy/edge")).unwrap();
        fs::create_dir_all(root.join("docs")).unwrap();
        let source = "fn helper() {}\n#[test]\n#[expect(unused)]\nfn it_works() {}\n    #[tokio::test(start_paused = true)]\n    async fn later() {}\n";
        fs::write(root.join("proxy/edge/lib.rs"), source).unwrap();
        fs::write(root.join("docs/it.md"), text).unwrap();
        let faults = documents(&root).unwrap();
        fs::remove_dir_all(root).unwrap();
        faults
    }

    #[test]
    fn paths_exist() {
        let right =
            "`proxy/edge/` and `proxy/edge/lib.rs`, not `pods/exec`, `proxy/*/src` or `http://proxy/x`";
        assert_eq!(check(right), [""; 0]);
        assert_eq!(check("`proxy/agent`"), ["docs/it.md names proxy/agent, which is not there"]);
        assert_eq!(check("`edge/lib.rs`"), ["docs/it.md names edge/lib.rs, which is not there"]);
        assert_eq!(check("```sh\necho `proxy/agent`\n```\n`proxy/edge`"), [""; 0], "commands are no prose");
    }

    #[test]
    fn links_lead_somewhere() {
        let right = "[a](it.md), [b](../proxy/edge/lib.rs), [c](it.md#part), [d](#part), [e](https://example.com/x.md)";
        assert_eq!(check(right), [""; 0]);
        assert_eq!(check("[a](other.md)"), ["docs/it.md links to other.md, which is not there"]);
    }

    #[test]
    fn tests_exist() {
        assert_eq!(check("`proxy/edge/lib.rs::it_works`, `proxy/edge/lib.rs::later`"), [""; 0]);
        for wrong in
            ["proxy/edge/lib.rs::it_work", "proxy/edge/lib.rs::helper", "proxy/agent/lib.rs::it_works"]
        {
            assert_eq!(check(&format!("`{wrong}`")), [format!("docs/it.md names {wrong}, which is no test")]);
        }
    }

    #[test]
    fn what_is_open_belongs_somewhere() {
        let row = |state: &str| format!("| id | state |\n|---|---|\n| A1 | {state} |\n");
        for right in ["green", "partly: 20 runs; 200: Proof", "open: Access", "by design: none"] {
            assert_eq!(check(&row(right)), [""; 0], "{right}");
        }
        for wrong in ["open", "partly: 20 runs", "open: next"] {
            assert_eq!(check(&row(wrong)).len(), 1, "{wrong}");
        }
    }
}
