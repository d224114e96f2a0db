//! What Allow policies, roles and rules let through.

use crate::{ALL, check, devs, fleet, policy};

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
