//! A watch that runs beside the test: kubectl or curl, until it ends by itself.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use crate::{Ran, until};

/// A running one that has printed its first line; killed when dropped.
pub struct Watch {
    child: Child,
    lines: Receiver<String>,
    seen: String,
}

impl Watch {
    /// Runs the command until there is a line.
    #[must_use]
    pub fn begin(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (said, lines) = channel();
        // Read at once, so that a full pipe never holds a client back.
        thread::spawn(move || {
            let mut line = String::new();
            while out.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                // Nobody listens once the watch is dropped.
                let _dropped = said.send(std::mem::take(&mut line));
            }
        });
        let mut watch = Self { child, lines, seen: String::new() };
        watch.sees("", Duration::from_secs(60));
        watch
    }

    /// Waits for a line that contains `text`.
    #[expect(clippy::disallowed_methods, reason = "tests live in real time")]
    pub fn sees(&mut self, text: &str, within: Duration) {
        let began = Instant::now();
        loop {
            let line = self.lines.recv_timeout(within.saturating_sub(began.elapsed()));
            let line = line.unwrap_or_else(|_| panic!("the watch has not seen {text:?}, but: {}", self.seen));
            self.seen.push_str(&line);
            if line.contains(text) {
                return;
            }
        }
    }

    /// Waits for its end.
    #[must_use]
    pub fn ended(mut self, within: Duration) -> Ran {
        let mut status = None;
        until("the watch ends", within, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let mut stdout = std::mem::take(&mut self.seen);
        stdout.extend(self.lines.iter());
        let mut stderr = String::new();
        let _read = self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        Ran { stdout, stderr, code: status.and_then(|status| status.code()).unwrap_or(-1) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill().and_then(|()| self.child.wait());
    }
}
