//! Foreground commands: run, wait, and on failure say what was run and what it said.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A command that finds system tools even where the caller's PATH lacks the `sbin` folders.
pub(crate) fn tool(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", search_path()).stdin(Stdio::null());
    command
}

/// The same inside a network namespace. `ip netns exec` would remount /sys and hide the cgroups.
pub(crate) fn tool_in(netns: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = tool("nsenter");
    command.arg(format!("--net=/run/netns/{netns}")).arg("--").arg(program);
    command
}

/// Runs a command to its end; its output is shown only when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a command and returns its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = describe(command);
    let done = command.output().with_context(|| format!("cannot start `{shown}`"))?;
    if !done.status.success() {
        let said = [done.stderr, done.stdout].concat();
        bail!("`{shown}` failed ({}): {}", done.status, last_lines(&String::from_utf8_lossy(&said), 20));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Whether a command ends well; its output is thrown away.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Runs a command with `input` on its standard input and returns its standard output.
pub(crate) fn feed(command: &mut Command, input: &[u8]) -> Result<String> {
    let shown = describe(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).with_context(|| format!("`{shown}` closed its input"))?;
    }
    let done = child.wait_with_output()?;
    if !done.status.success() {
        bail!(
            "`{shown}` failed ({}): {}",
            done.status,
            last_lines(&String::from_utf8_lossy(&done.stderr), 20)
        );
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs a command whose output the user sees as it comes (builds), on standard error.
pub(crate) fn shown(command: &mut Command) -> Result<()> {
    let line = describe(command);
    let status =
        command.stdout(std::io::stderr()).status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Where a program of this name is found, if anywhere.
pub(crate) fn which(program: &str) -> Option<std::path::PathBuf> {
    std::env::split_paths(&search_path()).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// The end of a log file, for error messages.
pub(crate) fn log_tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    format!("{}:\n{}", log.display(), last_lines(&String::from_utf8_lossy(&text), 15))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_what_it_said() {
        let error = run(tool("sh").args(["-c", "echo out of luck >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c") && error.contains("out of luck") && error.contains("3"), "{error}");
    }

    #[test]
    fn input_reaches_the_command() {
        assert_eq!(feed(&mut tool("cat"), b"hello").unwrap(), "hello");
    }
}
