//! Everything is remembered, in the API server's own format and under the same id as in the cluster's log: what was
//! done, what was refused, and who could not sign in.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use hawser_tests::{AuditLog, Curl, Person, Policy, Sandbox, Way, ok, run, until, up};
use serde_json::{Value, json};

#[path = "audit/requests.rs"]
mod requests;

use requests::{Request, requests};

#[test]
fn both_logs_say_the_same() {
    let sandbox = Sandbox::new("audited");
    let curl = Curl::new();
    let requests = requests(&sandbox.namespace);
    assert!(requests.len() >= 40);
    for (number, request) in requests.iter().enumerate() {
        let (edge, cluster) = (AuditLog::of_edge(), AuditLog::of_cluster());
        let agent = format!("request-{number}");
        let code = curl.code(&request.path, &[&["--user-agent", &agent][..], &request.args].concat());
        assert_eq!(code, request.code.to_string(), "{request:?}");
        let ended = |event: &Value| event["userAgent"] == agent && event["stage"] == "ResponseComplete";
        let id = edge.one(&format!("the end of {request:?}"), ended)["auditID"].clone();
        let _ended = cluster.one(&format!("the cluster's end of {request:?}"), |event| {
            event["auditID"] == id && event["stage"] == "ResponseComplete"
        });
        let [here, there] = [edge, cluster].map(|log| exchange(&log, &id));
        assert_eq!(stages(&here), stages(&there), "{request:?}");
        for (here, there) in here.iter().zip(&there) {
            compare(request, here, there);
        }
    }
}

/// All events of one exchange but the first stage, which the edge does not write by default.
fn exchange(log: &AuditLog, id: &Value) -> Vec<Value> {
    let mut events = log.events();
    events.retain(|event| event["auditID"] == *id && event["stage"] != "RequestReceived");
    events
}

fn stages(events: &[Value]) -> Vec<&Value> {
    events.iter().map(|event| &event["stage"]).collect()
}

/// One event of both logs, field by field.
fn compare(request: &Request, here: &Value, there: &Value) {
    for field in ["kind", "apiVersion", "level", "auditID", "stage", "requestURI", "verb", "userAgent"] {
        assert_eq!(here[field], there[field], "{field} of {request:?}");
    }
    let person = here["user"]["username"].as_str().unwrap();
    assert_eq!(there["impersonatedUser"]["username"], format!("hawser:{person}"));
    assert_eq!(there["user"]["username"], "system:serviceaccount:hawser-system:hawser-agent");
    assert_eq!(here["sourceIPs"][0], there["sourceIPs"][0]);
    let decision = "authorization.k8s.io/decision";
    assert_eq!(
        (&here["annotations"][decision], &there["annotations"][decision]),
        (&json!("allow"), &json!("allow"))
    );

    let (status, of_cluster) = (&here["responseStatus"], &there["responseStatus"]);
    assert_eq!((&status["code"], &of_cluster["code"]), (&json!(request.code), &json!(request.code)));
    // The edge reads what went wrong in the answer's body: not before its end, nor from HEAD, nor where all went well. Of a
    // 406 the API server notes only the code.
    let told =
        here["stage"] == "ResponseComplete" && !request.args.contains(&"--head") && request.code >= 400;
    if told && request.code != 406 {
        assert_eq!(status, of_cluster, "{request:?}");
    }

    // It does not read what only the object in the request's body says.
    let mut object = there["objectRef"].clone();
    if let (Some(fields), "create" | "update") = (object.as_object_mut(), here["verb"].as_str().unwrap()) {
        fields.retain(|field, _| {
            here["objectRef"].get(field).is_some() || !OF_BODIES.contains(&field.as_str())
        });
    }
    assert_eq!(here["objectRef"], object, "{request:?}");
}

#[test]
fn where_from_and_under_which_id_is_not_the_clients_to_say() {
    let curl = Curl::new();
    let agents = ok(&mut up().kubectl(
        Way::Direct,
        &["-n", "hawser-system", "get", "pods", "-o", "jsonpath={.items[*].status.podIP}"],
    ));
    for version in ["--http1.1", "--http2"] {
        let (edge, cluster) = (AuditLog::of_edge(), AuditLog::of_cluster());
        let mut args = vec![version, "-i", "--interface", CLIENT, "--user-agent", "liar"];
        for lie in
            ["X-Forwarded-For: 1.2.3.4", "X-Real-Ip: 1.2.3.4", "Forwarded: for=1.2.3.4", "Audit-ID: chosen"]
        {
            args.extend(["-H", lie]);
        }
        let answer = curl.run("/api/v1/namespaces/default", &args).stdout;
        let here = edge.one("the event", |event| event["userAgent"] == "liar");
        let there = cluster.one("the cluster's event", |event| event["auditID"] == here["auditID"]);
        let id = here["auditID"].as_str().unwrap();
        assert!(answer.to_lowercase().contains(&format!("\naudit-id: {id}\r\n")), "{id}: {answer}");
        assert_eq!(here["sourceIPs"], json!([CLIENT]));
        // The API server adds whom it was told by.
        let sources = there["sourceIPs"].as_array().unwrap();
        assert_eq!((sources.len(), &sources[0]), (2, &json!(CLIENT)));
        assert!(agents.split(' ').any(|agent| sources[1] == agent), "{there}");
        for event in [here, there] {
            let text = event.to_string();
            assert!(!text.contains("1.2.3.4") && !text.contains("chosen"), "{text}");
        }
    }
}

