//! Who may do what is decided at the edge at each request: default deny, groups, clusters, namespaces, and a credential
//! that was withdrawn is worth nothing from the next request on.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    thread,
    time::Duration,
};

use hawser_tests::{Curl, Person, Policy, Sandbox, Watch, Way, allow, ok, run, until, up};

/// It takes the edge a moment; the rest is for a kubectl on a busy machine.
fn soon(what: &str, so: impl FnMut() -> bool) {
    until(what, Duration::from_secs(20), so);
}

#[test]
fn nothing_is_allowed_until_a_policy_says_so() {
    let nobody = Person::new("nobody@example.com", &[]);
    let ran = nobody.kubectl(&["get", "pods", "-n", "default"]);
    assert_eq!(ran.code, 1);
    let text = "Error from server (Forbidden): pods is forbidden: User \"nobody@example.com\" cannot list resource \
                \"pods\" in API group \"\" in the namespace \"default\": ";
    assert!(ran.stderr.starts_with(text), "{}", ran.stderr);
}

#[test]
fn a_group_grants_and_its_policys_end_takes_away() {
    let cluster = &up().cluster().name;
    let person = Person::new("grouped@example.com", &["--group", "t-viewers"]);
    let spec = format!("subjects: {{groups: [t-viewers]}}, clusters: {{names: [{cluster}]}}, roles: [view]");
    let policy = Policy::allow("t-view", &spec);
    soon("the policy is in force", || person.kubectl(&["get", "pods", "-n", "default"]).code == 0);
    let secrets = person.kubectl(&["get", "secrets", "-n", "default"]);
    assert!(secrets.code == 1 && secrets.stderr.contains("cannot list resource \"secrets\""), "{secrets:?}");
    let who = person.kubectl(&["auth", "whoami", "-o", "json"]);
    let who: serde_json::Value = serde_json::from_str(&who.stdout).unwrap();
    assert_eq!(who["status"]["userInfo"]["username"], "hawser:grouped@example.com");
    assert_eq!(
        who["status"]["userInfo"]["groups"],
        serde_json::json!(["hawser:view", "system:authenticated"])
    );
    drop(policy);
    soon("the policy is gone", || person.kubectl(&["get", "pods", "-n", "default"]).code == 1);
}

#[test]
fn a_namespaced_grant_stays_in_its_namespaces() {
    let sandbox = Sandbox::new("granted");
    let person = Person::new("narrow@example.com", &[]);
    let spec = format!(
        "subjects: {{users: [narrow@example.com]}}, clusters: {{names: [{}]}}, roles: [edit], namespaces: [\"{}\"]",
        up().cluster().name,
        sandbox.namespace
    );
    let _policy = Policy::allow("t-narrow", &spec);
    let inside = ["-n", sandbox.namespace.as_str(), "get", "pods", "-o", "name"];
    soon("the policy is in force", || person.kubectl(&inside).stdout == "pod/p\n");
    let outside = person.kubectl(&["-n", "kube-system", "get", "pods"]);
    assert!(outside.code == 1 && outside.stderr.contains(&sandbox.namespace), "{outside:?}");
    assert_eq!(person.kubectl(&["get", "pods", "-A"]).code, 1);
    let exec = person.kubectl(&["-n", &sandbox.namespace, "exec", "p", "--", "true"]);
    // As kubectl prints the cluster's own refusal of an exec.
    let text = "error: unable to upgrade connection: pods \"p\" is forbidden: User \"narrow@example.com\" cannot create \
                resource \"pods/exec\" in API group \"\" in the namespace";
    assert!(exec.code == 1 && exec.stderr.starts_with(text), "{exec:?}");
}

#[test]
fn deny_wins() {
    let person = Person::new("denied@example.com", &[]);
    let who =
        format!("subjects: {{users: [denied@example.com]}}, clusters: {{names: [{}]}}", up().cluster().name);
    let _base = Policy::allow("t-deny-base", &format!("{who}, roles: [view]"));
    soon("allowed", || person.kubectl(&["get", "configmaps", "-n", "default"]).code == 0);
    let deny = allow(
        "t-deny",
        &format!("{who}, rules: [{{apiGroups: [\"\"], resources: [configmaps], verbs: [\"*\"]}}]"),
    );
    let _deny = Policy::apply("t-deny", &deny.replace("effect: Allow", "effect: Deny"));
    soon("denied", || person.kubectl(&["get", "configmaps", "-n", "default"]).code == 1);
    assert!(person.kubectl(&["get", "configmaps", "-n", "default"]).stderr.contains("t-deny"));
    assert_eq!(person.kubectl(&["get", "pods", "-n", "default"]).code, 0);
}

