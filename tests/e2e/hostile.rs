//! What a hostile client sends never reaches the cluster as somebody else, as another cluster's, or half understood.

use std::process::Command;

use hawser_tests::{Cluster, Curl, Way, ok, run, up};

const WHOAMI: &str = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;

#[test]
fn identity_headers_never_survive() {
    let curl = Curl::new();
    let review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    for version in ["--http1.1", "--http2"] {
        let plain = ["-X", "POST", "-H", "Content-Type: application/json", "-d", WHOAMI, version];
        for header in [
            "X-Remote-User: system:admin",
            "X-Remote-Group: system:masters",
            "Impersonate_User: system:admin",
            "X-Forwarded-For: 1.2.3.4",
            "Audit-ID: chosen-by-client",
        ] {
            let mut args = plain.to_vec();
            args.extend(["-H", header]);
            let ran = curl.run(review, &args);
            let (body, code) = ran.stdout.rsplit_once('\n').unwrap();
            // Refused, or answered as the person; never as what the header says.
            if code == "201" {
                assert!(body.contains("\"hawser:"), "{header}: {body}");
                assert!(
                    !body.contains("system:admin") && !body.contains("system:masters"),
                    "{header}: {body}"
                );
            } else {
                assert!(code == "400" || code == "403", "{header}: {body}");
            }
        }
        for nominated in ["Impersonate-User", "impersonate-group, keep-alive", "Authorization", "Host"] {
            if version == "--http2" {
                continue;
            }
            let mut args = plain.to_vec();
            let header = format!("Connection: {nominated}");
            args.extend(["-H", &header]);
            let ran = curl.run(review, &args);
            assert!(
                ran.stdout.ends_with("400")
                    || (ran.stdout.ends_with("201") && ran.stdout.contains("\"hawser:")),
                "{nominated}: {ran:?}"
            );
        }
        assert_eq!(
            curl.code(review, &[&plain[..], &["-H", "Impersonate-User: system:admin"]].concat()),
            "403"
        );
    }
}

#[test]
fn a_refusal_before_the_body_has_come_is_still_an_answer() {
    // Some clients take the end of a stream on which they still have something to send for an error.
    let curl = Curl::new();
    let args = ["--http2", "-X", "POST", "-H", "Impersonate-User: system:admin", "-d", WHOAMI];
    let codes: Vec<_> =
        (0..60).map(|_| curl.code("/apis/authentication.k8s.io/v1/selfsubjectreviews", &args)).collect();
    assert_eq!(codes, vec!["403"; 60]);
}

#[test]
fn host_and_address_must_agree() {
    let curl = Curl::new();
    let other = server_of(&up().clusters[1]);
    let other_name = format!("{}.hawser.internal", up().clusters[1].name);
    let mapped = format!("[::ffff:{}]", other.rsplit_once(':').unwrap().0);
    for version in ["--http1.1", "--http2"] {
        let code = |host: &str| curl.code("/version", &[version, "-H", &format!("Host: {host}")]);
        assert_eq!(curl.code("/version", &[version]), "200");
        // What the caller of a `kubectl proxy` dials says nothing of which cluster is meant.
        for nobodys in ["127.0.0.1:8001", "localhost:8001", "LOCALHOST", "[::1]:8001", "192.0.2.1"] {
            assert_eq!(code(nobodys), "200", "{nobodys}");
        }
        for elsewhere in
            [&other, &other_name, &mapped, "other.example.com", "localhost.example.com", "kubernetes"]
        {
            assert_eq!(code(elsewhere), "421", "{elsewhere}");
        }
    }
}

#[test]
fn host_and_the_name_in_tls_must_agree() {
    let [one, other] = [0, 1].map(|number| server_of(&up().clusters[number]));
    let [name, other_name] = [0, 1].map(|number| format!("{}.hawser.internal", up().clusters[number].name));
    let (other_address, port) = other.rsplit_once(':').unwrap();
    // At the other cluster's address: the name in TLS goes before.
    let resolve = format!("{name}:{port}:{other_address}");
    let curl = Curl::new().at(format!("https://{name}:{port}"));
    for version in ["--http1.1", "--http2"] {
        let args = [version, "--resolve", &resolve];
        let cluster = curl.run("/api/v1/namespaces/kube-system", &args).stdout;
        assert!(cluster.contains(&uid_of(&up().clusters[0])), "{cluster}");
        let code =
            |host: &str| curl.code("/version", &[&args[..], &["-H", &format!("Host: {host}")]].concat());
        for own in [&one, &name.to_uppercase(), "localhost:8001"] {
            assert_eq!(code(own), "200", "{own}");
        }
        for elsewhere in [&other, &other_name, "other.example.com"] {
            assert_eq!(code(elsewhere), "421", "{elsewhere}");
        }
        // A connection that has proved itself does not go elsewhere either.
        let counted = ["-o", "/dev/null", "-w", "%{http_code} %{num_connects}\n"];
        let mut calls = curl.command("/version", &[&args[..], &counted].concat());
        let host = format!("Host: {other_name}");
        curl.then(&mut calls, "/version", &[&args[..], &counted, &["-H", &host]].concat());
        curl.then(&mut calls, "/version", &[&args[..], &counted].concat());
        assert_eq!(ok(&mut calls), "200 1\n421 0\n200 0\n", "{version}");
    }
}