#[test]
fn an_exec_has_a_start_and_an_end() {
    let sandbox = Sandbox::new("audited-exec");
    let log = AuditLog::of_edge();
    let _done = ok(&mut sandbox.kubectl(Way::Hawser, &["exec", "p", "--", "echo", "hi"]));
    let of_exec = |event: &Value| {
        event["objectRef"]["namespace"] == sandbox.namespace.as_str()
            && event["objectRef"]["subresource"] == "exec"
    };
    let events = log.find("start and end", 2, of_exec);
    let [started, ended] = events.as_slice() else { panic!("two events, not {events:#?}") };
    assert_eq!(
        (&started["stage"], &started["responseStatus"]["code"]),
        (&json!("ResponseStarted"), &json!(101))
    );
    assert_eq!((&ended["stage"], &ended["auditID"]), (&json!("ResponseComplete"), &started["auditID"]));
    let notes = &ended["annotations"];
    assert_eq!(notes["hawser.dev/action"], "exec");
    assert_eq!(notes["hawser.dev/policy"], "hawser-system/administrators");
    assert_eq!(notes["authorization.k8s.io/decision"], "allow");
    assert_eq!(notes["authorization.k8s.io/reason"], "Hawser: allowed by hawser-system/administrators");
    assert_ne!(notes["hawser.dev/bytes-out"], "0");
}

#[test]
fn an_exec_refused_over_both_transports_is_one_command() {
    let sandbox = Sandbox::new("audited-refusal");
    let person = Person::new("watcher@example.com", &[]);
    let spec = format!(
        "subjects: {{users: [watcher@example.com]}}, clusters: {{names: [{}]}}, roles: [view]",
        up().cluster().name
    );
    let _policy = Policy::allow("t-watcher", &spec);
    let of = ["-n", sandbox.namespace.as_str()];
    until("the policy is in force", Duration::from_secs(20), || {
        person.kubectl(&[&of[..], &["get", "pod", "p"]].concat()).code == 0
    });
    let of_exec = |event: &Value| {
        event["objectRef"]["namespace"] == sandbox.namespace.as_str()
            && event["objectRef"]["subresource"] == "exec"
    };
    let refused = || {
        let log = AuditLog::of_edge();
        let ran = person.kubectl(&[&of[..], &["exec", "p", "--", "true"]].concat());
        assert_eq!((ran.code, ran.stderr.matches("is forbidden").count()), (1, 1), "{ran:?}");
        (ran.stderr, log.find("both refusals", 2, of_exec))
    };
    let (told, events) = refused();
    let [websocket, spdy] = events.as_slice() else { panic!("two events, not {events:#?}") };
    assert_eq!((&websocket["verb"], &spdy["verb"]), (&json!("get"), &json!("create")));
    assert_ne!(websocket["auditID"], spdy["auditID"]);
    assert_eq!(websocket["responseStatus"], spdy["responseStatus"]);
    for event in [websocket, spdy] {
        assert_eq!(
            (&event["stage"], &event["responseStatus"]["code"]),
            (&json!("ResponseComplete"), &json!(403))
        );
        let notes = &event["annotations"];
        assert_eq!(notes["hawser.dev/action"], "exec");
        assert_eq!(notes["authorization.k8s.io/decision"], "forbid");
        let reason = notes["authorization.k8s.io/reason"].as_str().unwrap();
        assert!(reason.contains("no policy allows") && told.contains(reason), "{reason}, told as {told}");
    }
    let session =
        |event: &Value| event["annotations"]["hawser.dev/kubectl-session"].as_str().unwrap().to_owned();
    assert_eq!(session(websocket), session(spdy));
    assert_ne!(session(&refused().1[0]), session(websocket), "another command");
}

#[test]
fn refusals_and_failed_sign_ins_are_there() {
    let log = AuditLog::of_edge();
    let ran = run(&mut up().kubectl_as(&up().kubeconfig, &["create", "token", "no-such-account"]));
    assert_eq!(ran.code, 1);
    let refused = log.one("the refusal", |event| event["objectRef"]["name"] == "no-such-account");
    assert_eq!(refused["responseStatus"]["code"], 403);
    assert_eq!(refused["responseStatus"]["reason"], "Forbidden");
    assert_eq!(refused["annotations"]["authorization.k8s.io/decision"], "forbid");

    let target = "/api/v1/namespaces/unsigned/pods";
    let _answer =
        ok(std::process::Command::new("curl").args(["-sSk", &format!("{}{target}", Curl::new().server())]));
    let failed = log.find("the failed sign-in", 1, |event| event["requestURI"] == target);
    let [failed] = failed.as_slice() else { panic!("one event, not {failed:#?}") };
    assert_eq!((&failed["stage"], &failed["user"]), (&"ResponseStarted".into(), &json!({})));
    assert_eq!(failed["responseStatus"]["code"], 401);
}

/// Where the lying client is.
const CLIENT: &str = "127.0.0.9";
/// Fields of an `objectRef` that may come from the body.
const OF_BODIES: [&str; 3] = ["name", "uid", "resourceVersion"];
