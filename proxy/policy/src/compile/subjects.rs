//! Users and the lists of policies they share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::policies::Policies;
use super::{Input, Words, resolve};
use crate::groups::{GroupSets, SetId};
use crate::resources::Effect;
use crate::table::{PolicyList, Run, Scope, UserEntry};

/// All users that anything names, and the lists they point at.
pub(super) struct Subjects {
    pub(super) users: Vec<UserEntry>,
    pub(super) ids: HashMap<Arc<str>, u32>,
    pub(super) lists: Vec<PolicyList>,
}

/// Policies by whom they name, as sorted ids.
#[derive(Default)]
struct Named<'a> {
    by_group: BTreeMap<String, Vec<u32>>,
    by_user: BTreeMap<&'a str, Vec<u32>>,
}

impl Subjects {
    pub(super) fn compile(
        input: &Input<'_>,
        policies: &Policies,
        groups: &mut GroupSets,
        words: &mut Words,
        warnings: &mut Vec<String>,
    ) -> Self {
        let named = named(input, policies, warnings);
        let mut lists = Lists { policies, ids: HashMap::new(), lists: Vec::new() };
        let mut compiled = Self { users: Vec::new(), ids: HashMap::new(), lists: Vec::new() };
        for (id, (user, member_of)) in (0_u32..).zip(users(input, &named)) {
            let own = named.by_user.get(user).map_or(&[][..], Vec::as_slice);
            let (by_groups, by_name) = lists.of_user(&member_of, own, &named);
            groups.prepare(lists.group_sets([by_groups, by_name]));
            let name = words.word(user);
            compiled.ids.insert(Arc::clone(&name), id);
            compiled.users.push(UserEntry { name, by_groups, by_name });
        }
        compiled.lists = lists.lists;
        compiled
    }
}

fn named<'a>(input: &Input<'a>, policies: &Policies, warnings: &mut Vec<String>) -> Named<'a> {
    let mut named = Named::default();
    for ((id, (name, policy)), compiled) in (0_u32..).zip(&input.policies).zip(&policies.policies) {
        let subjects = &policy.spec.subjects;
        for group in &subjects.groups {
            if !input.groups.contains_key(&resolve(group)) {
                warnings.push(format!("AccessPolicy {name}: there is no group {group}"));
            }
        }
        if subjects.users.is_empty() && subjects.groups.is_empty() {
            warnings.push(format!("AccessPolicy {name}: never matches: it names no subject"));
        }
        if matches!(&compiled.scope, Scope::Rules(rules) if rules.is_empty()) {
            continue; // It can neither grant nor refuse, so it must not count as a grant either.
        }
        for group in &subjects.groups {
            named.by_group.entry(resolve(group)).or_default().push(id);
        }
        for user in &subjects.users {
            named.by_user.entry(user).or_default().push(id);
        }
    }
    named
}

/// Every user with the groups that any policy names.
fn users<'a>(input: &Input<'a>, named: &Named<'a>) -> BTreeMap<&'a str, Vec<String>> {
    let mut users: BTreeMap<&str, BTreeSet<&String>> = BTreeMap::new();
    for credential in input.credentials.values() {
        users.entry(&credential.spec.user).or_default();
    }
    for user in named.by_user.keys() {
        users.entry(user).or_default();
    }
    for (name, group) in input.groups.iter().filter(|(name, _)| named.by_group.contains_key(*name)) {
        for member in &group.spec.members {
            users.entry(&member.user).or_default().insert(name);
        }
    }
    users.into_iter().map(|(user, groups)| (user, groups.into_iter().cloned().collect())).collect()
}

/// Lists of policies, each kept once.
struct Lists<'a> {
    policies: &'a Policies,
    ids: HashMap<Vec<u32>, u32>,
    lists: Vec<PolicyList>,
}

impl Lists<'_> {
    /// The list of a user's groups, and the list of the further policies that name the user.
    fn of_user(&mut self, member_of: &[String], own: &[u32], named: &Named<'_>) -> (u32, u32) {
        let of_groups = member_of.iter().filter_map(|group| named.by_group.get(group)).flatten();
        let of_groups: BTreeSet<u32> = of_groups.copied().collect();
        let of_name: BTreeSet<u32> = own.iter().copied().filter(|id| !of_groups.contains(id)).collect();
        (self.intern(of_groups), self.intern(of_name))
    }

    fn intern(&mut self, members: BTreeSet<u32>) -> u32 {
        let members: Vec<u32> = members.into_iter().collect();
        if let Some(id) = self.ids.get(&members) {
            return *id;
        }
        let list = PolicyList {
            denies: self.runs(&members, Effect::Deny),
            allows: self.runs(&members, Effect::Allow),
        };
        // Bounded by the users, far below 2^32.
        let id = u32::try_from(self.lists.len()).unwrap_or(u32::MAX);
        self.lists.push(list);
        self.ids.insert(members, id);
        id
    }

    fn runs(&self, members: &[u32], effect: Effect) -> Box<[Run]> {
        let mut runs: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for id in members {
            let policy = &self.policies.policies[*id as usize];
            if policy.effect == effect {
                runs.entry(policy.cluster_set).or_default().push(*id);
            }
        }
        runs.into_iter().map(|(cluster_set, ids)| Run { cluster_set, policies: ids.into() }).collect()
    }

    /// The sets of groups that may be added up for a user of these lists.
    fn group_sets(&self, lists: [u32; 2]) -> Vec<SetId> {
        let runs = lists.into_iter().flat_map(|list| &self.lists[list as usize].allows);
        runs.flat_map(|run| &run.policies).map(|id| self.policies.policies[*id as usize].groups).collect()
    }
}
