use std::net::SocketAddr;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::data::Settings;

fn edge(clusters: Vec<ClusterStatus>) -> EdgeStatus {
    EdgeStatus {
        edge_id: "e1".to_owned(),
        version: "0.1.0".to_owned(),
        listen: "[::]:8443".to_owned(),
        audit: AuditStatus { dropped: 0, ready: true },
        clusters,
    }
}

fn cluster(name: &str, connected: bool) -> ClusterStatus {
    ClusterStatus { name: name.to_owned(), connected, ..ClusterStatus::default() }
}

/// A data folder whose edge listens there.
fn folder(health: SocketAddr) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("store.db"), "").unwrap();
    let settings = Settings { pid: 1, port: 1, advertise: None, health };
    DataDir::existing(dir.path()).unwrap().write_settings(&settings).unwrap();
    dir
}

/// Answers one connection after the other, then is gone.
async fn answer(listener: TcpListener, answers: Vec<String>) {
    for answer in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let read = stream.read(&mut request).await.unwrap();
        assert!(request[..read].starts_with(b"GET /status HTTP/1.1\r\n"));
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

fn http(status: &EdgeStatus) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{}",
        serde_json::to_string(status).unwrap()
    )
}

async fn listener() -> (TcpListener, tempfile::TempDir) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dir = folder(listener.local_addr().unwrap());
    (listener, dir)
}

#[test]
fn the_object_on_the_wire() {
    let replica =
        ReplicaStatus { name: "pod".to_owned(), links: 2, in_flight: 1, ..ReplicaStatus::default() };
    let status = edge(vec![ClusterStatus {
        kubernetes_version: Some("v1.37.0".to_owned()),
        nodes: Some(3),
        rtt_ms: Some(1.25),
        replicas: vec![replica],
        ..cluster("a", true)
    }]);
    let wanted = json!({
        "edge_id": "e1", "version": "0.1.0", "listen": "[::]:8443", "audit": {"dropped": 0, "ready": true},
        "clusters": [{
            "name": "a", "connected": true, "kubernetesVersion": "v1.37.0", "nodes": 3, "rttMs": 1.25,
            "replicas": [{
                "name": "pod", "links": 2, "inFlight": 1, "rttMs": null, "agentVersion": "", "draining": false,
            }],
            "problems": [],
        }],
    });
    assert_eq!(serde_json::to_value(&status).unwrap(), wanted);
    assert_eq!(serde_json::from_value::<EdgeStatus>(wanted).unwrap(), status);
    assert_eq!(row(&status.clusters[0]), ["a", "connected", "v1.37.0", "3", "1.2 ms", "1", "2", "1"]);
    assert_eq!(row(&cluster("b", false)), ["b", "not connected", "-", "-", "-", "0", "0", "0"]);
}

#[test]
fn what_is_missing_is_said_with_its_reason() {
    let blocked = ClusterStatus { problems: vec!["UDP is blocked".to_owned()], ..cluster("b", false) };
    let status = edge(vec![cluster("a", true), blocked, cluster("c", false)]);
    assert_eq!(missing(&status, &[]), ["b: UDP is blocked", "c: no agent is connected"]);
    let unknown = missing(&edge(Vec::new()), &["x".to_owned()]);
    assert!(unknown[0].starts_with("x: there is no such cluster"), "{unknown:?}");
}

#[tokio::test]
async fn only_the_clusters_asked_for() {
    let (listener, dir) = listener().await;
    let all = edge(vec![cluster("a", true), cluster("b", false)]);
    let asked = ["a".to_owned()];
    let ((), status) = tokio::join!(answer(listener, vec![http(&all)]), report(dir.path(), &asked));
    let status = status.unwrap();
    assert_eq!(status.clusters, [cluster("a", true)]);
    assert!(missing(&status, &asked).is_empty());
}

#[tokio::test]
async fn no_edge_is_an_answer_too() {
    let (listener, dir) = listener().await;
    drop(listener);
    let error = format!("{:#}", report(dir.path(), &[]).await.unwrap_err());
    assert!(error.contains("is `hawser up` running?") && error.contains("refused"), "{error}");
}

#[tokio::test]
async fn waiting_ends_when_all_are_connected() {
    let (listener, dir) = listener().await;
    let answers = vec![
        "HTTP/1.1 503 Service Unavailable\r\n\r\n".to_owned(),
        http(&edge(vec![cluster("a", false)])),
        http(&edge(vec![cluster("a", true)])),
    ];
    let waiting = wait_for(dir.path(), &[], Duration::from_secs(30));
    let ((), status) = tokio::join!(answer(listener, answers), waiting);
    assert!(status.unwrap().clusters[0].connected);
}

#[tokio::test]
async fn waiting_ends_when_the_time_is_up() {
    let (listener, dir) = listener().await;
    let down = http(&edge(vec![cluster("a", false)]));
    let waiting = wait_for(dir.path(), &[], Duration::ZERO);
    let ((), status) = tokio::join!(answer(listener, vec![down]), waiting);
    assert!(!status.unwrap().clusters[0].connected);
}
