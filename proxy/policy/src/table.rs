//! Everything a decision needs, immutable once compiled.
//!
//! Users point at a list of policies shared by all who are in the same groups, and at a list of the policies
//! that name them; a list holds its policies in runs that share a bitmap of clusters. So a decision looks at
//! the policies of this subject on this cluster, and user × policy is never written out.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use roaring::RoaringBitmap;

use crate::groups::{GroupSets, SetId};
use crate::namespaces::Namespaces;
use crate::resources::Effect;
use crate::rule::{Ask, Reading, Rule, Target};

/// The compiled policy of the whole fleet. Made by [`crate::compile()`].
pub struct Table {
    pub(crate) generation: u64,
    pub(crate) cut_epoch: u64,
    pub(crate) warnings: Vec<String>,
    pub(crate) cluster_ids: HashMap<Arc<str>, u32>,
    pub(crate) clusters: Vec<ClusterEntry>,
    pub(crate) credentials: HashMap<Arc<str>, CredentialEntry>,
    pub(crate) users: Vec<UserEntry>,
    pub(crate) lists: Vec<PolicyList>,
    pub(crate) cluster_sets: Vec<RoaringBitmap>,
    pub(crate) policies: Vec<Policy>,
    pub(crate) policy_names: Arc<[Arc<str>]>,
    pub(crate) groups: GroupSets,
}

/// Who asks: a user by way of a credential. Both as authentication found them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Name of the user, without any cluster's prefix.
    pub user: Arc<str>,
    /// Name of the Credential.
    pub credential: Arc<str>,
}

/// A cluster as the request path needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterEntry {
    /// Its name, and its host label.
    pub name: Arc<str>,
    /// Name shown to people; its name where nothing else was written.
    pub display: Arc<str>,
    /// Name of its context in kubeconfigs.
    pub context: Arc<str>,
    /// Put before user names; may be empty.
    pub user_prefix: Arc<str>,
    /// Nothing is let through.
    pub paused: bool,
    /// Labels, sorted by key.
    pub labels: Arc<[(Arc<str>, Arc<str>)]>,
}

/// A credential as authentication needs it.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialEntry {
    /// Whose it is.
    pub user: Arc<str>,
    /// Clusters it is good for, sorted; `None` is all.
    pub clusters: Option<Arc<[Arc<str>]>>,
    /// Worth nothing from then on; `None` is never.
    pub expires: Option<Timestamp>,
    /// Hash of an opaque token's secret.
    pub token_sha256: Option<[u8; 32]>,
    pub(crate) user_id: u32,
}

/// One user that anything names.
pub(crate) struct UserEntry {
    pub(crate) name: Arc<str>,
    /// Policies of the user's groups, shared by all with the same groups.
    pub(crate) by_groups: u32,
    /// Further policies that name the user.
    pub(crate) by_name: u32,
}

/// Policies of some subjects, refusals first.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct PolicyList {
    pub(crate) denies: Box<[Run]>,
    pub(crate) allows: Box<[Run]>,
}

/// Policies that hold on the same clusters.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Run {
    pub(crate) cluster_set: u32,
    pub(crate) policies: Box<[u32]>,
}

/// One policy without its subjects.
pub(crate) struct Policy {
    pub(crate) effect: Effect,
    pub(crate) cluster_set: u32,
    pub(crate) scope: Scope,
    pub(crate) namespaces: Namespaces,
    pub(crate) groups: SetId,
}

/// Which requests a policy is about, before its namespaces narrow it.
pub(crate) enum Scope {
    /// All: no roles and no rules, or a Deny that cannot be read in full.
    Everything,
    /// Those that a rule covers.
    Rules(Box<[Arc<[Rule]>]>),
}

impl Table {
    /// What [`crate::compile()`] was given to number this table.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Which publication this table is; 0 until [`crate::PolicyHandle::publish`].
    #[must_use]
    pub fn cut_epoch(&self) -> u64 {
        self.cut_epoch
    }

    /// What is suspicious in the resources: policies that never match, names that nothing has.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The credential of this name, if it still exists. Whether it has expired is for the caller.
    #[must_use]
    pub fn credential(&self, id: &str) -> Option<&CredentialEntry> {
        self.credentials.get(id)
    }

