//! Logs: text for a terminal, JSON for a collector, on standard error; written by a thread of its own, so that a slow
//! reader blocks no worker. What does not fit is dropped and counted, the newest first.

use std::{
    io::{IsTerminal as _, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::cli::Format;

/// Starts logging. `HAWSER_LOG` holds filters (`info`, `hawser_edge=debug`).
pub(crate) fn start(format: Format) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .with_env_var("HAWSER_LOG")
        .with_default_directive(tracing::Level::INFO.into())
        .from_env_lossy();
    let (lines, queue) = sync_channel(LINES_MAX);
    let lost = Arc::new(AtomicU64::new(0));
    let writer = Lines { lines, lost: Arc::clone(&lost) };
    thread::Builder::new().name("log".to_owned()).spawn(move || write(&queue, &lost))?;
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match format {
        Format::Text => base.with_ansi(std::io::stderr().is_terminal()).init(),
        Format::Json => base.json().flatten_event(true).init(),
    }
    Ok(())
}

fn write(queue: &Receiver<Vec<u8>>, lost: &AtomicU64) {
    let mut out = std::io::stderr();
    while let Ok(line) = queue.recv() {
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0
            && writeln!(out, "{lost} log lines were dropped: standard error is not read fast enough").is_err()
        {
            continue;
        }
        // Nobody is left to be told that standard error is gone.
        out.write_all(&line).ok();
    }
}

/// Where events are written to: the queue.
#[derive(Clone)]
struct Lines {
    lines: SyncSender<Vec<u8>>,
    lost: Arc<AtomicU64>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        match self.lines.try_send(line.to_vec()) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Lines that wait for standard error.
const LINES_MAX: usize = 4096;
