//! The decision, case by case: who asks what, and which policies and groups answer.

#![expect(clippy::panic, clippy::unwrap_in_result, reason = "a test fails by panicking")]

mod grants;
mod refusals;

use hawser_kube::RequestAttributes;
use hawser_policy::resources::parse_yaml;
use hawser_policy::{Cause, Denial, Permit, Subject, Table, compile};
use jiff::Timestamp;

/// Adds the first line of every document.
fn table(yaml: &str) -> Table {
    let yaml = yaml.replace("kind:", "apiVersion: access.hawser.dev/v1\nkind:");
    let objects = parse_yaml(&yaml, "test").unwrap_or_else(|faults| panic!("{faults:#?}"));
    compile(&objects, 7)
}

fn subject(user: &str) -> Subject {
    Subject { user: user.into(), credential: format!("{user}-laptop").into() }
}

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().expect("a time")
}

fn ask(table: &Table, user: &str, cluster: &str, request: &str) -> Result<Permit, Denial> {
    let (method, target) = request.split_once(' ').expect("METHOD target");
    let attrs = RequestAttributes::parse(method, target).expect("a target real clients send");
    table.authorize(&subject(user), cluster, &attrs, now())
}

/// `Ok("policy… | group…")`, or `Err` with what the reason must contain.
#[track_caller]
fn check(table: &Table, user: &str, cluster: &str, request: &str, expected: Result<&str, &str>) {
    let context = format!("{user} {cluster} {request}");
    match (ask(table, user, cluster, request), expected) {
        (Ok(permit), Ok(text)) => {
            let policies: Vec<_> =
                permit.policies().map(|name| name.trim_start_matches("hawser-system/")).collect();
            let groups: Vec<_> = permit.groups().iter().map(|group| &**group).collect();
            assert_eq!(format!("{} | {}", policies.join(" "), groups.join(" ")), text, "{context}");
            assert_eq!((permit.cluster(), permit.generation()), (cluster, 7));
        }
        (Err(denial), Err(text)) => {
            assert!(denial.reason.contains(text), "{context}: {}", denial.reason);
            assert!(!denial.reason.contains('\n'));
        }
        (Ok(permit), Err(text)) => panic!("{context}: {permit:?}, but: {text}"),
        (Err(denial), Ok(text)) => panic!("{context}: {denial}, but: {text}"),
    }
}

/// Two clusters, everybody's credential, and whatever policies a test adds.
fn fleet(policies: &str) -> Table {
    let mut yaml = r#"
kind: Cluster
metadata: {name: eu-1, labels: {env: prod, region: eu}}
---
kind: Cluster
metadata: {name: us-1, labels: {env: nonprod, region: us}}
---
kind: Cluster
metadata: {name: dark, labels: {env: prod}}
spec: {paused: true}
---
kind: Credential
metadata: {name: expired}
spec: {user: alice, expires: 2026-06-01T12:00:00Z}
---
kind: Credential
metadata: {name: narrow}
spec: {user: alice, clusters: [us-1]}
---
kind: Credential
metadata: {name: fresh}
spec: {user: alice, expires: 2026-06-01T12:00:01Z}
---
kind: Group
metadata: {name: devs}
spec: {members: [{user: alice}, {user: bob}]}
"#
    .to_owned();
    for user in ["alice", "bob", "carol"] {
        yaml.push_str(&format!(
            "---\nkind: Credential\nmetadata: {{name: {user}-laptop}}\nspec: {{user: {user}}}\n"
        ));
    }
    table(&format!("{yaml}---\n{policies}"))
}

/// One policy for group devs on eu-1; `rest` are further fields of its spec.
fn devs(rest: &str) -> String {
    policy("devs", "groups: [devs]", rest)
}

fn policy(name: &str, subjects: &str, rest: &str) -> String {
    let rest = if rest.is_empty() { String::new() } else { format!(", {rest}") };
    format!(
        "---\nkind: AccessPolicy\nmetadata: {{name: {name}}}\n\
         spec: {{subjects: {{{subjects}}}, clusters: {{names: [eu-1]}}{rest}}}\n"
    )
}

const ALL: &str = r#"{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}"#;

#[test]
fn the_credential_decides_first() {
    let table = fleet(&devs("roles: [view]"));
    let attrs = RequestAttributes::parse("GET", "/version").expect("target");
    let with = |user: &str, credential: &str, cluster: &str| {
        let subject = Subject { user: user.into(), credential: credential.into() };
        table.authorize(&subject, cluster, &attrs, now()).map(drop).map_err(|d| (d.cause, d.reason))
    };
    let no = |text: &str| Err((Cause::Credential, text.to_owned()));
    assert_eq!(with("alice", "alice-laptop", "eu-1"), Ok(()));
    assert_eq!(with("alice", "fresh", "eu-1"), Ok(()), "one second left");
    assert_eq!(with("alice", "gone", "eu-1"), no("credential gone was revoked; ask for a new kubeconfig"));
    assert_eq!(
        with("alice", "bob-laptop", "eu-1"),
        no("credential bob-laptop belongs to another user; ask for a new kubeconfig")
    );
    assert_eq!(
        with("alice", "expired", "eu-1"),
        no("credential expired expired at 2026-06-01T12:00:00Z; ask for a new kubeconfig")
    );
    assert_eq!(
        with("alice", "narrow", "eu-1"),
        no("credential narrow is not for cluster eu-1; ask for a kubeconfig that is")
    );
    let entry = table.credential("narrow").expect("there");
    assert!(entry.is_for("us-1") && !entry.is_for("eu-1") && !entry.is_expired(now()));
}

