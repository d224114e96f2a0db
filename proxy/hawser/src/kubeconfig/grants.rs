//! What policies grant a person, as far as a kubeconfig shows it: where a context's default namespace comes from.

use std::collections::BTreeSet;

use hawser_policy::resources::{AccessPolicySpec, Cluster, Effect, Object, SYSTEM_NAMESPACE};
use hawser_store::{Key, Store};

use crate::objects;

/// The Allow policies that name a person or one of their groups.
pub(super) struct Grants(Vec<AccessPolicySpec>);

impl Grants {
    /// Of the store's state now, and of membership in the groups `joined` too.
    pub(super) async fn of(store: &Store, user: &str, joined: &BTreeSet<Key>) -> anyhow::Result<Self> {
        let member = |object: Object| match object {
            Object::Group(group) if group.spec.members.iter().any(|member| member.user == user) => {
                Some(group.metadata.name)
            }
            Object::Group(_)
            | Object::Cluster(_)
            | Object::User(_)
            | Object::AccessRole(_)
            | Object::AccessPolicy(_)
            | Object::Credential(_) => None,
        };
        let mut groups: BTreeSet<String> =
            objects::list(store, "Group").await?.into_iter().filter_map(member).collect();
        groups.extend(joined.iter().map(|group| group.name.clone()));
        let granted = |object: Object| match object {
            Object::AccessPolicy(policy) if grants(&policy.spec, user, &groups) => Some(policy.spec),
            Object::AccessPolicy(_)
            | Object::Group(_)
            | Object::Cluster(_)
            | Object::User(_)
            | Object::AccessRole(_)
            | Object::Credential(_) => None,
        };
        Ok(Self(objects::list(store, "AccessPolicy").await?.into_iter().filter_map(granted).collect()))
    }

    /// Whether any of them is about this cluster.
    pub(super) fn reach(&self, cluster: &Cluster) -> bool {
        self.0.iter().any(|policy| covers(policy, cluster))
    }

    /// The one plain namespace that they name in this cluster; none if there are several, or patterns.
    pub(super) fn only_namespace(&self, cluster: &Cluster) -> Option<String> {
        let here = self.0.iter().filter(|policy| covers(policy, cluster));
        let named: BTreeSet<&String> = here.flat_map(|policy| &policy.namespaces).collect();
        match named.first() {
            Some(only) if named.len() == 1 && !only.contains('*') => Some((*only).clone()),
            Some(_) | None => None,
        }
    }
}

fn grants(policy: &AccessPolicySpec, user: &str, groups: &BTreeSet<String>) -> bool {
    let plain = |reference: &String| match reference.split_once('/') {
        Some((SYSTEM_NAMESPACE, name)) => groups.contains(name),
        Some(_) => false,
        None => groups.contains(reference),
    };
    policy.effect == Effect::Allow
        && (policy.subjects.users.iter().any(|name| name == user) || policy.subjects.groups.iter().any(plain))
}

fn covers(policy: &AccessPolicySpec, cluster: &Cluster) -> bool {
    let labels = &cluster.metadata.labels;
    let has = |(key, value): (&String, &String)| labels.get(key) == Some(value);
    policy.clusters.names.contains(&cluster.metadata.name)
        || policy.clusters.selector.as_ref().is_some_and(|selector| selector.match_labels.iter().all(has))
}

#[cfg(test)]
mod tests {
    use hawser_policy::resources::parse_yaml;

    use super::*;

    /// The default namespace in a cluster `prod` labelled `env: prod`, for one policy per spec.
    fn check(specs: &[&str], wanted: Option<&str>) {
        let spec = |text: &&str| {
            let text = format!(
                "{{apiVersion: access.hawser.dev/v1, kind: AccessPolicy, metadata: {{name: p}}, spec: {{{text}}}}}"
            );
            let Some(Object::AccessPolicy(policy)) = parse_yaml(&text, "test").unwrap().pop() else {
                panic!("a policy")
            };
            policy.spec
        };
        let mut cluster = Cluster::named("prod", hawser_policy::resources::ClusterSpec::default());
        cluster.metadata.labels.insert("env".to_owned(), "prod".to_owned());
        let groups = BTreeSet::from(["devs".to_owned()]);
        let policies = specs.iter().map(spec).filter(|spec| grants(spec, "ana", &groups)).collect();
        assert_eq!(Grants(policies).only_namespace(&cluster).as_deref(), wanted, "{specs:?}");
    }

    #[test]
    fn one_plain_namespace_is_the_default() {
        let pay = "subjects: {users: [ana]}, clusters: {names: [prod]}, namespaces: [pay]";
        check(&[pay], Some("pay"));
        check(&[pay, "subjects: {groups: [devs]}, clusters: {selector: {}}, namespaces: [pay]"], Some("pay"));
        check(&[pay, "subjects: {groups: [devs]}, clusters: {selector: {}}, roles: [view]"], Some("pay"));
        check(
            &["subjects: {groups: [hawser-system/devs]}, clusters: {selector: {matchLabels: {env: prod}}}, \
               namespaces: [pay]"],
            Some("pay"),
        );
    }

    #[test]
    fn anything_else_leaves_it_open() {
        let pay = "subjects: {users: [ana]}, clusters: {names: [prod]}, namespaces: [pay]";
        check(&[], None);
        check(&[pay, "subjects: {users: [ana]}, clusters: {names: [prod]}, namespaces: [web]"], None);
        check(&["subjects: {users: [ana]}, clusters: {names: [prod]}, namespaces: ['pay-*']"], None);
        check(
            &["subjects: {users: [ben], groups: [ops]}, clusters: {names: [prod]}, namespaces: [pay]"],
            None,
        );
        check(&["subjects: {users: [ana]}, clusters: {names: [test]}, namespaces: [pay]"], None);
        check(
            &[
                "subjects: {users: [ana]}, clusters: {selector: {matchLabels: {env: test}}}, namespaces: [pay]",
            ],
            None,
        );
        check(
            &["effect: Deny, subjects: {users: [ana]}, clusters: {names: [prod]}, namespaces: [pay]"],
            None,
        );
    }
}