#[test]
fn a_withdrawn_credential_is_worth_nothing() {
    for more in [&[][..], &["--token"][..]] {
        let name = if more.is_empty() { "leaver-cert@example.com" } else { "leaver-token@example.com" };
        let person = Person::new(name, more);
        let spec = format!(
            "subjects: {{users: [{name}]}}, clusters: {{names: [{}]}}, roles: [view]",
            up().cluster().name
        );
        let _policy = Policy::allow("t-leaver", &spec);
        soon("allowed", || person.kubectl(&["get", "pods", "-n", "default"]).code == 0);
        for credential in person.credentials() {
            let _gone = ok(&mut up().hawser(&["delete", "credential", &credential]));
        }
        soon("withdrawn", || person.kubectl(&["get", "pods", "-n", "default"]).code == 1);
        let ran = person.kubectl(&["get", "pods", "-n", "default"]);
        assert!(
            ran.stderr.starts_with("error: You must be logged in to the server (credential "),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn what_is_running_ends_with_the_right_to_it() {
    let sandbox = Sandbox::new("revoked");
    let person = Person::new("revoked@example.com", &[]);
    let spec = format!(
        "subjects: {{users: [revoked@example.com]}}, clusters: {{names: [{}]}}, roles: [shell]",
        up().cluster().name
    );
    for transport in ["true", "false"] {
        let policy = Policy::allow("t-revoked", &spec);
        soon("allowed", || person.kubectl(&["-n", &sandbox.namespace, "exec", "p", "--", "true"]).code == 0);
        let exec = ["-n", &sandbox.namespace, "exec", "p", "--", "sh", "-c", "echo begun; sleep 60"];
        let mut child = up()
            .kubectl_as(&person.kubeconfig, &exec)
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", transport)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let _read = BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "begun\n");
        drop(policy);
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "websocket={transport}: {text}");
        assert!(
            text.contains("session ended by Hawser: access was revoked"),
            "websocket={transport}: {text}"
        );
    }
}

#[test]
fn a_revoked_watch_ends_like_any_other_and_is_then_refused() {
    let sandbox = Sandbox::new("unwatched");
    let person = Person::new("unwatched@example.com", &[]);
    let spec = format!(
        "subjects: {{users: [unwatched@example.com]}}, clusters: {{names: [{}]}}, roles: [view]",
        up().cluster().name
    );
    let policy = Policy::allow("t-unwatched", &spec);
    let kubectl = ["-n", &sandbox.namespace, "get", "configmaps", "--output-watch-events", "--watch"];
    soon("allowed", || person.kubectl(&kubectl[..4]).code == 0);
    let curl = Curl::of(&person.kubeconfig);
    let path = format!("/api/v1/namespaces/{}/configmaps?watch=true", sandbox.namespace);
    let watches = [
        up().kubectl_as(&person.kubeconfig, &kubectl),
        up().kubectl_as(&person.kubeconfig, &["get", "--raw", &path]),
        curl.command(&path, &["--http2"]),
        curl.command(&path, &["--http1.1"]),
    ];
    let watches = watches.map(|mut command| Watch::begin(&mut command));
    drop(policy);
    for watch in watches {
        let ran = watch.ended(Duration::from_secs(30));
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        assert!(ran.stdout.contains("ADDED") && !ran.stdout.contains("ERROR"), "{ran:?}");
    }
    let ran = person.kubectl(&kubectl);
    assert!(
        ran.code == 1 && ran.stderr.starts_with("Error from server (Forbidden): configmaps is forbidden"),
        "{ran:?}"
    );
    assert_eq!(curl.code(&path, &[]), "403");
}

#[test]
fn an_expired_credential_says_so() {
    for more in [&["--expires", "2s"][..], &["--expires", "2s", "--token"][..]] {
        let person = Person::new("brief@example.com", more);
        thread::sleep(Duration::from_secs(3));
        let ran = person.kubectl(&["get", "pods", "-n", "default"]);
        assert_eq!(ran.code, 1);
        assert!(
            ran.stderr.starts_with("error: You must be logged in to the server (")
                && ran.stderr.contains("expired"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn impersonation_is_refused_not_dropped() {
    let ran =
        run(&mut up()
            .kubectl(Way::Hawser, &["get", "pods", "--as=system:admin", "--as-group=system:masters"]));
    assert!(ran.code == 1 && ran.stderr.contains("impersonation (--as) is not allowed"), "{ran:?}");
}

#[test]
fn faults_in_a_file_are_all_told_and_change_nothing() {
    let bad = allow("t-bad", "subjects: {users: [x]}, clusters: {names: [c]}, roles: [nosuch], hours: 5");
    let ran = hawser_tests::run_with(&mut up().hawser(&["apply", "-f", "-"]), bad.as_bytes());
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("spec.hours"), "{}", ran.stderr);
    assert_eq!(run(&mut up().hawser(&["get", "accesspolicy", "t-bad"])).code, 1);
}
