//! Ctrl-C and SIGTERM as a flag that long steps look at, so that `up` can clean up after itself.
#![expect(unsafe_code, reason = "the standard library has no signal handlers")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The user asked to stop. Commands end with [`EXIT_CODE`] for it.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Starts to listen for Ctrl-C and SIGTERM. Children in the terminal's foreground get the signal
/// from the terminal as well; background processes run in sessions of their own and do not.
pub(crate) fn listen() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, on_signal as *const () as libc::sighandler_t) };
    }
}

/// Whether a signal has come.
pub(crate) fn seen() -> bool {
    SEEN.load(Ordering::SeqCst)
}

/// Fails with [`Interrupted`] once a signal has come.
pub(crate) fn check() -> Result<()> {
    if seen() { Err(Interrupted.into()) } else { Ok(()) }
}

/// Forgets the signal, so that the clean-up it asked for is not interrupted by it again.
pub(crate) fn clear() {
    SEEN.store(false, Ordering::SeqCst);
}

/// Asks `done` again and again until it says yes; fails on a signal, on an error of `done`, and
/// after `limit`.
pub(crate) fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    loop {
        check()?;
        if done()? {
            return Ok(());
        }
        if started.elapsed() > limit {
            bail!("{what}: not within {} s", limit.as_secs());
        }
        sleep(POLL_EVERY);
    }
}

extern "C" fn on_signal(_: libc::c_int) {
    SEEN.store(true, Ordering::SeqCst);
}

/// What a shell reports for a program ended by Ctrl-C.
pub(crate) const EXIT_CODE: u8 = 130;
const POLL_EVERY: Duration = Duration::from_millis(100);
static SEEN: AtomicBool = AtomicBool::new(false);
