//! Sets of impersonated groups, each stored once, and their unions worked out beforehand.
//!
//! A decision adds up the sets of the policies that match. Which sums can occur is known when the table is
//! compiled, so a decision only follows ids. Where there are too many sums to keep, one is built on the spot.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A set in [`GroupSets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SetId(u32);

/// Sorted, each group once.
pub(crate) type GroupSet = Arc<[Arc<str>]>;

/// All sets of one table.
pub(crate) struct GroupSets {
    sets: Vec<GroupSet>,
    ids: HashMap<GroupSet, SetId>,
    unions: HashMap<(SetId, SetId), SetId>,
    prepared: HashSet<Vec<SetId>>,
}

/// A sum of sets as it grows during a decision.
pub(crate) enum Sum {
    Known(SetId),
    Built(Vec<Arc<str>>),
}

/// Sums kept for the policies of one subject: all of up to eight distinct sets.
const SUMS_PER_SUBJECT_MAX: usize = 256;
/// Pairs of sets whose sum is kept, in the whole table.
const UNIONS_MAX: usize = 1 << 16;

impl SetId {
    /// No group.
    pub(crate) const EMPTY: Self = Self(0);
}

impl GroupSets {
    pub(crate) fn new() -> Self {
        let mut new =
            Self { sets: Vec::new(), ids: HashMap::new(), unions: HashMap::new(), prepared: HashSet::new() };
        new.intern(Vec::new());
        new
    }

    pub(crate) fn intern(&mut self, mut groups: Vec<Arc<str>>) -> SetId {
        groups.sort_unstable();
        groups.dedup();
        let set: GroupSet = groups.into();
        if let Some(id) = self.ids.get(&set) {
            return *id;
        }
        // Bounded by policies and sums, both far below 2^32.
        let id = SetId(u32::try_from(self.sets.len()).unwrap_or(u32::MAX));
        self.sets.push(Arc::clone(&set));
        self.ids.insert(set, id);
        id
    }

    /// Works out the sums of these sets, small ones first, until a bound is met.
    pub(crate) fn prepare(&mut self, mut parts: Vec<SetId>) {
        parts.sort_unstable();
        parts.dedup();
        parts.retain(|part| *part != SetId::EMPTY);
        if !self.prepared.insert(parts.clone()) {
            return;
        }
        let mut sums = parts.clone();
        let mut at = 0;
        while let Some(sum) = sums.get(at).copied() {
            at += 1;
            for part in &parts {
                if sums.len() >= SUMS_PER_SUBJECT_MAX || self.unions.len() >= UNIONS_MAX {
                    return;
                }
                let union = self.work_out(sum, *part);
                if !sums.contains(&union) {
                    sums.push(union);
                }
            }
        }
    }

    /// Lets go of what only compiling needs.
    pub(crate) fn seal(&mut self) {
        self.ids = HashMap::new();
        self.prepared = HashSet::new();
        self.sets.shrink_to_fit();
        self.unions.shrink_to_fit();
    }

    fn work_out(&mut self, sum: SetId, part: SetId) -> SetId {
        if let Some(union) = self.union(sum, part) {
            return union;
        }
        let groups = self.set(sum).iter().chain(self.set(part).iter()).cloned().collect();
        let union = self.intern(groups);
        self.unions.insert((sum, part), union);
        union
    }

    fn union(&self, sum: SetId, part: SetId) -> Option<SetId> {
        if part == SetId::EMPTY || part == sum {
            Some(sum)
        } else if sum == SetId::EMPTY {
            Some(part)
        } else {
            self.unions.get(&(sum, part)).copied()
        }
    }

    fn set(&self, id: SetId) -> &GroupSet {
        &self.sets[id.0 as usize]
    }
}

impl Sum {
    pub(crate) fn new() -> Self {
        Self::Known(SetId::EMPTY)
    }

    pub(crate) fn add(&mut self, part: SetId, sets: &GroupSets) {
        match self {
            Self::Built(groups) => groups.extend(sets.set(part).iter().cloned()),
            Self::Known(sum) => match sets.union(*sum, part) {
                Some(union) => *sum = union,
                None => {
                    *self =
                        Self::Built(sets.set(*sum).iter().chain(sets.set(part).iter()).cloned().collect());
                }
            },
        }
    }

    pub(crate) fn finish(self, sets: &GroupSets) -> GroupSet {
        match self {
            Self::Known(sum) => Arc::clone(sets.set(sum)),
            Self::Built(mut groups) => {
                groups.sort_unstable();
                groups.dedup();
                groups.into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets_of(count: usize) -> (GroupSets, Vec<SetId>) {
        let mut sets = GroupSets::new();
        let parts = (0..count).map(|at| sets.intern(vec![format!("g{at:02}").into()])).collect();
        (sets, parts)
    }

    fn sum(sets: &GroupSets, parts: &[SetId]) -> (bool, Vec<String>) {
        let mut sum = Sum::new();
        for part in parts {
            sum.add(*part, sets);
        }
        let known = matches!(sum, Sum::Known(_));
        (known, sum.finish(sets).iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_sum_of_eight_sets_is_known_in_any_order() {
        let (mut sets, parts) = sets_of(8);
        sets.prepare(parts.clone());
        for mask in 0_u32..256 {
            let mut chosen: Vec<_> = (0..8).filter(|at| mask & (1 << at) != 0).map(|at| parts[at]).collect();
            let (known, forward) = sum(&sets, &chosen);
            assert!(known, "{mask:b}");
            chosen.reverse();
            assert_eq!(sum(&sets, &chosen), (true, forward));
        }
    }

    #[test]
    fn beyond_the_bound_a_sum_is_built_and_is_the_same() {
        let (mut sets, parts) = sets_of(12);
        sets.prepare(parts.clone());
        let (known, groups) = sum(&sets, &parts);
        assert!(!known);
        assert_eq!(groups, (0..12).map(|at| format!("g{at:02}")).collect::<Vec<_>>());
        assert!(sets.sets.len() <= SUMS_PER_SUBJECT_MAX + parts.len());
    }

    #[test]
    fn the_whole_table_keeps_a_bounded_number_of_sums() {
        let (mut sets, parts) = sets_of(400);
        for from in 0..390 {
            sets.prepare(parts[from..from + 9].to_vec());
        }
        assert_eq!(sets.unions.len(), UNIONS_MAX);
        assert_eq!(sum(&sets, &parts[300..302]).1, ["g300", "g301"]);
    }

    #[test]
    fn sets_that_overlap_add_up_to_each_group_once() {
        let mut sets = GroupSets::new();
        let one = sets.intern(vec!["b".into(), "a".into()]);
        let two = sets.intern(vec!["b".into(), "c".into()]);
        assert_eq!(sum(&sets, &[one, two]), (false, vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]));
        sets.prepare(vec![one, two, SetId::EMPTY]);
        assert!(sum(&sets, &[two, SetId::EMPTY, one]).0);
    }
}