#[test]
fn the_cluster_decides_second() {
    let table = fleet(
        "kind: AccessPolicy\nmetadata: {name: p}\nspec: {subjects: {users: [alice]}, clusters: {selector: {}}}",
    );
    check(&table, "alice", "eu-1", "GET /api/v1/pods", Ok("p | "));
    check(
        &table,
        "alice",
        "dark",
        "GET /api/v1/pods",
        Err(
            "cluster dark is paused: nothing is let through until whoever runs Hawser sets its spec.paused to false",
        ),
    );
    check(&table, "alice", "mars", "GET /api/v1/pods", Err("there is no cluster mars"));
}

#[test]
fn clusters_are_those_named_and_those_selected() {
    let on = |clusters: &str| {
        fleet(&format!(
            "kind: AccessPolicy\nmetadata: {{name: p}}\nspec: {{subjects: {{users: [alice]}}, clusters: {clusters}}}"
        ))
    };
    let cases = [
        ("{names: [eu-1]}", true, false),
        ("{names: [eu-1, us-1]}", true, true),
        ("{selector: {}}", true, true),
        ("{selector: {matchLabels: {env: prod}}}", true, false),
        ("{selector: {matchLabels: {env: prod, region: us}}}", false, false),
        ("{names: [us-1], selector: {matchLabels: {env: prod}}}", true, true),
        ("{}", false, false),
        ("{names: [unknown]}", false, false),
    ];
    for (clusters, eu, us) in cases {
        let table = on(clusters);
        let granted = |cluster: &str| ask(&table, "alice", cluster, "GET /api/v1/pods").is_ok();
        assert_eq!((granted("eu-1"), granted("us-1")), (eu, us), "{clusters}");
    }
}

#[test]
fn more_policies_than_fit_in_place_are_all_named() {
    let many: String = (0..40)
        .map(|at| {
            policy(&format!("p{at:02}"), "users: [alice]", &format!("impersonate: {{groups: [g{at:02}]}}"))
        })
        .collect();
    let table = fleet(&many);
    let permit = ask(&table, "alice", "eu-1", "GET /api/v1/pods").expect("granted");
    assert_eq!(permit.policies().count(), 40);
    assert!(permit.policies().is_sorted() && permit.groups().is_sorted());
    assert_eq!(permit.groups().len(), 40);
}

#[test]
fn suspicious_resources_are_warned_about() {
    let policies = [
        policy("empty", "", ""),
        policy("group", "groups: [nobody]", ""),
        policy("role", "users: [a]", "roles: [no-such]"),
        policy(
            "verbs",
            "users: [a]",
            r#"rules: [{apiGroups: [""], resources: ["pods/exec"], verbs: [get]}]"#,
        ),
        policy(
            "star",
            "users: [a]",
            r#"rules: [{apiGroups: [""], resources: [pods], verbs: [get], namespaces: ["*"]}]"#,
        ),
        policy("fine", "users: [a]", "roles: [view]"),
    ];
    let elsewhere =
        "kind: AccessPolicy\nmetadata: {name: where}\nspec: {subjects: {users: [a]}, clusters: {names: [x]}}";
    let table = fleet(&format!("{elsewhere}\n{}", policies.concat()));
    let expected = [
        ("role", "there is no role no-such"),
        ("role", "never matches: its roles have no rules"),
        ("star", "narrowed to namespace `*`"),
        ("verbs", "rules[0] never matches pods/exec: it is judged as create"),
        ("where", "there is no cluster x"),
        ("where", "never matches: no cluster"),
        ("empty", "never matches: it names no subject"),
        ("group", "there is no group nobody"),
    ];
    let warnings = table.warnings();
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
    for (warning, (name, text)) in warnings.iter().zip(expected) {
        let begins = format!("AccessPolicy hawser-system/{name}: ");
        assert!(warning.starts_with(&begins) && warning.contains(text), "{warning}");
    }
}

#[test]
fn clusters_and_credentials_are_known_to_the_edge() {
    let table = table(
        r#"
kind: Cluster
metadata: {name: a, labels: {env: prod}}
---
kind: Cluster
metadata: {name: b}
spec: {displayName: Bee, contextName: bee, userPrefix: "", paused: true}
---
kind: Credential
metadata: {name: c}
spec: {user: u, tokenSha256: "00ff000000000000000000000000000000000000000000000000000000000001"}
"#,
    );
    let a = table.cluster("a").expect("a");
    assert_eq!(
        (&*a.name, &*a.display, &*a.context, &*a.user_prefix, a.paused),
        ("a", "a", "a", "hawser:", false)
    );
    assert_eq!(*a.labels, [("env".into(), "prod".into())]);
    let b = table.cluster("b").expect("b");
    assert_eq!((&*b.display, &*b.context, &*b.user_prefix, b.paused), ("Bee", "bee", "", true));
    let credential = table.credential("c").expect("c");
    let hash = credential.token_sha256.expect("an opaque token");
    assert_eq!((hash[0], hash[1], hash[31]), (0, 0xff, 1));
    assert!(!format!("{credential:?}").contains("255"), "no secrets in logs");
}
