//! A command prints through Hawser what it prints directly, and ends with the same exit code: the commands in
//! `same_as_direct/*.txt`, with the newest kubectl and with Debian's, over WebSocket and over SPDY.

use hawser_tests::same::{Client, same_as_direct};

#[test]
fn reading() {
    same_as_direct("reading", Client::Newest);
}

#[test]
fn reading_with_an_old_kubectl() {
    same_as_direct("reading", Client::Debian);
}

#[test]
fn writing() {
    same_as_direct("writing", Client::Newest);
}

#[test]
fn writing_with_an_old_kubectl() {
    same_as_direct("writing", Client::Debian);
}

#[test]
fn rollouts() {
    same_as_direct("rollouts", Client::Newest);
}

#[test]
fn rollouts_with_an_old_kubectl() {
    same_as_direct("rollouts", Client::Debian);
}

#[test]
fn streams() {
    same_as_direct("streams", Client::Newest);
}

#[test]
fn streams_over_spdy() {
    same_as_direct("streams", Client::NewestSpdy);
}

#[test]
fn streams_with_an_old_kubectl() {
    same_as_direct("streams", Client::Debian);
}
