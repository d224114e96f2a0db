//! Links and streams over real sockets on the loopback device.

mod handover;
mod links;
mod registry;
mod streams;
mod support;