    /// The cluster of this name.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Option<&ClusterEntry> {
        self.cluster_id(name).map(|(_, entry)| entry)
    }

    pub(crate) fn set_cut_epoch(&mut self, cut_epoch: u64) {
        self.cut_epoch = cut_epoch;
    }

    pub(crate) fn cluster_id(&self, name: &str) -> Option<(u32, &ClusterEntry)> {
        let id = *self.cluster_ids.get(name)?;
        Some((id, self.clusters.get(id as usize)?))
    }

    /// The policies of this user on this cluster with this effect.
    pub(crate) fn policies(
        &self,
        user: &UserEntry,
        cluster: u32,
        effect: Effect,
    ) -> impl Iterator<Item = (u32, &Policy)> {
        [user.by_groups, user.by_name]
            .into_iter()
            .filter_map(|list| self.lists.get(list as usize))
            .flat_map(move |list| match effect {
                Effect::Allow => &list.allows,
                Effect::Deny => &list.denies,
            })
            .filter(move |run| {
                self.cluster_sets.get(run.cluster_set as usize).is_some_and(|set| set.contains(cluster))
            })
            .flat_map(|run| &run.policies)
            .filter_map(|id| Some((*id, self.policies.get(*id as usize)?)))
    }
}

impl CredentialEntry {
    /// Whether it is good for this cluster.
    #[must_use]
    pub fn is_for(&self, cluster: &str) -> bool {
        let Some(clusters) = &self.clusters else { return true };
        clusters.binary_search_by(|name| (**name).cmp(cluster)).is_ok()
    }

    /// Whether it has expired.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl Policy {
    /// Whether the request is one that this policy is about.
    pub(crate) fn covers(&self, ask: &Ask<'_>, reading: Reading) -> bool {
        // Most policies of a subject are about other namespaces, and this is the cheapest question.
        self.reaches(ask, reading)
            && match &self.scope {
                Scope::Everything => true,
                Scope::Rules(_) => self.rules().any(|rule| rule.covers(ask, reading)),
            }
    }

    /// Whether the request is inside the policy's own namespaces.
    fn reaches(&self, ask: &Ask<'_>, reading: Reading) -> bool {
        match ask.target {
            Target::Url(_) => !self.namespaces.are_narrowed(),
            Target::Resource { namespace, all_namespaces, .. } => {
                let swept = reading == Reading::Refusal && all_namespaces;
                swept || self.namespaces.contain(namespace)
            }
        }
    }

    /// Whether it grants something in `namespace` and is narrowed to it: then the Namespace itself may be read.
    pub(crate) fn is_narrowed_to(&self, namespace: &str) -> bool {
        let outer = &self.namespaces;
        outer.contain(namespace)
            && match &self.scope {
                // Where nothing narrows it, it grants that read anyway.
                Scope::Everything => true,
                Scope::Rules(_) => self
                    .rules()
                    .filter_map(Rule::namespaces)
                    .any(|own| own.contain(namespace) && (own.are_narrowed() || outer.are_narrowed())),
            }
    }

    /// The namespaces it is narrowed to, as patterns for a person, as far as `counts` accepts the rule.
    pub(crate) fn shown_namespaces(&self, counts: impl Fn(&Rule) -> bool) -> Vec<String> {
        match &self.scope {
            Scope::Everything => self.namespaces.shown_with(&Namespaces::new(&[])).unwrap_or_default(),
            Scope::Rules(_) => self
                .rules()
                .filter(|rule| counts(rule))
                .filter_map(|rule| self.namespaces.shown_with(rule.namespaces()?))
                .flatten()
                .collect(),
        }
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        let parts: &[Arc<[Rule]>] = match &self.scope {
            Scope::Everything => &[],
            Scope::Rules(parts) => parts,
        };
        parts.iter().flat_map(|part| part.iter())
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("generation", &self.generation)
            .field("cut_epoch", &self.cut_epoch)
            .field("clusters", &self.clusters.len())
            .field("users", &self.users.len())
            .field("policies", &self.policies.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CredentialEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialEntry")
            .field("user", &self.user)
            .field("clusters", &self.clusters)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}
