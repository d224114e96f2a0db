//! Every command in README and docs works as it stands there: kubectl commands are run, `hawser` and `cargo xtask` commands are
//! taken by the program they are written for.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::{path::Path, process::Command};

use hawser_tests::{ok, up};

/// Indented or fenced lines that begin with a program of ours.
fn commands(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    let ours =
        |line: &&str| ["hawser ", "kubectl ", "cargo xtask "].iter().any(|program| line.starts_with(program));
    let code = |line: &&str| line.is_ascii() && !line.contains('`') && !line.ends_with('.');
    lines.filter(ours).filter(code).map(str::to_owned).collect()
}

/// The command itself: without its comment, and what it is piped into.
fn words(line: &str) -> Vec<&str> {
    let line = line.split(" # ").next().unwrap().split(" | ").next().unwrap();
    line.split_whitespace().collect()
}

fn check(line: &str, root: &Path) {
    let words = words(line);
    match words.as_slice() {
        ["kubectl", args @ ..] => {
            let _shown = ok(&mut up().kubectl_as(&up().kubeconfig, args));
        }
        ["hawser", args @ ..] => {
            let program = std::fs::read_link(format!("/proc/{}/exe", up().edge_pid())).unwrap();
            let help = ok(Command::new(program).args(args).arg("--help"));
            assert!(help.contains("Usage: hawser"), "{line}\n{help}");
        }
        ["cargo", "xtask", args @ ..] => {
            let help = ok(Command::new("cargo").args(["xtask"]).args(args).arg("--help").current_dir(root));
            assert!(help.contains("Usage: "), "{line}\n{help}");
        }
        _ => assert!(line.is_empty(), "not a command: {line}"),
    }
}

#[test]
fn every_command_is_taken() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut checked = 0;
    for file in docs.chain([root.join("README.md")]) {
        for line in commands(&std::fs::read_to_string(&file).unwrap()) {
            check(&line, root);
            checked += 1;
        }
    }
    assert!(checked >= 10, "only {checked} commands found");
}
