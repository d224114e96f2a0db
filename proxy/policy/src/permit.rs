//! The proof that a request was authorized.

use std::sync::Arc;

/// Proof that a request was authorized; only [`crate::Table::authorize`] can make one.
///
/// It stays valid as a description of what was decided. Whether it would be decided again is said only by deciding
/// again, as the edge does for what is running whenever a table is published.
#[must_use]
#[derive(Clone, Debug)]
pub struct Permit {
    decided: Decided,
}

/// What a decision comes to.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub(crate) cluster: Arc<str>,
    pub(crate) groups: Arc<[Arc<str>]>,
    pub(crate) policies: PolicyIds,
    /// Names of all policies of the table, for the ids.
    pub(crate) names: Arc<[Arc<str>]>,
    pub(crate) generation: u64,
    pub(crate) cut_epoch: u64,
}

impl Permit {
    pub(crate) fn new(decided: Decided) -> Self {
        Self { decided }
    }

    /// The cluster it is for.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.decided.cluster
    }

    /// The groups to impersonate, sorted, each once. May be empty.
    #[must_use]
    pub fn groups(&self) -> &[Arc<str>] {
        &self.decided.groups
    }

    /// The policies that allowed it, as `namespace/name`, sorted.
    pub fn policies(&self) -> impl Iterator<Item = &str> {
        let Decided { policies, names, .. } = &self.decided;
        policies.as_slice().iter().filter_map(|id| names.get(*id as usize)).map(|name| &**name)
    }

    /// Generation of the table that decided.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.decided.generation
    }

    /// Cut epoch of the table that decided.
    #[must_use]
    pub fn cut_epoch(&self) -> u64 {
        self.decided.cut_epoch
    }
}

/// A sorted set of policy ids: a few in place, more on the heap.
#[derive(Clone, Debug)]
pub(crate) enum PolicyIds {
    Few([u32; INLINE_POLICIES_MAX], usize),
    Many(Vec<u32>),
}

/// Policies that a permit names without allocating.
pub(crate) const INLINE_POLICIES_MAX: usize = 6;

impl PolicyIds {
    pub(crate) fn new() -> Self {
        Self::Few([0; INLINE_POLICIES_MAX], 0)
    }

    pub(crate) fn as_slice(&self) -> &[u32] {
        match self {
            Self::Few(ids, len) => ids.get(..*len).unwrap_or_default(),
            Self::Many(ids) => ids,
        }
    }

    /// Adds `id` in its place; no-op for one that is there.
    pub(crate) fn insert(&mut self, id: u32) {
        let Err(at) = self.as_slice().binary_search(&id) else { return };
        match self {
            Self::Many(ids) => ids.insert(at, id),
            Self::Few(ids, len) if *len < INLINE_POLICIES_MAX => {
                ids.copy_within(at..*len, at + 1);
                ids[at] = id;
                *len += 1;
            }
            Self::Few(ids, _) => {
                let mut many = ids.to_vec();
                many.insert(at, id);
                *self = Self::Many(many);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_sorted_and_single_in_place_and_beyond() {
        let mut ids = PolicyIds::new();
        for id in [5, 3, 9, 3, 1, 9, 7] {
            ids.insert(id);
        }
        assert_eq!(ids.as_slice(), [1, 3, 5, 7, 9]);
        ids.insert(0);
        assert!(matches!(ids, PolicyIds::Few(_, INLINE_POLICIES_MAX)));
        ids.insert(0);
        assert!(matches!(ids, PolicyIds::Few(_, INLINE_POLICIES_MAX)), "one that is there needs no room");
        ids.insert(4);
        assert!(matches!(ids, PolicyIds::Many(_)));
        assert_eq!(ids.as_slice(), [0, 1, 3, 4, 5, 7, 9]);
    }
}
