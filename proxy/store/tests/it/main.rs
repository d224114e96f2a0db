//! The store through its public door, one file for each promise.

#![expect(
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail by panicking, count little and print what they measured"
)]

mod damage;
mod limits;
mod lists;
mod objects;
mod processes;
mod support;
mod watches;
