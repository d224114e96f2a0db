//! An unmodified kubectl prints through Hawser what it prints directly, with the same exit code; answers that it takes
//! hints from are the same byte for byte.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::process::Command;

use hawser_tests::{Curl, Sandbox, Way, ok, ok_with, run, up};

#[path = "get/http2.rs"]
mod http2;

/// Both ways, byte for byte.
fn same(args: &[&str]) {
    let up = up();
    let (direct, through) =
        (run(&mut up.kubectl(Way::Direct, args)), run(&mut up.kubectl(Way::Hawser, args)));
    assert_eq!(direct, through, "kubectl {args:?}");
}

#[test]
fn reading() {
    same(&["get", "nodes", "-o", "name"]);
    same(&["get", "namespaces", "kube-system", "-o", "json"]);
    same(&["get", "configmaps", "-n", "kube-system", "-o", "name", "--sort-by=.metadata.name"]);
    same(&["get", "clusterroles", "--chunk-size=5", "-o", "name"]);
    same(&["get", "--raw", "/version"]);
    same(&["get", "--raw", "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt"]);
    same(&["api-resources"]);
    same(&["api-versions"]);
    same(&["explain", "pod.spec.containers"]);
    same(&["version", "-o", "json"]);
    same(&["cluster-info", "dump", "--namespaces=default", "-o", "name"]);
}

#[test]
fn faults_of_the_cluster_look_the_same() {
    same(&["get", "pod", "no-such-pod"]);
    same(&["get", "nosuchresource"]);
    same(&["get", "--raw", "/nowhere"]);
    same(&["get", "--raw", "/api/v1/pods?watch=1&resourceVersion=notanumber"]);
    same(&["delete", "configmap", "no-such-map"]);
}

#[test]
fn writing() {
    let sandbox = Sandbox::new("writing");
    let map = |value: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata: {{key: \"{value}\"}}\n")
    };
    let through = |args: &[&str], input: &str| ok_with(&mut sandbox.kubectl(Way::Hawser, args), input);
    assert_eq!(through(&["apply", "-f", "-"], &map("one")), "configmap/m created\n");
    assert_eq!(through(&["apply", "-f", "-"], &map("one")), "configmap/m unchanged\n");
    assert_eq!(
        through(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &map("two")),
        "configmap/m serverside-applied\n"
    );
    let data = ["get", "configmap", "m", "-o", "jsonpath={.data.key}"];
    assert_eq!(ok(&mut sandbox.kubectl(Way::Direct, &data)), "two");
    let patch = [
        "patch",
        "configmap",
        "m",
        "--type=json",
        "-p",
        r#"[{"op":"replace","path":"/data/key","value":"three"}]"#,
    ];
    assert_eq!(through(&patch, ""), "configmap/m patched\n");
    assert_eq!(ok(&mut sandbox.kubectl(Way::Direct, &data)), "three");
    assert_eq!(
        through(&["delete", "configmap", "m"], ""),
        format!("configmap \"m\" deleted from {} namespace\n", sandbox.namespace)
    );
}

#[test]
fn bodies_up_to_the_api_servers_own_limit() {
    let sandbox = Sandbox::new("bodies");
    let map = |bytes: usize| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: big}}\ndata: {{key: \"{}\"}}\n",
            "x".repeat(bytes)
        )
    };
    let create = ["create", "-f", "-"];
    let made = hawser_tests::run_with(&mut sandbox.kubectl(Way::Hawser, &create), map(900_000).as_bytes());
    assert_eq!(made.code, 0, "{made:?}");
    for bytes in [2_900_000, 3_300_000] {
        let direct =
            hawser_tests::run_with(&mut sandbox.kubectl(Way::Direct, &create), map(bytes).as_bytes());
        let through =
            hawser_tests::run_with(&mut sandbox.kubectl(Way::Hawser, &create), map(bytes).as_bytes());
        assert_eq!(direct, through, "{bytes} bytes");
        assert_ne!(direct.code, 0);
    }
}

/// What curl got: the code, those header fields that are about the content, and the body.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    code: String,
    fields: Vec<String>,
    body: Vec<u8>,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find_map(|field| field.strip_prefix(&format!("{name}: ")))
    }
}

/// The same request both ways, over HTTP/2 and HTTP/1.1; gives the one answer.
fn same_answer(path: &str, args: &[&str]) -> Answer {
    let mut answers = [Way::Direct, Way::Hawser].into_iter().flat_map(|way| {
        let curl = Curl::going(way);
        ["--http2", "--http1.1"].map(|version| answer(&curl, path, &[&[version], args].concat()))
    });
    let direct = answers.next().unwrap();
    for answer in answers {
        assert!(direct == answer, "{path} {args:?}: {:?}, or {:?}", shown(&direct), shown(&answer));
    }
    direct
}

fn answer(curl: &Curl, path: &str, args: &[&str]) -> Answer {
    let folder = tempfile::tempdir().unwrap();
    let [head, body] = ["head", "body"].map(|name| folder.path().join(name));
    std::fs::write(&body, "").unwrap();
    let mut command = curl.command(path, &["-w", "%{http_code}"]);
    let code = ok(command.args(args).arg("--dump-header").arg(&head).arg("--output").arg(&body));
    let head = std::fs::read_to_string(head).unwrap();
    let field = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        let name = name.to_ascii_lowercase();
        OF_CONTENT.contains(&name.as_str()).then(|| format!("{name}: {}", value.trim()))
    };
    let mut fields: Vec<String> = head.lines().filter_map(field).collect();
    fields.sort();
    Answer { code, fields, body: std::fs::read(body).unwrap() }
}

