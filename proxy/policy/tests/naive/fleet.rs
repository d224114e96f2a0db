//! Random fleets, and requests that now and then fit them.

use std::ops::RangeInclusive;

use hawser_policy::resources::{
    AccessPolicySpec, AccessRoleSpec, Cluster, ClusterSpec, ClusterTargets, Credential, CredentialSpec,
    Effect, GroupSpec, Impersonate, LabelSelector, Member, Object, Resource, Rule, Subjects,
};
use jiff::Timestamp;
use proptest::collection::{btree_map, vec};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) objects: Vec<Object>,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) user: &'static str,
    pub(crate) credential: &'static str,
    pub(crate) cluster: &'static str,
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) now: Timestamp,
}

const USERS: [&str; 4] = ["ann", "ben", "cid", "dot"];
const GROUPS: [&str; 3] = ["g0", "g1", "g2"];
const CLUSTERS: [&str; 3] = ["c0", "c1", "c2"];
const NAMESPACES: [&str; 3] = ["a", "a-x", "b"];

fn texts(of: &[&'static str], count: RangeInclusive<usize>) -> impl Strategy<Value = Vec<String>> + use<> {
    subsequence(of.to_vec(), count).prop_map(|words| words.into_iter().map(str::to_owned).collect())
}

/// Empty with the given chance, else up to two of `of`.
fn rarely(chance: f64, of: &[&'static str]) -> impl Strategy<Value = Vec<String>> + use<> {
    weighted(chance, texts(of, 1..=2)).prop_map(Option::unwrap_or_default)
}

fn rule() -> impl Strategy<Value = Rule> {
    let verbs = ["get", "list", "watch", "create", "patch", "delete", "deletecollection"];
    let resources = [
        "pods",
        "secrets",
        "pods/log",
        "pods/exec",
        "*/scale",
        "nodes",
        "nodes/proxy",
        "namespaces",
        "deployments",
        "services/proxy",
        "*",
    ];
    let verbs = prop_oneof![texts(&verbs, 1..=5), Just(vec!["*".to_owned()])];
    let about_resources = (
        prop_oneof![texts(&["", "apps"], 1..=2), Just(vec!["*".to_owned()])],
        texts(&resources, 1..=5),
        verbs,
        rarely(0.3, &["a", "a-*", "b", "*", "*-x"]),
        rarely(0.2, &["x", "y"]),
    )
        .prop_map(|(api_groups, resources, verbs, namespaces, resource_names)| Rule {
            api_groups,
            resources,
            verbs,
            namespaces,
            resource_names,
            ..Rule::default()
        });
    let about_urls = (texts(&["/metrics", "/logs/*", "*"], 1..=2), texts(&["get", "post", "*"], 1..=2))
        .prop_map(|(non_resource_urls, verbs)| Rule { non_resource_urls, verbs, ..Rule::default() });
    prop_oneof![5 => about_resources, 1 => about_urls]
}

fn policy() -> impl Strategy<Value = AccessPolicySpec> {
    let roles = ["view", "edit", "admin", "cluster-admin", "shell", "r0", "r1", "gone"];
    let selector = weighted(0.6, btree_map(Just("env".to_owned()), select(vec!["p", "n"]), 0..=1));
    (
        (
            prop::bool::weighted(0.1),
            texts(&USERS, 0..=2),
            texts(&["g0", "g1", "hawser-system/g2", "none"], 0..=2),
        ),
        (texts(&CLUSTERS, 0..=2), selector),
        (rarely(0.7, &roles), vec(rule(), 0..=2)),
        (rarely(0.4, &["team", "ops", "hawser:view"]), rarely(0.3, &["a", "a-*", "b", "*"])),
    )
        .prop_map(
            |((deny, users, groups), (names, selector), (roles, rules), (impersonate, namespaces))| {
                let selector = selector.map(|labels| LabelSelector {
                    match_labels: labels.into_iter().map(|(key, value)| (key, value.to_owned())).collect(),
                });
                AccessPolicySpec {
                    effect: if deny { Effect::Deny } else { Effect::Allow },
                    subjects: Subjects { users, groups },
                    clusters: ClusterTargets { names, selector },
                    roles,
                    rules,
                    impersonate: Impersonate { groups: if deny { Vec::new() } else { impersonate } },
                    namespaces,
                }
            },
        )
}

pub(crate) fn fleet() -> impl Strategy<Value = Fleet> {
    let clusters = vec((select(vec!["p", "n"]), prop::bool::weighted(0.05)), CLUSTERS.len());
    let groups = vec(texts(&USERS, 0..=3), GROUPS.len());
    let roles = vec((vec(rule(), 0..=2), rarely(0.5, &["team", "devs"])), 2);
    let credentials = vec((rarely(0.08, &CLUSTERS), weighted(0.1, 0_i64..200)), USERS.len());
    (clusters, groups, roles, credentials, vec(policy(), 3..=12)).prop_map(
        |(clusters, groups, roles, credentials, policies)| {
            let mut objects = Vec::new();
            for (name, (env, paused)) in CLUSTERS.iter().zip(clusters) {
                let mut cluster: Cluster =
                    Resource::named(*name, ClusterSpec { paused, ..ClusterSpec::default() });
                cluster.metadata.labels.insert("env".to_owned(), env.to_owned());
                objects.push(Object::Cluster(cluster));
            }
            for (name, members) in GROUPS.iter().zip(groups) {
                let members = members.into_iter().map(|user| Member { user }).collect();
                objects.push(Object::Group(Resource::in_system(*name, GroupSpec { members })));
            }
            for (at, (rules, groups)) in roles.into_iter().enumerate() {
                let spec = AccessRoleSpec { rules, impersonate: Impersonate { groups } };
                objects.push(Object::AccessRole(Resource::in_system(format!("r{at}"), spec)));
            }
            for (user, (clusters, expires)) in USERS.iter().zip(credentials) {
                let spec = CredentialSpec {
                    user: (*user).to_owned(),
                    clusters: (!clusters.is_empty()).then_some(clusters),
                    expires: expires.map(|second| Timestamp::from_second(second).expect("a time")),
                    token_sha256: None,
                };
                let credential: Credential = Resource::named(*user, spec);
                objects.push(Object::Credential(credential));
            }
            for (at, spec) in policies.into_iter().enumerate() {
                objects.push(Object::AccessPolicy(Resource::in_system(format!("p{at}"), spec)));
            }
            Fleet { objects }
        },
    )
}

fn target() -> impl Strategy<Value = String> {
    let open = [
        "/version",
        "/apis",
        "/api/v1",
        "/openapi/v3",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        "/metrics",
        "/logs/x",
        "/versions",
    ];
    let wide = [
        "/api/v1/pods",
        "/api/v1/secrets",
        "/apis/apps/v1/deployments",
        "/api/v1/nodes",
        "/api/v1/nodes/x",
        "/api/v1/nodes/x/proxy/run",
        "/api/v1/namespaces",
        "/api/v1/pods?watch=1",
        "/api/v1/watch/pods",
        "/api/v1/secrets?fieldSelector=metadata.name%3Dx",
    ];
    let inside = [
        "/api/v1/namespaces/N",
        "/api/v1/namespaces/N/pods",
        "/api/v1/namespaces/N/pods/x",
        "/api/v1/namespaces/N/pods/y/log",
        "/api/v1/namespaces/N/pods/x/exec",
        "/api/v1/namespaces/N/pods/x/attach",
        "/api/v1/namespaces/N/pods/x/ephemeralcontainers",
        "/api/v1/namespaces/N/services/x/proxy/",
        "/api/v1/namespaces/N/secrets",
        "/api/v1/namespaces/N/secrets/x",
        "/api/v1/namespaces/N/serviceaccounts/x/token",
        "/apis/apps/v1/namespaces/N/deployments/y",
        "/apis/apps/v1/namespaces/N/deployments/x/scale",
    ];
    let inside = (select(inside.to_vec()), select(NAMESPACES.to_vec()));
    prop_oneof![
        2 => select(open.to_vec()).prop_map(str::to_owned),
        3 => select(wide.to_vec()).prop_map(str::to_owned),
        6 => inside.prop_map(|(path, namespace)| path.replace("/N", &format!("/{namespace}"))),
    ]
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let methods = prop_oneof![
        6 => Just("GET"),
        4 => select(vec!["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
    ];
    // Mostly one's own credential and a cluster that exists.
    let who = (0..USERS.len(), prop::bool::weighted(0.03), 0..USERS.len());
    let clusters = prop_oneof![30 => select(CLUSTERS.to_vec()), 1 => Just("c9")];
    (who, clusters, methods, target(), 0_i64..100).prop_map(
        |((user, borrows, other), cluster, method, target, now)| {
            let credential = USERS[if borrows { other } else { user }];
            let now = Timestamp::from_second(now).expect("a time");
            Request { user: USERS[user], credential, cluster, method, target, now }
        },
    )
}
