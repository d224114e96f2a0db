//! Promise: an audit event is the API server's own, field for field.
//!
//! `fixtures/audit-events.jsonl` holds events that a kube-apiserver 1.37.2 wrote, each under a label.

use hawser_kube::audit_event::{Event, ObjectRef, ResponseStatus, USER_AGENT_BYTES_MAX, cut_user_agent};
use hawser_kube::{RequestAttributes, Status};
use serde_json::{Value, json};

fn samples() -> Vec<(String, Value)> {
    include_str!("fixtures/audit-events.jsonl")
        .lines()
        .map(|line| {
            let mut sample: Value = serde_json::from_str(line).expect("a fixture line");
            (sample["sample"].to_string(), sample["event"].take())
        })
        .collect()
}

#[test]
fn real_events_survive_a_round_trip() {
    let samples = samples();
    assert_eq!(samples.len(), 31);
    for (label, golden) in samples {
        let event: Event =
            serde_json::from_value(golden.clone()).unwrap_or_else(|error| panic!("{label}: {error}"));
        assert_eq!(serde_json::to_value(&event).expect("JSON"), golden, "{label}");
    }
}

#[test]
fn fields_stand_in_the_order_of_the_api_server() {
    let (_, golden) =
        samples().into_iter().find(|(label, _)| label.contains("RequestResponse")).expect("a sample");
    let event: Event = serde_json::from_value(golden).expect("an event");
    let line = serde_json::to_string(&event).expect("JSON");
    let keys = [
        "{\"kind\":",
        "\"apiVersion\":\"audit",
        "\"level\":",
        "\"auditID\":",
        "\"stage\":",
        "\"requestURI\":",
        "\"verb\":",
        "\"user\":",
        "\"sourceIPs\":",
        "\"userAgent\":",
        "\"objectRef\":",
        "\"responseStatus\":",
        "\"requestObject\":",
        "\"responseObject\":",
        "\"requestReceivedTimestamp\":",
        "\"stageTimestamp\":",
        "\"annotations\":",
    ];
    let at: Vec<_> =
        keys.iter().map(|key| line.find(key).unwrap_or_else(|| panic!("{key} in {line}"))).collect();
    assert!(at.is_sorted(), "{line}");
}

/// What the edge makes for a request is what the API server made for the same one.
#[test]
fn an_event_of_a_request_is_that_of_the_api_server() {
    for (label, golden) in samples() {
        let method = match golden["verb"].as_str().expect("a verb") {
            "get" | "list" | "watch" => "GET",
            "create" => "POST",
            other => other,
        };
        let method = method.to_ascii_uppercase();
        let request = RequestAttributes::parse(&method, golden["requestURI"].as_str().expect("a target"))
            .expect("a legal target");
        let golden: Event = serde_json::from_value(golden).expect("an event");
        let mut object = golden.object_ref.clone();
        if request.verb == "create" && request.subresource.is_empty() {
            object = object.map(|object| ObjectRef { name: String::new(), ..object }); // named by the body
        }
        assert_eq!(ObjectRef::of(&request), object, "{label}");
        assert_eq!((&request.verb, &request.raw_target), (&golden.verb, &golden.request_uri), "{label}");
    }
}

#[test]
fn a_denial_is_recorded_as_it_was_answered() {
    let (_, golden) = samples()
        .into_iter()
        .find(|(label, event)| label == "\"forbidden (403)\"" && event["objectRef"]["resource"] == "secrets")
        .expect("a sample");
    let request =
        RequestAttributes::parse("GET", golden["requestURI"].as_str().expect("a target")).expect("legal");
    let status = ResponseStatus::from(&Status::forbidden(&request, "alice", ""));
    assert_eq!(serde_json::to_value(status).expect("JSON"), golden["responseStatus"]);
}

#[test]
fn times_have_six_digits_whatever_the_clock_gives() {
    let event = Event {
        audit_id: "id".to_owned(),
        request_uri: "/version".to_owned(),
        verb: "get".to_owned(),
        request_received_timestamp: "2026-11-24T03:00:00Z".parse().expect("a time"),
        stage_timestamp: "2026-11-24T03:00:00.123456789Z".parse().expect("a time"),
        ..Event::default()
    };
    assert_eq!(
        serde_json::to_value(&event).expect("JSON"),
        json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "id",
            "stage": "RequestReceived", "requestURI": "/version", "verb": "get", "user": {},
            "requestReceivedTimestamp": "2026-11-24T03:00:00.000000Z",
            "stageTimestamp": "2026-11-24T03:00:00.123456Z",
        })
    );
}

#[test]
fn only_known_forms_are_read_back() {
    let (_, golden) = samples().remove(0);
    for (field, value) in
        [("kind", json!("EventList")), ("apiVersion", json!("audit.k8s.io/v2")), ("unknown", json!(1))]
    {
        let mut changed = golden.clone();
        changed[field] = value;
        assert!(serde_json::from_value::<Event>(changed).is_err(), "{field}");
    }
}

#[test]
fn a_long_user_agent_is_cut_and_marked() {
    let fits = "a".repeat(USER_AGENT_BYTES_MAX);
    assert_eq!(cut_user_agent(&fits), fits);
    assert_eq!(cut_user_agent(&format!("{fits}a")), format!("{fits}...TRUNCATED"));
    let (_, golden) = samples().into_iter().find(|(label, _)| label == "\"non-resource\"").expect("a sample");
    assert_eq!(golden["userAgent"], cut_user_agent(&"A".repeat(2000)));
    let odd = format!("a{}", "é".repeat(USER_AGENT_BYTES_MAX));
    assert_eq!(cut_user_agent(&odd), format!("a{}...TRUNCATED", "é".repeat((USER_AGENT_BYTES_MAX - 1) / 2)));
}
