//! What is refused, and what the refusal says.

use std::sync::Arc;

use hawser_policy::{Cause, Denial};

use crate::{ALL, ask, check, devs, fleet, policy};

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
fn a_grant_in_namespaces_shows_them_and_names_them() {
    let table = fleet(&devs("roles: [edit], namespaces: [web, \"pay-*\"]"));
    check(&table, "alice", "eu-1", "GET /api/v1/namespaces/web", Ok("devs | hawser:edit"));
    check(&table, "alice", "eu-1", "GET /api/v1/namespaces/pay-dev", Ok("devs | hawser:edit"));
    check(&table, "alice", "eu-1", "GET /api/v1/namespaces/db", Err("; granted are namespaces pay-*, web"));
    check(
        &table,
        "alice",
        "eu-1",
        "GET /api/v1/namespaces",
        Err("alice to list namespaces on cluster eu-1; granted are namespaces pay-*, web"),
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
    check(&own, "alice", "eu-1", "GET /api/v1/namespaces/db", Err("; granted are namespaces web"));
    check(&own, "alice", "eu-1", "GET /api/v1/namespaces?watch=1", Err("; granted are namespaces web"));
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
    let denial = |table: &hawser_policy::Table| {
        ask(table, "bob", "eu-1", "GET /api/v1/namespaces/x/pods").expect_err("x").reason
    };
    assert!(denial(&of(10)).ends_with(ten));
    assert!(denial(&of(12)).ends_with(&format!("{ten} and 2 more")));
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
        check(&table, "alice", "eu-1", request, Err("policy hawser-system/stop denies"));
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
