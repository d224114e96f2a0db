//! The decision, case by case: who asks what, and which policies and groups answer.

use std::sync::Arc;

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
    assert_eq!(with("alice", "gone", "eu-1"), no("credential gone was revoked"));
    assert_eq!(with("alice", "bob-laptop", "eu-1"), no("credential bob-laptop belongs to another user"));
    assert_eq!(with("alice", "expired", "eu-1"), no("credential expired expired at 2026-06-01T12:00:00Z"));
    assert_eq!(with("alice", "narrow", "eu-1"), no("credential narrow is not for cluster eu-1"));
    let entry = table.credential("narrow").expect("there");
    assert!(entry.is_for("us-1") && !entry.is_for("eu-1") && !entry.is_expired(now()));
}

#[test]
fn the_cluster_decides_second() {
    let table = fleet(
        "kind: AccessPolicy\nmetadata: {name: p}\nspec: {subjects: {users: [alice]}, clusters: {selector: {}}}",
    );
    check(&table, "alice", "eu-1", "GET /api/v1/pods", Ok("p | "));
    check(&table, "alice", "dark", "GET /api/v1/pods", Err("cluster dark is paused"));
    check(&table, "alice", "mars", "GET /api/v1/pods", Err("there is no cluster mars"));
}

#[test]
fn nothing_is_granted_by_default() {
    let table = fleet(&devs("roles: [view]"));
    let denial = ask(&table, "carol", "eu-1", "GET /api/v1/namespaces/prod/pods/web").expect_err("no grant");
    assert_eq!(
        denial,
        Denial {
            reason: "no policy allows carol to get pods \"web\" in namespace \"prod\" on cluster eu-1; nothing on \
                     this cluster is granted"
                .to_owned(),
            policy: None,
            cause: Cause::NotGranted,
        }
    );
    check(
        &table,
        "carol",
        "eu-1",
        "GET /version",
        Err("no policy allows carol to get /version on cluster eu-1"),
    );
    check(&table, "alice", "us-1", "GET /version", Err("nothing on this cluster is granted"));
    check(
        &table,
        "alice",
        "eu-1",
        "DELETE /apis/apps/v1/namespaces/a/deployments/d",
        Err("alice to delete deployments.apps \"d\" in namespace \"a\" on cluster eu-1"),
    );
}

#[test]
fn built_in_roles_grant_what_their_names_say() {
    let request = |verb: &str| match verb {
        "get pods" => "GET /api/v1/namespaces/a/pods/p",
        "list crd" => "GET /apis/example.com/v1/widgets",
        "logs" => "GET /api/v1/namespaces/a/pods/p/log",
        "get secret" => "GET /api/v1/namespaces/a/secrets/s",
        "create" => "POST /apis/apps/v1/namespaces/a/deployments",
        "delete all" => "DELETE /api/v1/namespaces/a/pods",
        "token" => "POST /api/v1/namespaces/a/serviceaccounts/s/token",
        "exec" => "GET /api/v1/namespaces/a/pods/p/exec?command=sh",
        "attach" => "POST /api/v1/namespaces/a/pods/p/attach",
        "forward" => "GET /api/v1/namespaces/a/pods/p/portforward",
        "debug" => "PATCH /api/v1/namespaces/a/pods/p/ephemeralcontainers",
        "pod proxy" => "GET /api/v1/namespaces/a/pods/p/proxy/x",
        "metrics" => "GET /metrics",
        other => panic!("{other}"),
    };
    let all = [
        "get pods",
        "list crd",
        "logs",
        "get secret",
        "create",
        "delete all",
        "token",
        "exec",
        "attach",
        "forward",
        "debug",
        "pod proxy",
        "metrics",
    ];
    let roles: [(&str, &[&str]); 5] = [
        ("view", &["get pods", "list crd", "logs"]),
        ("edit", &["get pods", "list crd", "logs", "get secret", "create", "delete all", "pod proxy"]),
        (
            "admin",
            &["get pods", "list crd", "logs", "get secret", "create", "delete all", "token", "pod proxy"],
        ),
        (
            "cluster-admin",
            &[
                "get pods",
                "list crd",
                "logs",
                "get secret",
                "create",
                "delete all",
                "token",
                "pod proxy",
                "metrics",
            ],
        ),
        ("shell", &["get pods", "exec", "attach", "forward", "debug"]),
    ];
    for (role, granted) in roles {
        let table = fleet(&devs(&format!("roles: [{role}]")));
        for what in all {
            let groups = format!("devs | hawser:{role}");
            let expected =
                if granted.contains(&what) { Ok(groups.as_str()) } else { Err("no policy allows") };
            check(&table, "alice", "eu-1", request(what), expected);
        }
    }
}

