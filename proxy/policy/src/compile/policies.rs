//! Policies with their roles, clusters and groups resolved.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::{Input, Words, resolve};
use crate::builtin;
use crate::groups::{GroupSets, SetId};
use crate::namespaces::Namespaces;
use crate::resources::{self, AccessPolicy, AccessPolicySpec, ClusterTargets, Effect, SYSTEM_NAMESPACE};
use crate::rule::Rule;
use crate::table::{ClusterEntry, Policy, Scope};

/// All policies, their ids being their places in the order of their names.
pub(super) struct Policies {
    pub(super) policies: Vec<Policy>,
    pub(super) names: Vec<Arc<str>>,
    pub(super) cluster_sets: Vec<RoaringBitmap>,
}

/// A role, written or built in.
struct Role {
    rules: Arc<[Rule]>,
    groups: Vec<Arc<str>>,
}

/// Subresources that are judged as `create` whatever the method.
const JUDGED_AS_CREATE: [&str; 5] = ["exec", "attach", "portforward", "ephemeralcontainers", "proxy"];

impl Policies {
    pub(super) fn compile(
        input: &Input<'_>,
        clusters: &[ClusterEntry],
        groups: &mut GroupSets,
        words: &mut Words,
        warnings: &mut Vec<String>,
    ) -> Self {
        let roles = roles(input, words, warnings);
        let mut targets = Targets::new(clusters);
        let mut compiled = Self { policies: Vec::new(), names: Vec::new(), cluster_sets: Vec::new() };
        for (name, policy) in &input.policies {
            let spec = &policy.spec;
            let mut warn = |what: String| warnings.push(format!("AccessPolicy {name}: {what}"));
            warn_about_rules(&spec.rules, &mut warn);
            let cluster_set = targets.resolve(&spec.clusters, &mut warn);
            compiled.policies.push(Policy {
                effect: spec.effect,
                cluster_set,
                scope: scope(spec, &roles, words, &mut warn),
                namespaces: Namespaces::new(&spec.namespaces),
                groups: policy_groups(policy, &roles, groups, words),
            });
            compiled.names.push(words.word(name));
        }
        compiled.cluster_sets = targets.sets;
        compiled
    }
}

fn roles(input: &Input<'_>, words: &mut Words, warnings: &mut Vec<String>) -> BTreeMap<String, Role> {
    let mut roles = BTreeMap::new();
    for (name, role) in &input.roles {
        warn_about_rules(&role.spec.rules, &mut |what| warnings.push(format!("AccessRole {name}: {what}")));
        let rules =
            role.spec.rules.iter().map(|rule| Rule::new(rule, &mut |text| words.word(text))).collect();
        let groups = role.spec.impersonate.groups.iter().map(|group| words.word(group)).collect();
        roles.insert(name.clone(), Role { rules, groups });
    }
    // Last, so that nothing written can stand in for them.
    for role in builtin::roles(&mut |text| words.word(text)) {
        let name = format!("{SYSTEM_NAMESPACE}/{}", role.name);
        roles.insert(name, Role { rules: role.rules.into(), groups: vec![words.word(role.group)] });
    }
    roles
}

fn scope(
    spec: &AccessPolicySpec,
    roles: &BTreeMap<String, Role>,
    words: &mut Words,
    warn: &mut dyn FnMut(String),
) -> Scope {
    if spec.roles.is_empty() && spec.rules.is_empty() {
        return Scope::Everything;
    }
    let mut parts: Vec<Arc<[Rule]>> = Vec::new();
    for name in &spec.roles {
        match (roles.get(&resolve(name)), spec.effect) {
            (Some(role), _) => parts.push(Arc::clone(&role.rules)),
            (None, Effect::Allow) => warn(format!("there is no role {name}; nothing is granted by it")),
            (None, Effect::Deny) => {
                warn(format!("there is no role {name}; until there is, all requests are denied"));
                return Scope::Everything;
            }
        }
    }
    if !spec.rules.is_empty() {
        parts.push(spec.rules.iter().map(|rule| Rule::new(rule, &mut |text| words.word(text))).collect());
    }
    parts.retain(|rules| !rules.is_empty());
    if parts.is_empty() {
        warn("never matches: its roles have no rules".to_owned());
    }
    Scope::Rules(parts.into())
}

