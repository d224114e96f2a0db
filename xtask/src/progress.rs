//! Steps and notes on standard error, each with the time it took. Standard output stays free for
//! results. Colours and rewriting of a line only on a terminal.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::interrupt;

/// Runs one step of a longer command and reports how long it took, whatever came of it.
pub(crate) fn step<T>(what: impl Display, work: impl FnOnce() -> Result<T>) -> Result<T> {
    interrupt::check()?;
    let terminal = stderr().is_terminal();
    if terminal {
        eprint!("  … {what}\r");
        stderr().flush()?;
    }
    let started = Instant::now();
    let result = work();
    let took = seconds(started.elapsed());
    match (&result, terminal) {
        (Ok(_), true) => eprintln!("\x1b[K  \x1b[32m✓\x1b[0m {what} \x1b[2m{took}\x1b[0m"),
        (Ok(_), false) => eprintln!("  ok {what} ({took})"),
        (Err(_), true) => eprintln!("\x1b[K  \x1b[31m✗\x1b[0m {what} \x1b[2m{took}\x1b[0m"),
        (Err(_), false) => eprintln!("  FAILED {what} ({took})"),
    }
    result
}

/// Says something once, in a line of its own.
pub(crate) fn note(what: impl Display) {
    eprintln!("  {what}");
}

/// A heading in front of several steps.
pub(crate) fn heading(what: impl Display) {
    if stderr().is_terminal() { eprintln!("\x1b[1m{what}\x1b[0m") } else { eprintln!("{what}") }
}

/// `3.1 s` or `6 min 12 s`.
pub(crate) fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    if whole < 120 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_like_a_person_says_them() {
        assert_eq!(seconds(Duration::from_millis(3_140)), "3.1 s");
        assert_eq!(seconds(Duration::from_secs(119)), "119.0 s");
        assert_eq!(seconds(Duration::from_secs(372)), "6 min 12 s");
    }
}
