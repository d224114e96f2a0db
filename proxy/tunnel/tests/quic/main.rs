//! Links and streams over real sockets on the loopback device.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod handover;
mod links;
mod registry;
mod streams;
mod support;