fn policy_groups(
    policy: &AccessPolicy,
    roles: &BTreeMap<String, Role>,
    groups: &mut GroupSets,
    words: &mut Words,
) -> SetId {
    if policy.spec.effect == Effect::Deny {
        return SetId::EMPTY;
    }
    let own = policy.spec.impersonate.groups.iter().map(|group| words.word(group));
    let of_roles = policy.spec.roles.iter().filter_map(|name| roles.get(&resolve(name)));
    groups.intern(own.chain(of_roles.flat_map(|role| role.groups.iter().cloned())).collect())
}

/// Sets of clusters, each kept once however many policies write it.
struct Targets<'a> {
    clusters: &'a [ClusterEntry],
    by_spec: HashMap<&'a ClusterTargets, u32>,
    by_members: HashMap<Vec<u32>, u32>,
    sets: Vec<RoaringBitmap>,
}

impl<'a> Targets<'a> {
    fn new(clusters: &'a [ClusterEntry]) -> Self {
        Self { clusters, by_spec: HashMap::new(), by_members: HashMap::new(), sets: Vec::new() }
    }

    /// The id of the set of clusters that are named or selected.
    fn resolve(&mut self, targets: &'a ClusterTargets, warn: &mut dyn FnMut(String)) -> u32 {
        let unknown =
            |name: &&String| self.clusters.binary_search_by(|entry| (*entry.name).cmp(name)).is_err();
        for name in targets.names.iter().filter(unknown) {
            warn(format!("there is no cluster {name}"));
        }
        let set = match self.by_spec.get(targets) {
            Some(set) => *set,
            None => self.intern(targets),
        };
        if self.sets.get(set as usize).is_none_or(RoaringBitmap::is_empty) {
            warn("never matches: no cluster is named or selected".to_owned());
        }
        set
    }

    fn intern(&mut self, targets: &'a ClusterTargets) -> u32 {
        let numbered = (0_u32..).zip(self.clusters);
        let members: Vec<u32> =
            numbered.filter(|(_, entry)| is_target(entry, targets)).map(|(id, _)| id).collect();
        let sets = &mut self.sets;
        let set = *self.by_members.entry(members).or_insert_with_key(|members| {
            sets.push(members.iter().collect());
            // Bounded by the policies, far below 2^32.
            u32::try_from(sets.len() - 1).unwrap_or(u32::MAX)
        });
        self.by_spec.insert(targets, set);
        set
    }
}

fn is_target(cluster: &ClusterEntry, targets: &ClusterTargets) -> bool {
    let has = |(key, value): (&String, &String)| {
        cluster.labels.iter().any(|(its, content)| **its == **key && **content == **value)
    };
    targets.names.iter().any(|name| **name == *cluster.name)
        || targets.selector.as_ref().is_some_and(|selector| selector.match_labels.iter().all(has))
}

/// What a rule most likely does not mean.
fn warn_about_rules(rules: &[resources::Rule], warn: &mut dyn FnMut(String)) {
    for (at, rule) in rules.iter().enumerate() {
        let creates = rule.verbs.iter().any(|verb| verb == "create" || verb == "*");
        let acts = |resource: &&String| {
            resource.split_once('/').is_some_and(|(_, subresource)| JUDGED_AS_CREATE.contains(&subresource))
        };
        if let Some(resource) = rule.resources.iter().find(acts).filter(|_| !creates) {
            warn(format!("rules[{at}] never matches {resource}: it is judged as create whatever the method"));
        }
        if rule.namespaces.iter().any(|pattern| pattern == "*") {
            warn(format!(
                "rules[{at}] is narrowed to namespace `*`: that leaves out requests without a namespace, such as \
                 lists of all namespaces; without `namespaces` the rule covers those too"
            ));
        }
    }
}
