//! Requests of every kind, in an order in which each finds what it needs.

/// What is asked, and how it is answered.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// Of curl.
    pub(crate) args: Vec<&'static str>,
    pub(crate) code: u16,
}

/// All of them, in this namespace with its pod `p`.
pub(crate) fn requests(namespace: &str) -> Vec<Request> {
    [discovery(), reads(), writes(), subresources()]
        .into_iter()
        .flatten()
        .map(|(method, path, args, code)| {
            let mut all = if method == "HEAD" { vec!["--head"] } else { vec!["-X", method] };
            all.extend(args);
            Request { path: path.replace("NS", &format!("/api/v1/namespaces/{namespace}")), args: all, code }
        })
        .collect()
}

type Row = (&'static str, &'static str, Vec<&'static str>, u16);

fn discovery() -> Vec<Row> {
    vec![
        ("GET", "/version", vec![], 200),
        ("GET", "/healthz", vec![], 200),
        ("GET", "/readyz?verbose", vec![], 200),
        ("GET", "/metrics", vec![], 200),
        ("GET", "/api", vec![], 200),
        ("GET", "/apis", vec![], 200),
        ("GET", "/apis/apps/v1", vec![], 200),
        ("GET", "/openapi/v3", vec![], 200),
        ("GET", "/nowhere", vec![], 404),
        ("GET", "/apis/nothing.example/v1/things", vec![], 404),
        ("POST", "/version", vec![], 405),
    ]
}

fn reads() -> Vec<Row> {
    vec![
        ("GET", "/api/v1/nodes", vec![], 200),
        ("GET", "/api/v1/pods?limit=1", vec![], 200),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name%3Dp", vec![], 200),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:discovery", vec![], 200),
        ("GET", "NS", vec![], 200),
        ("GET", "NS/pods", vec![], 200),
        ("GET", "NS/pods/p", vec![], 200),
        ("HEAD", "NS/pods/p", vec![], 405),
        ("HEAD", "NS/pods", vec![], 405),
        ("GET", "NS/pods/nothing", vec![], 404),
        ("GET", "NS/pods/p", vec!["-H", "Accept: application/nonsense"], 406),
        ("GET", "NS/configmaps?watch=1&timeoutSeconds=1", vec![], 200),
        ("GET", "NS/configmaps?watch=1&timeoutSeconds=1&fieldSelector=metadata.name=m", vec![], 200),
        ("GET", "NS/configmaps?watch=1&resourceVersion=never", vec![], 500),
        ("GET", "/api/v1/watch/namespaces?timeoutSeconds=1", vec![], 200),
    ]
}

fn writes() -> Vec<Row> {
    const MAP: &str = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"}}"#;
    let json = |body| vec!["-H", "Content-Type: application/json", "-d", body];
    let patch = |kind, body| vec!["-H", kind, "-d", body];
    vec![
        ("POST", "NS/configmaps", json(MAP), 201),
        ("POST", "NS/configmaps", json(MAP), 409),
        ("POST", "NS/configmaps?dryRun=All", json(r#"{"metadata":{"generateName":"dry-"}}"#), 201),
        ("POST", "NS/configmaps", json("{"), 400),
        ("POST", "NS/configmaps", json(r#"{"metadata":{"name":"No Name"}}"#), 422),
        ("PUT", "NS/configmaps/m", json(MAP), 200),
        ("PUT", "NS/configmaps/m", json(r#"{"metadata":{"name":"m","resourceVersion":"1"}}"#), 409),
        (
            "PATCH",
            "NS/configmaps/m",
            patch("Content-Type: application/merge-patch+json", r#"{"data":{"a":"b"}}"#),
            200,
        ),
        (
            "PATCH",
            "NS/configmaps/m?fieldManager=t&force=true",
            patch("Content-Type: application/apply-patch+yaml", MAP),
            200,
        ),
        (
            "PATCH",
            "NS/configmaps/m",
            patch("Content-Type: application/json-patch+json", r#"[{"op":"test","path":"/x","value":1}]"#),
            422,
        ),
        ("PATCH", "NS/configmaps/m", patch("Content-Type: text/plain", "x"), 415),
        ("DELETE", "NS/configmaps/m", vec![], 200),
        ("DELETE", "NS/configmaps/m", vec![], 404),
        ("DELETE", "NS/configmaps?labelSelector=no%3Dthing", vec![], 200),
    ]
}

fn subresources() -> Vec<Row> {
    const REVIEW: &str = r#"{"spec":{"resourceAttributes":{"verb":"get","resource":"pods"}}}"#;
    const EVICTION: &str = r#"{"metadata":{"name":"p"},"deleteOptions":{"dryRun":["All"]}}"#;
    let json = |body| vec!["-H", "Content-Type: application/json", "-d", body];
    vec![
        ("GET", "NS/pods/p/log", vec![], 200),
        ("GET", "NS/pods/p/log?container=nothing", vec![], 400),
        ("GET", "NS/pods/p/status", vec![], 200),
        ("GET", "NS/pods/p/exec?command=true", vec![], 400),
        ("POST", "NS/pods/p/eviction", json(EVICTION), 201),
        ("POST", "NS/serviceaccounts/default/token", json("{}"), 201),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json(REVIEW), 201),
        ("GET", "/api/v1/nodes/node-1/proxy/healthz", vec![], 200),
        ("GET", "NS/services/nothing/proxy/a//b", vec![], 503),
        ("GET", "NS/pods/nothing:80/proxy/", vec![], 404),
    ]
}