#[test]
fn rules_match_as_in_rbac() {
    let rule = |rule: &str| fleet(&devs(&format!("rules: [{rule}]")));
    let cases: [(&str, &[&str], &[&str]); 8] = [
        (
            r#"{apiGroups: [""], resources: [pods], verbs: [get]}"#,
            &["GET /api/v1/namespaces/a/pods/p"],
            &[
                "GET /api/v1/namespaces/a/pods",
                "GET /api/v1/namespaces/a/pods/p/log",
                "GET /apis/metrics.k8s.io/v1beta1/namespaces/a/pods/p",
                "GET /api/v1/namespaces/a/secrets/p",
                "GET /metrics",
            ],
        ),
        (
            r#"{apiGroups: [""], resources: ["pods/log"], verbs: ["*"]}"#,
            &["GET /api/v1/namespaces/a/pods/p/log"],
            &["GET /api/v1/namespaces/a/pods/p", "GET /api/v1/namespaces/a/pods/p/status"],
        ),
        (
            r#"{apiGroups: ["*"], resources: ["*/scale"], verbs: [patch]}"#,
            &["PATCH /apis/apps/v1/namespaces/a/deployments/d/scale"],
            &["PATCH /apis/apps/v1/namespaces/a/deployments/d", "PATCH /api/v1/namespaces/a/pods/p/status"],
        ),
        (
            r#"{apiGroups: [apps], resources: ["*"], verbs: ["*"]}"#,
            &["PATCH /apis/apps/v1/namespaces/a/deployments/d/scale", "DELETE /apis/apps/v1/deployments"],
            &["GET /api/v1/pods", "GET /metrics"],
        ),
        (
            r#"{apiGroups: [""], resources: [secrets], resourceNames: [db], verbs: ["*"]}"#,
            &[
                "GET /api/v1/namespaces/a/secrets/db",
                "DELETE /api/v1/namespaces/a/secrets/db",
                "GET /api/v1/namespaces/a/secrets?fieldSelector=metadata.name%3Ddb",
            ],
            &[
                "GET /api/v1/namespaces/a/secrets/dbx",
                "GET /api/v1/namespaces/a/secrets",
                "POST /api/v1/namespaces/a/secrets",
                "DELETE /api/v1/namespaces/a/secrets",
                "DELETE /api/v1/namespaces/a/secrets?fieldSelector=metadata.name%3Ddb",
            ],
        ),
        (
            r#"{nonResourceURLs: [/metrics, "/logs/*"], verbs: [get]}"#,
            &["GET /metrics", "GET /logs/a/b", "GET /logs/"],
            &["POST /metrics", "GET /metrics/x", "GET /logs", "HEAD /metrics", "GET /api/v1/pods"],
        ),
        (r#"{nonResourceURLs: ["*"], verbs: ["*"]}"#, &["GET /", "POST /x"], &["GET /api/v1/pods"]),
        (
            r#"{apiGroups: [""], resources: [pods], namespaces: [web, "pay-*"], verbs: ["*"]}"#,
            &["GET /api/v1/namespaces/web/pods", "GET /api/v1/namespaces/pay-1/pods/p"],
            &["GET /api/v1/namespaces/webx/pods", "GET /api/v1/pods", "GET /api/v1/namespaces/pay/pods"],
        ),
    ];
    for (text, granted, refused) in cases {
        let table = rule(text);
        granted.iter().for_each(|request| check(&table, "bob", "eu-1", request, Ok("devs | ")));
        refused.iter().for_each(|request| check(&table, "bob", "eu-1", request, Err("no policy allows")));
    }
}

#[test]
fn a_method_without_meaning_is_granted_to_nobody() {
    let table = fleet(&devs(&format!("rules: [{ALL}]")));
    check(&table, "alice", "eu-1", "OPTIONS /api/v1/pods", Err("alice to OPTIONS pods"));
    check(&table, "alice", "eu-1", "OPTIONS /api/v1/namespaces/a/pods/p/proxy/", Ok("devs | "));
    let table = fleet(&devs(""));
    check(&table, "alice", "eu-1", "OPTIONS /api/v1/pods", Err("alice to OPTIONS pods"));
}

#[test]
fn with_neither_roles_nor_rules_the_cluster_decides() {
    let table = fleet(&devs("impersonate: {groups: [team-a]}"));
    for request in
        ["GET /metrics", "DELETE /api/v1/pods", "GET /api/v1/namespaces/a/pods/p/exec", "GET /version"]
    {
        check(&table, "alice", "eu-1", request, Ok("devs | team-a"));
    }
    let table = fleet(&devs("namespaces: [a]"));
    check(&table, "alice", "eu-1", "DELETE /api/v1/namespaces/a/secrets/s", Ok("devs | "));
    check(&table, "alice", "eu-1", "DELETE /api/v1/namespaces/b/secrets/s", Err("allowed in namespaces a"));
    check(&table, "alice", "eu-1", "GET /metrics", Err("no policy allows"));
    check(&table, "alice", "eu-1", "GET /version", Ok("devs | "));
}

#[test]
fn matching_policies_add_up_and_others_stay_out() {
    let policies = [
        policy("a-view", "users: [alice]", "roles: [view]"),
        policy("b-edit", "groups: [devs]", "roles: [edit], namespaces: [web]"),
        policy("c-both", "groups: [devs], users: [alice]", "roles: [view], impersonate: {groups: [z, a]}"),
        policy("d-other", "users: [carol]", "roles: [admin]"),
    ];
    let table = fleet(&policies.concat());
    check(
        &table,
        "alice",
        "eu-1",
        "GET /api/v1/namespaces/web/pods/p",
        Ok("a-view b-edit c-both | a hawser:edit hawser:view z"),
    );
    check(&table, "alice", "eu-1", "GET /api/v1/namespaces/db/pods/p", Ok("a-view c-both | a hawser:view z"));
    check(&table, "alice", "eu-1", "GET /api/v1/namespaces/web/secrets/s", Ok("b-edit | hawser:edit"));
    check(&table, "bob", "eu-1", "GET /api/v1/namespaces/db/pods/p", Ok("c-both | a hawser:view z"));
    check(&table, "carol", "eu-1", "GET /api/v1/namespaces/db/pods/p", Ok("d-other | hawser:admin"));
}

#[test]
fn discovery_and_self_reviews_come_with_any_grant_and_all_groups() {
    let policies = [
        policy("nowhere", "users: [alice]", "roles: [view], namespaces: [none]"),
        policy("shell", "users: [alice]", "roles: [shell]"),
        policy("gone", "users: [alice]", "roles: [no-such-role]"),
    ];
    let table = fleet(&policies.concat());
    let open = [
        "GET /version",
        "GET /api",
        "HEAD /api",
        "GET /apis",
        "GET /api/v1",
        "GET /apis/apps/v1",
        "GET /openapi/v3",
        "GET /openapi/v2",
        "GET /livez",
        "GET /readyz/ping",
        "GET /healthz",
        "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        "POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        "POST /apis/authentication.k8s.io/v1/selfsubjectreviews",
    ];
    for request in open {
        check(&table, "alice", "eu-1", request, Ok("nowhere shell | hawser:shell hawser:view"));
    }
    for request in
        ["POST /version", "GET /versions", "GET /metrics", "POST /apis/authentication.k8s.io/v1/tokenreviews"]
    {
        check(&table, "alice", "eu-1", request, Err("no policy allows"));
    }
    let nothing = fleet(&policy("gone", "users: [alice]", "roles: [no-such-role]"));
    check(&nothing, "alice", "eu-1", "GET /version", Err("nothing on this cluster is granted"));
}

#[test]
fn a_grant_in_namespaces_shows_them_and_names_them() {
    let table = fleet(&devs("roles: [edit], namespaces: [web, \"pay-*\"]"));
    check(&table, "alice", "eu-1", "GET /api/v1/namespaces/web", Ok("devs | hawser:edit"));
    check(&table, "alice", "eu-1", "GET /api/v1/namespaces/pay-dev", Ok("devs | hawser:edit"));
    check(&table, "alice", "eu-1", "GET /api/v1/namespaces/db", Err("; allowed in namespaces pay-*, web"));
    check(
        &table,
        "alice",
        "eu-1",
        "GET /api/v1/namespaces",
        Err("alice to list namespaces on cluster eu-1; allowed in namespaces pay-*, web (name one with -n)"),
    );
    check(
        &table,
        "alice",
        "eu-1",
        "GET /api/v1/pods",
        Err("allowed in namespaces pay-*, web (name one with -n)"),
    );
    check(
        &table,
        "alice",
        "eu-1",
        "POST /api/v1/namespaces/db/pods",
        Err("allowed in namespaces pay-*, web"),
    );
    check(&table, "alice", "eu-1", "GET /api/v1/nodes", Err("no policy allows"));

    // A role without the Namespace in its rules still shows it, by the policy's or the rule's own narrowing.
    let exec = fleet(&devs("roles: [shell], namespaces: [web]"));
    check(&exec, "alice", "eu-1", "GET /api/v1/namespaces/web", Ok("devs | hawser:shell"));
    check(&exec, "alice", "eu-1", "DELETE /api/v1/namespaces/web", Err("no policy allows"));
    check(&exec, "alice", "eu-1", "PATCH /api/v1/namespaces/web/status", Err("no policy allows"));
    let own =
        fleet(&devs(r#"rules: [{apiGroups: [""], resources: [pods], verbs: [get], namespaces: [web]}]"#));
    check(&own, "alice", "eu-1", "GET /api/v1/namespaces/web", Ok("devs | "));
    check(&own, "alice", "eu-1", "GET /api/v1/namespaces/db", Err("no policy allows"));
    check(&own, "alice", "eu-1", "GET /api/v1/namespaces/db/pods/p", Err("allowed in namespaces web"));
    check(&own, "alice", "eu-1", "DELETE /api/v1/namespaces/db/pods/p", Err("no policy allows"));
    // A grant that is not narrowed says nothing about Namespaces.
    let wide = fleet(&devs("roles: [shell]"));
    check(&wide, "alice", "eu-1", "GET /api/v1/namespaces/web", Err("no policy allows"));

    let both = fleet(&devs(
        r#"namespaces: ["pay-*"], rules: [{apiGroups: [""], resources: [pods], verbs: [get], namespaces: [pay-a, db]}]"#,
    ));
    check(&both, "alice", "eu-1", "GET /api/v1/namespaces/pay-a/pods/p", Ok("devs | "));
    check(&both, "alice", "eu-1", "GET /api/v1/namespaces/db/pods/p", Err("; allowed in namespaces pay-a"));
    check(
        &both,
        "alice",
        "eu-1",
        "GET /api/v1/namespaces/pay-b/pods/p",
        Err("; allowed in namespaces pay-a"),
    );
    check(&both, "alice", "eu-1", "GET /api/v1/namespaces/pay-b", Err("no policy allows"));
}

#[test]
fn a_denial_names_at_most_ten_namespaces() {
    let named: Vec<String> = (0..12).map(|at| format!("n{at:02}")).collect();
    let of =
        |count: usize| fleet(&devs(&format!("roles: [edit], namespaces: [{}]", named[..count].join(", "))));
    let ten = "n00, n01, n02, n03, n04, n05, n06, n07, n08, n09";
    let denial =
        |table: &Table| ask(table, "bob", "eu-1", "GET /api/v1/namespaces/x/pods").expect_err("x").reason;
    assert!(denial(&of(10)).ends_with(ten));
    assert!(denial(&of(12)).ends_with(&format!("{ten} and 2 more")));
}

#[test]
fn what_reaches_into_a_pod_is_create_whatever_the_method() {
    let read = fleet(&devs(r#"rules: [{apiGroups: ["*"], resources: ["*"], verbs: [get, list, watch]}]"#));
    let create = fleet(&devs(
        r#"rules: [{apiGroups: [""], resources: ["pods/exec", "pods/attach", "pods/portforward",
        "pods/ephemeralcontainers", "pods/proxy", "services/proxy"], verbs: [create]}]"#,
    ));
    let below = |part: &str| format!("/api/v1/namespaces/a/{part}");
    for part in [
        "pods/p/exec",
        "pods/p/attach",
        "pods/p/portforward",
        "pods/p/ephemeralcontainers",
        "pods/p/proxy/x",
        "services/s/proxy/",
    ] {
        for method in ["GET", "POST", "PATCH"] {
            let request = format!("{method} {}", below(part));
            check(&read, "alice", "eu-1", &request, Err("alice to create "));
            check(&create, "alice", "eu-1", &request, Ok("devs | "));
        }
    }
    let exec = "GET /api/v1/namespaces/a/pods/p/exec";
    check(&fleet(&devs("roles: [edit]")), "alice", "eu-1", exec, Err("; role shell grants it"));
    check(&fleet(&devs("roles: [edit, shell], namespaces: [b]")), "alice", "eu-1", exec, Err("namespaces b"));
}

#[test]
fn the_kubelets_own_api_needs_exec_everywhere() {
    let node = "GET /api/v1/nodes/n/proxy/exec/a/p/c";
    let proxy = r#"{apiGroups: [""], resources: ["nodes/proxy"], verbs: [create]}"#;
    let exec =
        |narrow: &str| format!(r#"{{apiGroups: [""], resources: ["pods/exec"], verbs: [create]{narrow}}}"#);
    let rules = |rules: &str| fleet(&devs(&format!("rules: [{rules}]")));
    check(
        &rules(proxy),
        "alice",
        "eu-1",
        node,
        Err("nodes/proxy also needs create on pods/exec in every namespace"),
    );
    check(&rules(&exec("")), "alice", "eu-1", node, Err("no policy allows"));
    check(&rules(&format!("{proxy}, {}", exec(""))), "alice", "eu-1", node, Ok("devs | "));
    for narrow in [", namespaces: [a]", ", namespaces: [\"*\"]", ", resourceNames: [p]"] {
        check(
            &rules(&format!("{proxy}, {}", exec(narrow))),
            "alice",
            "eu-1",
            node,
            Err("nodes/proxy also needs"),
        );
    }
    let get = r#"{apiGroups: [""], resources: ["nodes/proxy", "pods/exec"], verbs: [get]}"#;
    check(&rules(get), "alice", "eu-1", node, Err("no policy allows"));
    check(&fleet(&devs("roles: [admin]")), "alice", "eu-1", node, Err("nodes/proxy also needs"));
    check(
        &fleet(&devs("roles: [admin, shell]")),
        "alice",
        "eu-1",
        node,
        Ok("devs | hawser:admin hawser:shell"),
    );
    let two =
        [policy("a", "users: [alice]", "roles: [admin]"), policy("b", "groups: [devs]", "roles: [shell]")];
    check(&fleet(&two.concat()), "alice", "eu-1", node, Ok("a b | hawser:admin hawser:shell"));
    // Whoever refuses exec anywhere refuses what could exec there.
    let deny =
        policy("no-exec", "groups: [devs]", &format!("effect: Deny, rules: [{}]", exec(", namespaces: [a]")));
    let table = fleet(&format!("{}{deny}", devs("roles: [admin, shell]")));
    check(
        &table,
        "alice",
        "eu-1",
        node,
        Err("policy hawser-system/no-exec denies alice to create nodes/proxy"),
    );
    check(
        &table,
        "alice",
        "eu-1",
        "GET /api/v1/namespaces/b/pods/p/exec",
        Ok("devs | hawser:admin hawser:shell"),
    );
}

#[test]
fn deny_wins_and_is_named() {
    let allow = devs(&format!("rules: [{ALL}]"));
    let deny = |rest: &str| {
        fleet(&format!("{allow}{}", policy("stop", "users: [alice]", &format!("effect: Deny, {rest}"))))
    };
    let secrets = r#"rules: [{apiGroups: [""], resources: [secrets], verbs: ["*"]}]"#;
    let table = deny(secrets);
    let denial = ask(&table, "alice", "eu-1", "GET /api/v1/namespaces/a/secrets/s").expect_err("denied");
    assert_eq!(
        denial,
        Denial {
            reason: "policy hawser-system/stop denies alice to get secrets \"s\" in namespace \"a\" on cluster eu-1"
                .to_owned(),
            policy: Some(Arc::from("hawser-system/stop")),
            cause: Cause::Denied,
        }
    );
    check(&table, "alice", "eu-1", "GET /api/v1/namespaces/a/pods/s", Ok("devs | "));
    check(&table, "bob", "eu-1", "GET /api/v1/namespaces/a/secrets/s", Ok("devs | "));

    let table = deny("roles: []");
    for request in ["GET /version", "GET /api/v1/pods", "GET /metrics"] {
        check(
            &table,
            "alice",
            "eu-1",
            request,
            Err("policy hawser-system/stop denies alice to get /version")
                .or(Err("policy hawser-system/stop")),
        );
    }
    // What cannot be read in full refuses all, and says so.
    let table = deny("roles: [no-such-role]");
    check(&table, "alice", "eu-1", "GET /api/v1/pods", Err("policy hawser-system/stop denies"));
    assert!(
        table.warnings().iter().any(|w| w.contains("no-such-role; until there is, all requests are denied"))
    );
}

#[test]
fn a_deny_in_namespaces_or_names_also_refuses_what_sweeps_over_them() {
    let allow = devs(&format!("rules: [{ALL}]"));
    let with = |rest: &str| {
        fleet(&format!("{allow}{}", policy("stop", "users: [alice]", &format!("effect: Deny, {rest}"))))
    };
    let (refused, granted) = (Err("policy hawser-system/stop"), Ok("devs | "));
    for rest in [
        "namespaces: [prod]",
        r#"namespaces: [prod], rules: [{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}]"#,
        r#"rules: [{apiGroups: ["*"], resources: ["*"], verbs: ["*"], namespaces: [prod]}]"#,
    ] {
        let table = with(rest);
        check(&table, "alice", "eu-1", "GET /api/v1/namespaces/prod/secrets/s", refused);
        check(&table, "alice", "eu-1", "GET /api/v1/namespaces/dev/secrets/s", granted);
        check(&table, "alice", "eu-1", "GET /api/v1/secrets", refused);
        check(&table, "alice", "eu-1", "GET /api/v1/secrets?watch=1", refused);
        check(&table, "alice", "eu-1", "GET /apis/example.com/v1/widgets", refused);
        check(&table, "alice", "eu-1", "GET /api/v1/nodes", granted);
        check(&table, "alice", "eu-1", "GET /api/v1/nodes/n", granted);
        check(&table, "alice", "eu-1", "GET /apis/storage.k8s.io/v1/storageclasses", granted);
        check(&table, "alice", "eu-1", "GET /version", granted);
    }
    let table =
        with(r#"rules: [{apiGroups: [""], resources: [secrets], verbs: ["*"], resourceNames: [db]}]"#);
    check(&table, "alice", "eu-1", "GET /api/v1/namespaces/a/secrets/db", refused);
    check(&table, "alice", "eu-1", "GET /api/v1/namespaces/a/secrets/other", granted);
    check(&table, "alice", "eu-1", "GET /api/v1/namespaces/a/secrets", refused);
    check(&table, "alice", "eu-1", "DELETE /api/v1/namespaces/a/secrets", refused);
    check(
        &table,
        "alice",
        "eu-1",
        "GET /api/v1/namespaces/a/secrets?fieldSelector=metadata.name%3Dother",
        granted,
    );
    check(&table, "alice", "eu-1", "POST /api/v1/namespaces/a/secrets", granted);
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
fn written_roles_bring_rules_and_groups_but_cannot_stand_in_for_built_in_ones() {
    let role = r#"
kind: AccessRole
metadata: {name: reader}
spec: {rules: [{apiGroups: [""], resources: [pods], verbs: [get]}], impersonate: {groups: [readers]}}
"#;
    let table = fleet(&format!("{role}{}", devs("roles: [hawser-system/reader]")));
    check(&table, "alice", "eu-1", "GET /api/v1/namespaces/a/pods/p", Ok("devs | readers"));
    check(&table, "alice", "eu-1", "GET /api/v1/namespaces/a/pods", Err("no policy allows"));
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
spec: {displayName: Bee, contextName: bee, userPrefix: "", passthroughGroups: [dd, cc], paused: true}
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
    assert_eq!(*b.passthrough, ["cc".into(), "dd".into()]);
    assert_eq!(table.clusters().map(|cluster| &*cluster.name).collect::<Vec<_>>(), ["a", "b"]);
    let credential = table.credential("c").expect("c");
    let hash = credential.token_sha256.expect("an opaque token");
    assert_eq!((hash[0], hash[1], hash[31]), (0, 0xff, 1));
    assert!(!format!("{credential:?}").contains("255"), "no secrets in logs");
}
