//! A real aggregated API server for metrics.k8s.io, run inside the cluster's network namespace and registered with the
//! cluster's API server.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{Way, ok, ok_with, program, run, until, up};

/// The running server; unregistered and ended when dropped.
pub struct MetricsApi {
    server: Child,
    _folder: tempfile::TempDir,
}

impl MetricsApi {
    /// Starts it, and waits until the API server passes requests on to it.
    #[must_use]
    pub fn start() -> Self {
        let direct = |args: &[&str]| up().kubectl(Way::Direct, args);
        let authority = ok(&mut direct(&[
            "get",
            "configmap",
            "-n",
            "kube-system",
            "extension-apiserver-authentication",
            "-o",
            "jsonpath={.data.requestheader-client-ca-file}",
        ]));
        let address =
            ok(&mut direct(&["get", "nodes", "-o", "jsonpath={.items[0].status.addresses[0].address}"]));
        let folder = tempfile::tempdir().unwrap();
        let client_ca = folder.path().join("client-ca.crt");
        fs::write(&client_ca, authority).unwrap();
        let server = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", up().cluster().netns))
            .arg(program("metrics-api"))
            .arg("--listen")
            .arg(format!("{address}:{PORT}"))
            .arg("--client-ca")
            .arg(client_ca)
            .stdin(Stdio::null())
            // It tells of every handshake that the API server gives up.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let _registered = ok_with(&mut direct(&["apply", "-f", "-"]), &manifest(&address));
        until("metrics.k8s.io is served", Duration::from_secs(30), || {
            run(&mut direct(&["get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"])).code == 0
        });
        Self { server, _folder: folder }
    }
}

impl Drop for MetricsApi {
    fn drop(&mut self) {
        for object in ["apiservice/v1beta1.metrics.k8s.io", "namespace/t-metrics"] {
            let args = ["delete", object, "--ignore-not-found", "--wait=false"];
            let _gone = run(&mut up().kubectl(Way::Direct, &args));
        }
        let _ended = self.server.kill().and_then(|()| self.server.wait());
    }
}

fn manifest(address: &str) -> String {
    format!(
        "apiVersion: v1
kind: Namespace
metadata: {{name: t-metrics}}
---
apiVersion: v1
kind: Service
metadata: {{name: metrics, namespace: t-metrics}}
spec: {{ports: [{{port: 443, targetPort: {PORT}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: metrics, namespace: t-metrics, labels: {{kubernetes.io/service-name: metrics}}}}
addressType: IPv4
ports: [{{port: {PORT}}}]
endpoints: [{{addresses: [\"{address}\"]}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {{name: v1beta1.metrics.k8s.io}}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {{name: metrics, namespace: t-metrics}}
"
    )
}

const PORT: u16 = 14443;
