//! When each cluster lost a link last. A cluster that was there seconds ago is probably coming back, and worth a wait; of one
//! that has been gone for longer, users are told at once since when.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use hawser_kube::clock::Clock;
use jiff::Timestamp;

/// One entry for each cluster that has lost a link since this edge started.
pub struct LastSeen {
    started: Instant,
    lost: ArcSwap<HashMap<Arc<str>, Loss>>,
}

#[derive(Clone, Copy)]
struct Loss {
    at: Instant,
    wall: Timestamp,
}

impl LastSeen {
    /// For an edge that starts at this moment.
    #[must_use]
    pub fn new(clock: &dyn Clock) -> Self {
        Self { started: clock.now(), lost: ArcSwap::default() }
    }

    /// A link of this cluster has ended.
    pub(super) fn note(&self, cluster: &Arc<str>, clock: &dyn Clock) {
        let loss = Loss { at: clock.now(), wall: clock.wall() };
        self.lost.rcu(|lost| {
            let mut lost = HashMap::clone(lost);
            lost.insert(Arc::clone(cluster), loss);
            lost
        });
    }

    /// Is a cluster without links about to have one? When an edge starts, the agents of all clusters are on their way.
    pub(crate) fn is_recent(&self, cluster: &str, now: Instant) -> bool {
        let lost = self.lost.load().get(cluster).map_or(self.started, |loss| loss.at);
        now.saturating_duration_since(lost) < BACK_WITHIN
    }

    /// What the user of a cluster without links is told.
    pub(crate) fn sentence(&self, cluster: &str) -> String {
        match self.lost.load().get(cluster) {
            Some(loss) => format!("last seen {}", loss.wall.strftime("%Y-%m-%dT%H:%M:%SZ")),
            None => "none was, since the edge started".to_owned(),
        }
    }
}

/// Twice the longest pause that an agent makes between two attempts.
const BACK_WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use hawser_kube::clock::TestClock;

    use super::*;

    #[test]
    fn a_cluster_is_waited_for_only_soon_after_it_was_there() {
        let clock = TestClock::new("2026-11-24T03:00:00Z".parse().unwrap());
        let last_seen = LastSeen::new(&clock);
        let check = |recent: bool, sentence: &str| {
            assert_eq!(last_seen.is_recent("demo", clock.now()), recent);
            assert_eq!(last_seen.sentence("demo"), sentence);
        };
        check(true, "none was, since the edge started");
        clock.advance(BACK_WITHIN);
        check(false, "none was, since the edge started");
        for at in ["2026-11-24T03:00:10Z", "2026-11-24T03:00:20Z"] {
            last_seen.note(&Arc::from("demo"), &clock);
            clock.advance(BACK_WITHIN - Duration::from_millis(1));
            check(true, &format!("last seen {at}"));
            clock.advance(Duration::from_millis(1));
            check(false, &format!("last seen {at}"));
        }
        assert!(!last_seen.is_recent("other", clock.now()));
    }
}
