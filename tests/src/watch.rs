//! A watch that runs beside the test: kubectl or curl, until it ends by itself.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use crate::{Ran, until};

/// A running one that has printed its first line; killed when dropped.
pub struct Watch {
    child: Child,
    out: BufReader<ChildStdout>,
    first: String,
}

impl Watch {
    /// Runs the command until there is a line.
    #[must_use]
    pub fn begin(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        let _read = out.read_line(&mut first).unwrap();
        assert!(!first.is_empty(), "{command:?} watches nothing");
        Self { child, out, first }
    }

    /// Waits for its end; what it printed must fit into a pipe.
    #[must_use]
    pub fn ended(mut self, within: Duration) -> Ran {
        let mut status = None;
        until("the watch ends", within, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let (mut stdout, mut stderr) = (std::mem::take(&mut self.first), String::new());
        let _read = self.out.read_to_string(&mut stdout).unwrap();
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
