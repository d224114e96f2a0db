//! A client that goes away takes its request with it: the API server's watch ends at once, and none is left behind.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use hawser_tests::{Curl, Sandbox, Way, ok, until, up};

/// Watches in a namespace of these that the API server runs now. Its own controllers watch all namespaces at once, and each
/// test has a resource of its own.
fn running(resource: &str) -> u64 {
    let metrics = ok(&mut up().kubectl(Way::Direct, &["get", "--raw", "/metrics"]));
    let watches = metrics.lines().filter(|line| {
        line.starts_with("apiserver_longrunning_requests{")
            && line.contains(&format!("resource=\"{resource}\""))
            && line.contains("scope=\"namespace\"")
            && line.contains("verb=\"WATCH\"")
    });
    watches.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

fn watch(sandbox: &Sandbox) -> Child {
    let args = ["get", "podtemplates", "-w", "--output-watch-events"];
    let mut child = sandbox
        .kubectl(Way::Hawser, &args)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("kubectl starts");
    let mut line = String::new();
    let _read = BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line);
    assert!(line.starts_with("EVENT"), "{line}");
    child
}

#[test]
fn one_client_holds_more_watches_than_a_connection_has_streams() {
    let sandbox = Sandbox::new("many-watches");
    let curl = Curl::new();
    let before = running("limitranges");
    let path = format!("/api/v1/namespaces/{}/limitranges?watch=true&timeoutSeconds=20", sandbox.namespace);
    let codes = thread::scope(|scope| {
        let codes = scope.spawn(|| {
            let args = ["--http2", "--parallel-max", "150", "-H", "Accept: application/json"];
            curl.codes(&format!("{path}&fieldManager=m[1-150]"), &args)
        });
        until("150 watches run", Duration::from_secs(20), || running("limitranges") >= before + 150);
        codes.join().expect("curl ends")
    });
    assert_eq!(codes, vec!["200"; 150]);
}

#[test]
fn no_watch_is_left_behind() {
    let sandbox = Sandbox::new("cancel");
    let template = "apiVersion: v1\nkind: PodTemplate\nmetadata: {name: t}\ntemplate: {spec: {containers: [{name: c, image: x}]}}\n";
    let _made = hawser_tests::ok_with(&mut sandbox.kubectl(Way::Direct, &["apply", "-f", "-"]), template);
    let before = running("podtemplates");
    let mut children: Vec<Child> = (0..20).map(|_| watch(&sandbox)).collect();
    until("twenty watches run", Duration::from_secs(30), || running("podtemplates") >= before + 20);
    for child in &mut children {
        child.kill().expect("it runs");
    }
    until("the API server has ended them", Duration::from_secs(3), || running("podtemplates") <= before);
    for mut child in children {
        let _gone = child.wait();
    }
}
