//! Exchanges whose client does not take what has come for it. Each of them may hold a whole stream window of its link in
//! this edge's memory, so there is a budget for all and for each user; over it, the one that has stood longest is cut.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hawser_kube::close::CloseReason;
use hawser_transport::Scope;
use hawser_tunnel::LinkConfig;
use parking_lot::Mutex;

use crate::Limits;

/// All stalled exchanges of this edge, by age. Touched only when one has stood for a while.
#[derive(Default)]
pub struct Stalled {
    next: AtomicU64,
    standing: Mutex<BTreeMap<u64, Standing>>,
}

struct Standing {
    user: Arc<str>,
    scope: Scope,
}

/// One exchange's place in the budget, until dropped.
pub(crate) struct Place<'a> {
    all: &'a Stalled,
    number: u64,
}

impl Stalled {
    /// Takes one more; says how many older ones were cut for it.
    pub(crate) fn enter(&self, user: &Arc<str>, scope: &Scope, limits: &Limits) -> (Place<'_>, usize) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut standing = self.standing.lock();
        standing.insert(number, Standing { user: Arc::clone(user), scope: scope.clone() });
        let is_theirs = |one: &Standing| one.user == *user;
        let theirs = standing.values().filter(|one| is_theirs(one)).count();
        let mut cut = 0;
        if theirs > windows(limits.stalled_bytes_per_user_max) {
            cut += cut_oldest(&mut standing, is_theirs);
        }
        if standing.len() > windows(limits.stalled_bytes_max) {
            cut += cut_oldest(&mut standing, |_anyone| true);
        }
        (Place { all: self, number }, cut)
    }
}

fn cut_oldest(standing: &mut BTreeMap<u64, Standing>, counts: impl Fn(&Standing) -> bool) -> usize {
    let oldest = standing.iter().find(|(_, one)| counts(one)).map(|(number, _)| *number);
    let Some(oldest) = oldest.and_then(|number| standing.remove(&number)) else { return 0 };
    oldest.scope.cancel(CloseReason::LimitReached);
    1
}

/// What stands is counted at the most it can hold.
fn windows(bytes: usize) -> usize {
    bytes / LinkConfig::edge().stream_bytes_max as usize
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.all.standing.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Users whose exchanges stall one after the other, and the numbers of those that are cut.
    fn check(in_all: usize, per_user: usize, users: &[&str], cut: &[usize]) {
        let window = LinkConfig::edge().stream_bytes_max as usize;
        let limits = Limits {
            stalled_bytes_max: in_all * window,
            stalled_bytes_per_user_max: per_user * window,
            ..Limits::default()
        };
        let all = Stalled::default();
        let scopes: Vec<Scope> = users.iter().map(|_| Scope::root()).collect();
        let places: Vec<_> = users
            .iter()
            .zip(&scopes)
            .map(|(user, scope)| all.enter(&Arc::from(*user), scope, &limits))
            .collect();
        let ended: Vec<usize> = (0..users.len()).filter(|number| scopes[*number].is_cancelled()).collect();
        assert_eq!(ended, cut, "{users:?}");
        assert_eq!(places.iter().map(|(_, cut)| cut).sum::<usize>(), cut.len());
        drop(places);
        assert!(all.standing.lock().is_empty());
    }

    #[test]
    fn over_the_budget_the_one_that_stands_longest_is_cut() {
        check(3, 2, &["a", "b", "a"], &[]);
        check(3, 2, &["a", "b", "a", "a"], &[0]);
        check(3, 2, &["a", "b", "a", "c"], &[0]);
        check(3, 2, &["b", "a", "a", "a", "c"], &[0, 1]);
        check(1, 1, &["a", "a", "a"], &[0, 1]);
    }

    #[test]
    fn whoever_moves_on_makes_room() {
        let window = LinkConfig::edge().stream_bytes_max as usize;
        let limits = Limits { stalled_bytes_max: window, ..Limits::default() };
        let (all, scope) = (Stalled::default(), Scope::root());
        for _again in 0..3 {
            drop(all.enter(&Arc::from("a"), &scope, &limits));
        }
        assert!(!scope.is_cancelled());
    }
}
