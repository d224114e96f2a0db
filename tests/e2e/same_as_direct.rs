//! A command prints through Hawser what it prints directly, and ends with the same exit code: the commands in
//! `same_as_direct/*.txt`, with the newest kubectl and with Debian's, over WebSocket and over SPDY.

use hawser_tests::same::{Client, same_as_direct};

#[test]
fn reading() {
    same_as_direct("reading", &[Client::Newest, Client::Debian]);
}

#[test]
fn writing() {
    same_as_direct("writing", &[Client::Newest, Client::Debian]);
}

#[test]
fn rollouts() {
    same_as_direct("rollouts", &[Client::Newest, Client::Debian]);
}

#[test]
fn streams() {
    same_as_direct("streams", &[Client::Newest, Client::NewestSpdy, Client::Debian]);
}

#[test]
fn proxies() {
    same_as_direct("proxies", &[Client::Newest, Client::Debian]);
}
