//! CPU time of processes from the kernel's own accounting: nanoseconds on a core, all threads.

use std::{fs, io, ops::Sub};

/// Of several processes, in the caller's order.
pub(crate) struct OnCpu(Vec<u64>);

impl OnCpu {
    /// Reads it now.
    ///
    /// # Errors
    /// One of the processes has ended.
    pub(crate) fn of(pids: &[u32]) -> io::Result<Self> {
        pids.iter().map(|pid| nanoseconds(*pid)).collect::<io::Result<_>>().map(Self)
    }
}

impl Sub for OnCpu {
    type Output = Vec<u64>;

    /// What each process used since `earlier`.
    fn sub(self, earlier: Self) -> Vec<u64> {
        self.0.iter().zip(earlier.0).map(|(now, then)| now.saturating_sub(then)).collect()
    }
}

fn nanoseconds(pid: u32) -> io::Result<u64> {
    let gone = |error| io::Error::new(io::ErrorKind::NotFound, format!("process {pid}: {error}"));
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).map_err(gone)? {
        // A thread may end between the listing and the reading.
        let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        sum += text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_time_and_ended_processes_are_an_error() {
        let me = [std::process::id()];
        let before = OnCpu::of(&me).unwrap();
        let started = std::time::Instant::now();
        while started.elapsed().as_millis() < 50 {}
        let used = OnCpu::of(&me).unwrap() - before;
        assert!(used[0] > 5_000_000, "{used:?}");
        assert!(OnCpu::of(&[u32::MAX]).is_err());
    }
}
