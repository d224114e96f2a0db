//! A command prints through Hawser what it prints directly, and ends with the same exit code: the commands in
//! `same_as_direct/*.txt`, with the newest kubectl and with Debian's, over WebSocket and over SPDY.
#![expect(missing_docs, reason = "a test")]

use hawser_tests::same::{Client, same_as_direct};

#[test]
fn reading() {
    same_as_direct("reading", Client::Newest);
}

#[test]
fn reading_with_an_old_kubectl() {
    same_as_direct("reading", Client::Debian);
}
