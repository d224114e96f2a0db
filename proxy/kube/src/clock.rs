//! The time, passed in: every deadline and every timestamp of the product comes from a [`Clock`].
//!
//! Two readings are kept apart. [`Clock::now`] never runs backwards and measures waiting; [`Clock::wall`] is
//! what people call the time and may jump. Deadlines use the first, certificates and audit events the second.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// Source of both readings of time.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic reading, for deadlines and durations.
    fn now(&self) -> Instant;
    /// Wall clock, for what is written down and compared with dates in certificates. May jump.
    fn wall(&self) -> Timestamp;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Instant {
        (**self).now()
    }

    fn wall(&self) -> Timestamp {
        (**self).wall()
    }
}

/// The machine's own clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands still until it is told to move, for tests.
#[derive(Debug)]
pub struct TestClock {
    origin: Instant,
    elapsed_nanos: AtomicU64,
    wall_nanos: AtomicI64,
}

impl TestClock {
    /// A clock whose wall shows `wall`. Dates after the year 2262 are cut to that year.
    #[must_use]
    pub fn new(wall: Timestamp) -> Self {
        Self {
            origin: SystemClock.now(),
            elapsed_nanos: AtomicU64::new(0),
            wall_nanos: AtomicI64::new(nanos(wall)),
        }
    }

    /// Moves both readings on.
    pub fn advance(&self, by: Duration) {
        let by_nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.elapsed_nanos.fetch_add(by_nanos, Ordering::SeqCst);
        self.wall_nanos.fetch_add(i64::try_from(by_nanos).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Lets the wall clock jump, forwards or backwards; the monotonic reading does not notice.
    pub fn set_wall(&self, wall: Timestamp) {
        self.wall_nanos.store(nanos(wall), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Instant {
        self.origin + Duration::from_nanos(self.elapsed_nanos.load(Ordering::SeqCst))
    }

    fn wall(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
            .saturating_add(SignedDuration::from_nanos(self.wall_nanos.load(Ordering::SeqCst)))
            .unwrap_or(Timestamp::MAX)
    }
}

/// Seconds as people say them: in the largest unit of which there are at least two.
#[must_use]
pub fn span(seconds: i64) -> String {
    const UNITS: [(i64, &str); 3] = [(86_400, "d"), (3_600, "h"), (60, "m")];
    match UNITS.iter().find(|(unit, _)| seconds >= 2 * unit) {
        Some((unit, name)) => format!("{}{name}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

fn nanos(wall: Timestamp) -> i64 {
    i64::try_from(wall.as_nanosecond()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advancing_moves_both_readings() {
        let clock = TestClock::new("2026-11-24T03:00:00Z".parse().unwrap());
        let before = clock.now();
        clock.advance(Duration::from_millis(1500));
        assert_eq!(clock.now() - before, Duration::from_millis(1500));
        assert_eq!(clock.wall().to_string(), "2026-11-24T03:00:01.5Z");
    }

    #[test]
    fn a_jump_of_the_wall_does_not_move_deadlines() {
        let clock = Arc::new(TestClock::new("2026-11-24T03:00:00Z".parse().unwrap()));
        let before = clock.now();
        clock.set_wall("2020-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(clock.now(), before);
        assert_eq!(clock.wall().to_string(), "2020-01-01T00:00:00Z");
    }

    #[test]
    fn spans_are_short() {
        for (seconds, wanted) in
            [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172_799, "47h"), (172_800, "2d")]
        {
            assert_eq!(span(seconds), wanted);
        }
    }

    #[test]
    fn the_system_clock_runs() {
        assert!(SystemClock.wall() > Timestamp::UNIX_EPOCH);
        let before = SystemClock.now();
        assert!(SystemClock.now() >= before);
    }
}