fn shown(answer: &Answer) -> (&str, &[String], String) {
    let body = String::from_utf8_lossy(&answer.body);
    (&answer.code, &answer.fields, body.chars().take(300).collect())
}

#[test]
fn what_is_compressed_stays_as_it_is() {
    let sandbox = Sandbox::new("gzip");
    // The API server compresses what is larger than 128 KiB.
    let words: String = (0..40_000).map(|number| format!("{number} ")).collect();
    let map =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: big}}\ndata: {{words: \"{words}\"}}\n");
    let _made = ok_with(&mut sandbox.kubectl(Way::Direct, &["create", "-f", "-"]), &map);
    let path = format!("/api/v1/namespaces/{}/configmaps/big", sandbox.namespace);
    let answer = same_answer(&path, &["-H", "Accept-Encoding: gzip"]);
    assert_eq!(answer.field("content-encoding"), Some("gzip"), "{:?}", answer.fields);
    assert!(answer.body.starts_with(b"\x1f\x8b") && answer.body.len() < words.len());
    let plain = same_answer(&path, &[]);
    assert!(
        plain.field("content-encoding").is_none() && plain.body.len() > words.len(),
        "{:?}",
        plain.fields
    );
}

#[test]
fn what_a_client_has_already_is_not_sent_again() {
    let aggregated = "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    for (path, accept) in [
        ("/api", aggregated),
        ("/apis", aggregated),
        ("/openapi/v3/api/v1", "Accept: application/json"),
        ("/openapi/v2", "Accept: application/json"),
    ] {
        let whole = same_answer(path, &["-H", accept]);
        assert_eq!(whole.code, "200");
        let tag = whole.field("etag").unwrap();
        let known = format!("If-None-Match: {tag}");
        let nothing = same_answer(path, &["-H", accept, "-H", &known]);
        assert_eq!((nothing.code.as_str(), nothing.body.as_slice()), ("304", &b""[..]), "{path} {known}");
        let other = same_answer(path, &["-H", accept, "-H", "If-None-Match: \"0\""]);
        assert_eq!(other.code, "200");
    }
}

#[test]
fn media_types_are_between_client_and_api_server() {
    let map = "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt";
    let answer = same_answer(map, &["-H", "Accept: application/nonsense"]);
    assert_eq!(answer.code, "406");
    assert!(String::from_utf8_lossy(&answer.body).contains("NotAcceptable"), "{answer:?}");
    let create = ["-X", "POST", "-d", "{}", "-H", "Content-Type: application/nonsense"];
    let answer = same_answer("/api/v1/namespaces/kube-system/configmaps", &create);
    assert_eq!(answer.code, "415");
    assert!(String::from_utf8_lossy(&answer.body).contains("UnsupportedMediaType"), "{answer:?}");
    for accept in [
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    ] {
        let answer = same_answer(map, &["-H", &format!("Accept: {accept}")]);
        assert_eq!(answer.code, "200");
        let kind = answer.field("content-type").unwrap().to_owned();
        assert_eq!(kind.split(';').next(), accept.split(';').next());
    }
}

#[test]
fn what_is_gone_is_told_as_answer_and_as_event() {
    // As old as anything in the cluster, and forgotten. Events, because no cache of the API server remembers them.
    let mut compact = Command::new("nsenter");
    compact.arg(format!("--net=/run/netns/{}", up().cluster().netns)).args(["curl", "-s", "-d"]);
    let _or_already = ok(compact.args(["{\"revision\":\"50\"}", "http://127.0.0.1:2379/v3/kv/compaction"]));
    let events = "/api/v1/namespaces/kube-system/events?resourceVersion=1";
    let answer = same_answer(&format!("{events}&resourceVersionMatch=Exact"), &[]);
    assert_eq!(answer.code, "410");
    assert!(String::from_utf8_lossy(&answer.body).contains("\"reason\": \"Expired\""), "{answer:?}");
    let answer = same_answer(&format!("{events}&watch=true"), &[]);
    assert_eq!(answer.code, "200");
    let event: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&event["type"], &event["object"]["code"]), (&"ERROR".into(), &410.into()), "{event}");
}

#[test]
fn heads_of_almost_a_mebibyte_pass() {
    // What edge and API server take at most.
    let field = |number: u32| (format!("x-field-{number}"), "x".repeat(60_000));
    let fields: Vec<_> = (0..16).map(field).collect();
    assert_eq!(http2::code(&Curl::new(), "/api/v1/namespaces/kube-system", &fields), 200);
    let fields: Vec<_> = (0..18).map(field).collect();
    assert_eq!(http2::code(&Curl::new(), "/api/v1/namespaces/kube-system", &fields), 431);

    // Longer targets are more than the parsers of HTTP/2 here take.
    let path = format!("/api/v1/namespaces/kube-system?unknown={}", "x".repeat(60_000));
    let [direct, through] =
        [Way::Direct, Way::Hawser].map(|way| ok(&mut up().kubectl(way, &["get", "--raw", &path])));
    assert_eq!(direct, through);
}

/// Header fields that must be the same both ways.
const OF_CONTENT: [&str; 7] = [
    "content-type",
    "content-encoding",
    "vary",
    "etag",
    "cache-control",
    "x-content-type-options",
    "warning",
];
