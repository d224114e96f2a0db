//! The last refusals of agents, so that `hawser status` can say why a cluster is not there.

use std::collections::VecDeque;

use jiff::Timestamp;
use parking_lot::Mutex;

/// What was refused last, newest at the end. Touched at enrolments and by `status` only.
#[derive(Default)]
pub struct Refusals(Mutex<VecDeque<Refused>>);

struct Refused {
    cluster: String,
    at: Timestamp,
    why: String,
}

impl Refusals {
    pub(super) fn note(&self, cluster: &str, at: Timestamp, why: String) {
        let mut all = self.0.lock();
        all.retain(|refused| refused.cluster != cluster);
        if all.len() == REFUSALS_MAX {
            all.pop_front();
        }
        all.push_back(Refused { cluster: cluster.to_owned(), at, why });
    }

    pub(super) fn forget(&self, cluster: &str) {
        self.0.lock().retain(|refused| refused.cluster != cluster);
    }

    /// When and why an agent of this cluster was refused last, if none was let in since.
    #[must_use]
    pub fn of(&self, cluster: &str) -> Option<(Timestamp, String)> {
        let all = self.0.lock();
        let refused = all.iter().find(|refused| refused.cluster == cluster)?;
        Some((refused.at, refused.why.clone()))
    }
}

/// Clusters whose last refusal is remembered; the oldest goes.
const REFUSALS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_refusal_of_each_cluster_up_to_the_bound() {
        let refusals = Refusals::default();
        let at = Timestamp::UNIX_EPOCH;
        refusals.note("a", at, "one".to_owned());
        refusals.note("a", at, "two".to_owned());
        assert_eq!(refusals.of("a"), Some((at, "two".to_owned())));
        for number in 0..REFUSALS_MAX {
            refusals.note(&number.to_string(), at, String::new());
        }
        assert_eq!(refusals.of("a"), None, "the oldest went");
        refusals.forget("7");
        assert_eq!(refusals.of("7"), None);
        assert!(refusals.of("8").is_some());
    }
}
