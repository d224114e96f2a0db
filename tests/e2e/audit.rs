//! Everything is remembered, in the API server's own format and under the same id as in the cluster's log: what was
//! done, what was refused, and who could not sign in.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use hawser_tests::{Sandbox, Way, ok, run, until, up};
use serde_json::Value;

fn events() -> Vec<Value> {
    let text = std::fs::read_to_string(up().edge.data_dir.join("audit/audit.log")).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The events that `wanted` picks, once there is at least one.
fn find(what: &str, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut found = Vec::new();
    until(what, Duration::from_secs(10), || {
        found = events().into_iter().filter(|event| wanted(event)).collect();
        !found.is_empty()
    });
    found
}

/// The last of the events that `wanted` picks: the log may hold earlier runs.
fn newest(what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    find(what, wanted).pop().expect("there is one")
}

#[test]
fn a_request_has_one_id_here_and_there() {
    let sandbox = Sandbox::new("audited");
    let _read = ok(&mut sandbox.kubectl(Way::Hawser, &["get", "pod", "p", "-o", "name"]));
    let here = find("the get", |event| {
        event["objectRef"]["namespace"] == sandbox.namespace.as_str()
            && event["verb"] == "get"
            && event["stage"] == "ResponseComplete"
    });
    let event = &here[0];
    assert_eq!((&event["kind"], &event["apiVersion"]), (&"Event".into(), &"audit.k8s.io/v1".into()));
    assert_eq!(event["responseStatus"]["code"], 200);
    assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "allow");
    assert_eq!(event["objectRef"]["name"], "p");
    let id = event["auditID"].as_str().unwrap();
    let log = up().cluster().direct_kubeconfig.parent().unwrap().join("log/audit.jsonl");
    let mut there = Vec::new();
    until("the cluster's own event", Duration::from_secs(10), || {
        let text = std::fs::read_to_string(&log).unwrap();
        there = text
            .lines()
            .filter(|line| line.contains(id))
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .collect();
        !there.is_empty()
    });
    let there = there.iter().find(|event| event["stage"] == "ResponseComplete").unwrap();
    for field in ["verb", "requestURI", "objectRef", "userAgent"] {
        assert_eq!(event[field], there[field], "{field}");
    }
    assert_eq!(there["user"]["username"], "system:serviceaccount:hawser-system:hawser-agent");
    assert_eq!(
        there["impersonatedUser"]["username"],
        format!("hawser:{}", event["user"]["username"].as_str().unwrap())
    );
}

#[test]
fn an_exec_has_a_start_and_an_end() {
    let sandbox = Sandbox::new("audited-exec");
    let _done = ok(&mut sandbox.kubectl(Way::Hawser, &["exec", "p", "--", "echo", "hi"]));
    let of_exec = |event: &Value| {
        event["objectRef"]["namespace"] == sandbox.namespace.as_str()
            && event["objectRef"]["subresource"] == "exec"
    };
    let ended = newest("the end", |event| of_exec(event) && event["stage"] == "ResponseComplete");
    let started = newest("the start", |event| of_exec(event) && event["stage"] == "ResponseStarted");
    assert_eq!(started["responseStatus"]["code"], 101);
    assert_eq!(started["auditID"], ended["auditID"]);
    assert_eq!(ended["annotations"]["hawser.dev/action"], "exec");
    assert_ne!(ended["annotations"]["hawser.dev/bytes-out"], "0");
}

#[test]
fn refusals_and_failed_sign_ins_are_there() {
    let ran = run(&mut up().kubectl_as(&up().kubeconfig, &["create", "token", "no-such-account"]));
    assert_eq!(ran.code, 1);
    let refused = find("the refusal", |event| event["objectRef"]["name"] == "no-such-account");
    assert_eq!(refused[0]["responseStatus"]["code"], 403);
    assert_eq!(refused[0]["responseStatus"]["reason"], "Forbidden");
    assert_eq!(refused[0]["annotations"]["authorization.k8s.io/decision"], "forbid");

    let ran = run(&mut up().kubectl(Way::Hawser, &["get", "configmap", "no-such-map"]));
    assert_eq!(ran.code, 1);
    let failed = find("the failure", |event| event["objectRef"]["name"] == "no-such-map");
    let status = &failed[0]["responseStatus"];
    assert_eq!((&status["code"], &status["reason"]), (&404.into(), &"NotFound".into()), "{status}");
    assert_eq!(status["message"], "configmaps \"no-such-map\" not found");

    let server = ok(&mut up().kubectl(
        Way::Hawser,
        &["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"],
    ));
    // The log may hold earlier runs.
    let target = format!("/api/v1/namespaces/unsigned-{}/pods", std::process::id());
    let marker = format!("{server}{target}");
    let _answer = ok(std::process::Command::new("curl").args(["-sSk", &marker]));
    let failed = find("the failed sign-in", |event| event["requestURI"] == target.as_str());
    assert_eq!(failed.len(), 1);
    assert_eq!(
        (&failed[0]["stage"], &failed[0]["user"]),
        (&"ResponseStarted".into(), &serde_json::json!({}))
    );
    assert_eq!(failed[0]["responseStatus"]["code"], 401);
}
