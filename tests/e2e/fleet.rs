//! Several clusters behind one edge: one kubeconfig, a context each, and nothing of one cluster shows up in another. What
//! keeps one from being used is said.

use std::time::Duration;

use hawser_tests::{Cluster, Ran, ok, ok_with, run, until, up};
use parking_lot::{Mutex, MutexGuard};

/// Tests run one after the other: one of them takes a right away that all others need.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock()
}

/// The first two clusters.
fn two() -> (&'static Cluster, &'static Cluster) {
    match up().clusters.as_slice() {
        [one, other, ..] => (one, other),
        _ => unreachable!("`cargo xtask test` starts two clusters"),
    }
}

/// A kind that only one cluster has.
struct Whale<'a>(&'a Cluster);

impl Whale<'_> {
    const CRD: &'static str = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: whales.sea.example}\n\
        spec: {group: sea.example, scope: Cluster, names: {plural: whales, singular: whale, kind: Whale}, versions: [{name: v1, \
        served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}\n";
}

impl Drop for Whale<'_> {
    fn drop(&mut self) {
        let _gone = run(&mut up().direct(self.0, &["delete", "crd", "whales.sea.example"]));
    }
}

#[test]
fn discovery_of_one_cluster_is_not_taken_for_anothers() {
    let _alone = alone();
    let (one, other) = two();
    let _made = ok_with(&mut up().direct(other, &["apply", "-f", "-"]), Whale::CRD);
    let _whale = Whale(other);
    let home = tempfile::tempdir().unwrap();
    let resources = |cluster: &Cluster| {
        let args = ["--context", &cluster.name, "api-resources", "-o", "name"];
        ok(up().kubectl_as(&up().admin_kubeconfig, &args).env("HOME", home.path()))
    };
    // Its own path is served before the list of all kinds knows it.
    until("the kind is in the cluster's list", Duration::from_secs(60), || {
        ok(&mut up().direct(other, &["api-resources", "-o", "name"])).contains("whales.sea.example")
    });
    for _ in 0..2 {
        assert!(!resources(one).contains("whales.sea.example"));
        assert!(resources(other).contains("whales.sea.example"));
    }
}

#[test]
fn a_grant_and_a_credential_are_good_where_they_say() {
    let _alone = alone();
    let (one, other) = two();
    let folder = tempfile::tempdir().unwrap();
    let policy = format!(
        "apiVersion: access.hawser.dev/v1\nkind: AccessPolicy\nmetadata: {{name: t-fleet, namespace: hawser-system}}\n\
         spec: {{effect: Allow, subjects: {{users: [fleet@example.com]}}, clusters: {{names: [{}]}}, roles: [view]}}\n",
        one.name
    );
    let _applied = ok_with(&mut up().hawser(&["apply", "-f", "-"]), &policy);
    let make = |name: &str, more: &[&str]| {
        let file = folder.path().join(name);
        let mut args = vec!["kubeconfig", "fleet@example.com", "--local", "--output", file.to_str().unwrap()];
        args.extend(more);
        let _made = ok(&mut up().hawser(&args));
        file
    };
    let (everywhere, here) = (make("everywhere", &[]), make("here", &["--cluster", &other.name]));
    let pods = |file, context: &str| {
        run(&mut up().kubectl_as(file, &["--context", context, "get", "pods", "-n", "default"]))
    };
    until("the policy is in force", Duration::from_secs(20), || pods(&everywhere, &one.name).code == 0);
    let denied = pods(&everywhere, &other.name);
    assert!(denied.code == 1 && denied.stderr.contains("Error from server (Forbidden)"), "{denied:?}");
    let contexts = ok(&mut up().kubectl_as(&here, &["config", "get-contexts", "-o", "name"]));
    assert_eq!(contexts.trim(), other.name);
    // The certificate of the narrow file, at the cluster it is not for.
    let server = ok(&mut up().kubectl_as(
        &everywhere,
        &[
            "config",
            "view",
            "-o",
            &format!("jsonpath={{.clusters[?(@.name==\"{}\")].cluster.server}}", one.name),
        ],
    ));
    let elsewhere = run(&mut up().kubectl_as(&here, &["--server", &server, "get", "pods", "-n", "default"]));
    assert!(elsewhere.code == 1 && elsewhere.stderr.contains("Forbidden"), "{elsewhere:?}");
    let _gone = ok(&mut up().hawser(&["delete", "accesspolicy", "t-fleet"]));
}

/// A cluster whose agent has lost all its rights, until dropped.
struct Unbound<'a>(&'a Cluster);

impl<'a> Unbound<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        let _gone = ok(&mut up().direct(cluster, &["delete", "clusterrolebinding", "hawser-agent"]));
        Self(cluster)
    }
}

impl Drop for Unbound<'_> {
    fn drop(&mut self) {
        let agent = ["--clusterrole=hawser-agent", "--serviceaccount=hawser-system:hawser-agent"];
        let bind = [&["create", "--save-config", "clusterrolebinding", "hawser-agent"][..], &agent].concat();
        let bound = run(&mut up().direct(self.0, &bind));
        assert!(bound.code == 0 || std::thread::panicking(), "the agent stays without its rights: {bound:?}");
    }
}

#[test]
fn a_cluster_whose_agent_may_not_impersonate_is_not_connected() {
    let _alone = alone();
    let (_, other) = two();
    let status =
        |format: &str| -> Ran { run(&mut up().hawser(&["status", &other.name, "--output", format])) };
    let unbound = Unbound::new(other);
    // Each agent looks every half minute.
    until("status says so", Duration::from_secs(75), || status("text").code == 3);
    let told = status("text");
    assert!(told.stdout.contains("not connected"), "{told:?}");
    assert!(
        told.stderr.contains("the agent may not impersonate users: apply what `hawser import`"),
        "{told:?}"
    );
    assert!(status("json").stdout.contains("\"connected\": false"), "{:?}", status("json"));
    drop(unbound);
    until("it is connected again", Duration::from_secs(30), || status("text").code == 0);
    let pods = ["--context", &other.name, "get", "pods", "-n", "default"];
    let _carried = ok(&mut up().kubectl_as(&up().admin_kubeconfig, &pods));
}
