//! What commands print: results to standard output, faults to standard error, colours only on a terminal.
#![expect(clippy::print_stderr, reason = "this is where the command line prints")]

use std::io::{IsTerminal as _, Write as _};

use serde_json::json;

use crate::cli::Format;

/// One line of the result.
pub(crate) fn line(text: impl std::fmt::Display) {
    raw(&format!("{text}\n"));
}

/// The result as it is, without a line end of our own. A reader that has seen enough (`| head`) is no fault.
pub(crate) fn raw(text: &str) {
    std::io::stdout().write_all(text.as_bytes()).ok();
}

/// Something the user should know, beside the result.
pub(crate) fn note(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// Why a command failed, with its causes.
pub(crate) fn error(error: &anyhow::Error) {
    let label = if std::io::stderr().is_terminal() { "\x1b[1;31merror\x1b[0m" } else { "error" };
    eprintln!("{label}: {error:#}");
}

/// A table with aligned columns.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let print = |cells: Vec<&str>| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        line(padded.join("   ").trim_end());
    };
    print(header.to_vec());
    for row in rows {
        print(row.iter().map(String::as_str).collect());
    }
}

/// `hawser version`.
pub(crate) fn version(format: Format) -> anyhow::Result<()> {
    match format {
        Format::Text => line(format_args!("hawser {}", env!("CARGO_PKG_VERSION"))),
        Format::Json => line(serde_json::to_string(&json!({"version": env!("CARGO_PKG_VERSION")}))?),
    }
    Ok(())
}
