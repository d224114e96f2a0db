//! An unmodified kubectl prints through Hawser what it prints directly, with the same exit code.

use hawser_tests::{Sandbox, Way, ok, ok_with, run, up};

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
    same(&["get", "pods", "-A", "-o", "name", "--sort-by=.metadata.name"]);
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