#[test]
fn an_address_that_clusters_share_reaches_none_of_them() {
    // As with a kubeconfig that has lost its `tls-server-name`.
    let ran = Curl::new().at(up().edge.url.clone()).run("/version", &[]);
    assert!(ran.code != 0 && ran.stdout.trim() == "000", "{ran:?}");
}

/// `address:port` of a cluster at the edge.
fn server_of(cluster: &Cluster) -> String {
    let path = format!("jsonpath={{.clusters[?(@.name==\"{}\")].cluster.server}}", cluster.name);
    let url = ok(&mut up().kubectl(Way::Hawser, &["config", "view", "-o", &path]));
    url.trim_start_matches("https://").to_owned()
}

fn uid_of(cluster: &Cluster) -> String {
    ok(&mut up().direct(cluster, &["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"]))
}

#[test]
fn paths_that_two_parsers_could_read_in_two_ways_are_refused() {
    let curl = Curl::new();
    for path in [
        "/api/v1/namespaces/default/../kube-system/secrets",
        "/api/v1/namespaces/default/%2e%2e/kube-system/secrets",
        "/api/v1//pods",
        "//api/v1/pods",
        "/api/v1/namespaces/default%2fpods",
        "/api/v1/%73ecrets",
        "/api/v1/pods;a=b",
        "/api/v1/pods\\x",
        "/api/v1/namespaces/./pods",
    ] {
        assert_eq!(curl.code(path, &["--http1.1"]), "400", "{path}");
    }
}

#[test]
fn without_a_credential_there_is_a_401_that_helps() {
    let up = up();
    let curl = Curl::new();
    let server = curl.server();
    let output = Command::new("curl").args(["-sSk", &format!("{server}/api/v1/pods")]).output().unwrap();
    let body: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(body["code"], 401);
    assert_eq!(body["reason"], "Unauthorized");
    let token = format!("--token=hwt_nosuch_{}", "0".repeat(64));
    let args = ["--server", server, "--insecure-skip-tls-verify", &token, "get", "pods"];
    let mut kubectl = Command::new(&up.kubectl);
    let ran = run(kubectl.env("KUBECONFIG", "/dev/null").args(args));
    assert!(
        ran.code == 1 && ran.stderr.starts_with("error: You must be logged in to the server ("),
        "{ran:?}"
    );
}

#[test]
fn a_refused_upgrade_leaves_no_open_door() {
    // CVE-2018-1002105: a second request behind a refused upgrade must not reach the API server on the same connection.
    let curl = Curl::new();
    let pod = "/api/v1/namespaces/default/pods/no-such-pod/exec?command=true&stdout=true";
    let ran = curl.run(
        pod,
        &[
            "--http1.1",
            "-i",
            "-X",
            "POST",
            "-H",
            "Connection: Upgrade",
            "-H",
            "Upgrade: SPDY/3.1",
            "-H",
            "X-Stream-Protocol-Version: v4.channel.k8s.io",
        ],
    );
    assert!(ran.stdout.starts_with("HTTP/1.1 404"), "{ran:?}");
    assert!(ran.stdout.to_lowercase().contains("connection: close"), "{ran:?}");
    for (header, value) in
        [("Upgrade", "h2c"), ("Upgrade", "x-spdy/3.1-y"), ("Upgrade", "SPDY/3.1, websocket")]
    {
        let header = format!("{header}: {value}");
        assert_eq!(
            curl.code(pod, &["--http1.1", "-X", "POST", "-H", "Connection: Upgrade", "-H", &header]),
            "400",
            "{value}"
        );
    }
    let body = [
        "--http1.1",
        "-X",
        "POST",
        "-H",
        "Connection: Upgrade",
        "-H",
        "Upgrade: SPDY/3.1",
        "-d",
        "stream bytes",
    ];
    assert_eq!(curl.code(pod, &body), "400");
}

#[test]
fn the_agent_itself_holds_next_to_nothing() {
    let up = up();
    let can = |args: &[&str]| {
        let mut all = vec!["auth", "can-i", "--as=system:serviceaccount:hawser-system:hawser-agent"];
        all.extend(args);
        run(&mut up.kubectl(Way::Direct, &all)).stdout.trim().to_owned()
    };
    assert_eq!(can(&["get", "secrets", "-A"]), "no");
    assert_eq!(can(&["create", "pods", "-n", "default"]), "no");
    assert_eq!(can(&["impersonate", "groups/system:masters"]), "no");
    assert_eq!(can(&["impersonate", "users/hawser:alice"]), "yes");
}

#[test]
fn long_targets_of_strangers_harm_nobody() {
    // Over HTTP/2 a target may hold any UTF-8, so that a cut at a byte can fall into a character.
    let curl = Curl::new();
    let stranger = ["--http2", "-k", "-o", "/dev/null", "-w", "%{http_code}"];
    for shift in ["", "x"] {
        let url = format!("{}/{shift}{}", curl.server(), "é".repeat(3000));
        let ran = run(Command::new("curl").args(["-sS"]).args(stranger).arg(url));
        assert_eq!(ran.stdout, "401", "{ran:?}");
    }
    assert_eq!(curl.code("/version", &[]), "200");
}
