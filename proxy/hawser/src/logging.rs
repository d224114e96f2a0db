//! Logs: text for a terminal, JSON for a collector, on standard error; written by a thread of its own, so that a slow
//! reader blocks no worker. What does not fit is dropped and counted, the newest first. The last lines before the end are
//! waited for, but not for ever.

use std::{
    io::{IsTerminal as _, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use clap::Args;
use hawser_kube::clock::{Clock as _, SystemClock};
use tracing_subscriber::{
    EnvFilter,
    filter::{Directive, LevelFilter},
    fmt::MakeWriter,
};

use crate::cli::Format;

/// What is logged.
#[derive(Args, Clone)]
pub(crate) struct Filter {
    /// What is logged: a level (error, warn, info, debug, trace, off), and PART=LEVEL for parts of the program that are to
    /// have another, for example info,hawser_edge=debug
    #[arg(long = "log-filter", env = "HAWSER_LOG", default_value = "info", value_parser = filter, value_name = "FILTER")]
    filter: EnvFilter,
}

/// The running log; when it is dropped, what was logged before is written.
pub(crate) struct Log(Lines);

/// Starts logging.
pub(crate) fn start(format: Format, filter: Filter) -> anyhow::Result<Log> {
    let log = Log(Lines::start(std::io::stderr())?);
    let base = tracing_subscriber::fmt().with_env_filter(filter.filter).with_writer(log.0.clone());
    match format {
        Format::Text => base.with_ansi(std::io::stderr().is_terminal()).init(),
        Format::Json => base.json().flatten_event(true).init(),
    }
    Ok(log)
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.written(LAST_LINES_WAIT);
    }
}

/// Reads a filter. A name without a level would silence everything else, and is most often a level misspelt.
fn filter(text: &str) -> Result<EnvFilter, String> {
    let mut all = EnvFilter::default().add_directive(LevelFilter::INFO.into());
    let mut position = 1;
    for part in text.split(',') {
        let level = part.rsplit('=').next().unwrap_or_default().trim().to_ascii_lowercase();
        let read = part.trim().parse::<Directive>().ok();
        match read.filter(|_| LEVELS.contains(&level.as_str())) {
            Some(directive) => all = all.add_directive(directive),
            None if part.trim().is_empty() => {}
            None => {
                return Err(format!(
                    "{part:?} at position {position} is neither a level (error, warn, info, debug, trace, off) nor PART=LEVEL; \
                     write for example info,hawser_edge=debug (HAWSER_LOG counts where the flag is not given)"
                ));
            }
        }
        position += part.chars().count() + 1;
    }
    Ok(all)
}

/// What the thread is to do.
enum Order {
    Write(Vec<u8>),
    /// Tell when everything before is written.
    Tell(SyncSender<()>),
}

fn write(queue: &Receiver<Order>, lost: &AtomicU64, mut out: impl Write) {
    while let Ok(order) = queue.recv() {
        let lost = lost.swap(0, Ordering::Relaxed);
        // Nobody is left to be told that standard error is gone.
        if lost > 0 {
            writeln!(out, "{lost} log lines were dropped: standard error is not read fast enough").ok();
        }
        match order {
            Order::Write(line) => out.write_all(&line).ok(),
            // Whoever asked may have stopped waiting.
            Order::Tell(done) => done.try_send(()).ok(),
        };
    }
}

/// Where events are written to: the queue.
#[derive(Clone)]
struct Lines {
    queue: SyncSender<Order>,
    lost: Arc<AtomicU64>,
}

impl Lines {
    fn start(out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (queue, orders) = sync_channel(LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let lines = Self { queue, lost: Arc::clone(&lost) };
        thread::Builder::new().name("log".to_owned()).spawn(move || write(&orders, &lost, out))?;
        Ok(lines)
    }

    /// Waits until everything so far is written, or `wait` is over.
    fn written(&self, wait: Duration) {
        let began = SystemClock.now();
        let left = || wait.saturating_sub(SystemClock.now().saturating_duration_since(began));
        let (done, told) = sync_channel(1);
        let mut order = Order::Tell(done);
        while let Err(TrySendError::Full(again)) = self.queue.try_send(order) {
            if left().is_zero() {
                return;
            }
            thread::sleep(FULL_WAIT);
            order = again;
        }
        told.recv_timeout(left()).ok();
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        match self.queue.try_send(Order::Write(line.to_vec())) {
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

/// By their names alone: tracing also reads numbers, and nothing at all as the most.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
/// Lines that wait for standard error.
const LINES_MAX: usize = 4096;
/// How long the end is put off for lines that nobody takes.
const LAST_LINES_WAIT: Duration = Duration::from_secs(5);
/// Between two looks at a full queue.
const FULL_WAIT: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes its time for each line.
    struct Slow(SyncSender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            thread::sleep(Duration::from_millis(1));
            self.0.send(line.to_vec()).map_err(std::io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_last_lines_are_written_before_the_end() {
        let (out, seen) = sync_channel(100);
        let mut lines = Lines::start(Slow(out)).unwrap();
        for number in 0..100 {
            lines.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        lines.written(Duration::from_secs(60));
        let seen = seen.try_iter().collect::<Vec<_>>().concat();
        assert!(seen.ends_with(b"\n99\n"), "{}", String::from_utf8_lossy(&seen));
    }

    #[test]
    fn nobody_waits_for_ever_for_a_reader_that_does_not_read() {
        for lines_waiting in [1, LINES_MAX + 10] {
            // No room: the first line blocks the thread until the test is over.
            let (out, _unread) = sync_channel(0);
            let mut lines = Lines::start(Slow(out)).unwrap();
            for _ in 0..lines_waiting {
                lines.write_all(b"line\n").unwrap();
            }
            lines.written(Duration::from_millis(50));
        }
    }

    #[test]
    fn filters_are_levels_for_all_and_for_parts() {
        for (good, shown) in [
            ("", "info"),
            ("debug", "debug"),
            ("WARN", "warn"),
            ("hawser_edge=debug", "hawser_edge=debug,info"),
            (" off, hawser_agent::connect=trace", "hawser_agent::connect=trace,off"),
        ] {
            assert_eq!(filter(good).unwrap().to_string(), shown, "{good:?}");
        }
        for (bad, told) in [
            ("debgu", "\"debgu\" at position 1 is neither"),
            ("info,hawser_edge", "\"hawser_edge\" at position 6 is neither"),
            ("info,hawser_edge=debgu,warn", "\"hawser_edge=debgu\" at position 6 is neither"),
            ("info,=/", "\"=/\" at position 6"),
            ("info,hawser_edge=", "\"hawser_edge=\" at position 6"),
            ("hawser_edge=3", "\"hawser_edge=3\" at position 1"),
            ("3", "\"3\" at position 1"),
        ] {
            let refused = filter(bad).unwrap_err();
            assert!(refused.starts_with(told) && refused.contains("info,hawser_edge=debug"), "{refused}");
        }
    }
}
