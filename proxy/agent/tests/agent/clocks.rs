//! An agent whose clock is not the edge's says so in its log, and by how much.

use std::{
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use hawser_kube::clock::{Clock, SystemClock};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::{beside_agent, server::Then};

/// The time by a clock that is ahead.
struct Ahead(SignedDuration);

impl Clock for Ahead {
    fn now(&self) -> Instant {
        SystemClock.now()
    }

    fn wall(&self) -> Timestamp {
        SystemClock.wall() + self.0
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_clock_that_is_off_is_told_with_its_difference() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let told = || String::from_utf8(log.0.lock().clone()).unwrap().contains(TOLD);
    beside_agent(
        Ahead(SignedDuration::from_hours(25)),
        async |_| Then::Close,
        async |mut acceptor, _, _| {
            while !told() {
                tokio::select! {
                    _ = acceptor.accept() => panic!("the agent takes a certificate that has ended by its clock"),
                    () = tokio::time::sleep(Duration::from_millis(10)) => {}
                }
            }
        },
    );
}

/// The edge's certificate is good for an hour.
const TOLD: &str = "is at least 24h ahead of the edge's: set the one that is wrong";
