//! Which link takes a request, and what the registry tells of its links.

use std::time::Duration;

use hawser_kube::close::CloseReason;
use hawser_tunnel::wire::{Class, HelloV1, StatusV1};
use hawser_tunnel::{ClusterFull, Link, LinkConfig, LinkIdentity, Registry};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{AT_ONCE, Pair};

/// A link of `cluster` on `worker`, and what keeps it alive.
async fn link(cluster: &str, replica: &str, class: Class, worker: usize) -> (Link, Pair) {
    let pair = Pair::with(LinkConfig::edge(), LinkConfig::agent()).await;
    let identity = LinkIdentity { cluster: cluster.into(), replica: replica.into(), class, worker };
    (Link::new(pair.edge.clone(), identity), pair)
}

fn hello(link: &Link) -> HelloV1 {
    HelloV1 {
        cluster: link.cluster().to_string(),
        replica: link.replica().to_string(),
        agent_version: "1.0".into(),
        kubernetes_version: "v1.36.1".into(),
        nodes: 3,
        class: link.class(),
        capabilities: vec!["ceiling".into()],
        problems: vec![],
        extensions: vec![],
    }
}

fn add(registry: &Registry, link: &Link) {
    registry.add(link.clone(), &hello(link)).unwrap();
}

#[tokio::test]
async fn cluster_and_class_must_match() {
    let registry = Registry::new();
    let (general, _g) = link("prod", "a", Class::General, 0).await;
    let (bulk, _b) = link("prod", "a", Class::Bulk, 0).await;
    for added in [&general, &bulk] {
        add(&registry, added);
    }
    let routed = |cluster, class| registry.route(cluster, class, 0).map(|link| link.id());
    assert_eq!(routed("prod", Class::General), Some(general.id()));
    assert_eq!(routed("prod", Class::Bulk), Some(bulk.id()));
    assert_eq!(routed("prod2", Class::General), None);
    assert_eq!(routed("pro", Class::General), None);
}

#[tokio::test]
async fn the_local_worker_comes_first_then_the_least_busy() {
    let registry = Registry::new();
    let (on_0, _p0) = link("prod", "a", Class::General, 0).await;
    let (on_1, _p1) = link("prod", "a", Class::General, 1).await;
    let (also_on_1, _p2) = link("prod", "b", Class::General, 1).await;
    for added in [&on_0, &on_1, &also_on_1] {
        add(&registry, added);
    }
    let routed = |worker| registry.route("prod", Class::General, worker).unwrap().id();
    assert_eq!(routed(0), on_0.id());
    let busy = on_1.open().await.unwrap();
    assert_eq!((on_1.in_flight(), also_on_1.in_flight()), (1, 0));
    assert_eq!(routed(1), also_on_1.id());
    let busier = (also_on_1.open().await.unwrap(), also_on_1.open().await.unwrap());
    assert_eq!(routed(1), on_1.id());
    // A worker without a link of its own takes the least busy of all.
    assert_eq!(routed(7), on_0.id());
    drop((busy, busier));
    assert_eq!((on_1.in_flight(), also_on_1.in_flight()), (0, 0));
}

#[tokio::test]
async fn a_half_stream_still_counts_as_in_flight() {
    let (link, _pair) = link("prod", "a", Class::General, 0).await;
    let stream = link.open().await.unwrap();
    drop(stream.recv);
    assert_eq!(link.in_flight(), 1);
    drop(stream.send);
    assert_eq!(link.in_flight(), 0);
}

#[tokio::test]
async fn draining_dead_and_avoided_links_are_passed_over() {
    let registry = Registry::new();
    let (one, one_pair) = link("prod", "a", Class::General, 0).await;
    let (other, _other_pair) = link("prod", "b", Class::General, 1).await;
    add(&registry, &one);
    add(&registry, &other);
    let routed = || registry.route("prod", Class::General, 0).map(|link| link.id());
    let avoiding =
        |link: &Link| registry.route_avoiding("prod", Class::General, 0, link.id()).map(|link| link.id());
    assert_eq!(routed(), Some(one.id()));
    assert_eq!(avoiding(&one), Some(other.id()));
    one.drain();
    assert_eq!(routed(), Some(other.id()));
    assert_eq!(avoiding(&other), None);
    assert!(one.is_alive(), "draining ends nothing");
    one_pair.agent.close(CloseReason::Drain);
    one.closed().await;
    registry.remove(&other);
    assert_eq!(routed(), None);
}

#[tokio::test]
async fn a_dead_link_is_not_routed_to_even_before_it_is_removed() {
    let registry = Registry::new();
    let (link, pair) = link("prod", "a", Class::General, 0).await;
    add(&registry, &link);
    pair.agent.close(CloseReason::Shutdown);
    link.closed().await;
    assert!(registry.route("prod", Class::General, 0).is_none());
    let replicas = registry.replicas("prod").unwrap();
    assert!(replicas.is_empty());
}

#[tokio::test]
async fn waiting_ends_with_the_link_or_at_the_deadline() {
    let registry = Registry::new();
    let deadline = |wait| (Instant::now() + wait).into_std();
    let started = Instant::now();
    let nothing = registry.wait_for("prod", Class::General, 0, deadline(Duration::from_millis(50))).await;
    assert!(nothing.is_none() && started.elapsed() >= Duration::from_millis(50));

    let (link, _pair) = link("prod", "a", Class::General, 0).await;
    let wait = registry.wait_for("prod", Class::General, 0, deadline(10 * AT_ONCE));
    let appear = async {
        sleep(Duration::from_millis(20)).await;
        add(&registry, &link);
    };
    let (found, ()) = tokio::join!(timeout(AT_ONCE, wait), appear);
    assert_eq!(found.unwrap().unwrap().id(), link.id());
    let at_once = registry.wait_for("prod", Class::General, 0, deadline(Duration::ZERO)).await;
    assert!(at_once.is_some(), "a link that is there needs no wait");
}

#[tokio::test]
async fn status_is_told_by_replica_and_links_are_announced() {
    let registry = Registry::new();
    let mut changes = registry.subscribe();
    let (general, _g) = link("prod", "a", Class::General, 0).await;
    let (bulk, _b) = link("prod", "a", Class::Bulk, 0).await;
    let (second, _s) = link("prod", "b", Class::General, 0).await;
    let (elsewhere, _e) = link("dev", "x", Class::General, 0).await;
    for added in [&general, &bulk, &second, &elsewhere] {
        add(&registry, added);
        timeout(AT_ONCE, changes.changed()).await.unwrap().unwrap();
    }
    let status = StatusV1 {
        agent_version: "1.1".into(),
        kubernetes_version: "v1.37.0".into(),
        nodes: 5,
        problems: vec!["clock is off by 40 s".into()],
    };
    registry.report(&bulk, status.clone());
    assert!(!changes.has_changed().unwrap(), "no link came or went");
    general.drain();

    assert_eq!(registry.replicas("dev").unwrap().len(), 1);
    let prod = registry.replicas("prod").unwrap();
    let [a, b] = &prod[..] else { panic!("two replicas: {prod:?}") };
    assert_eq!((&*a.replica, a.links, a.draining, &*a.status), ("a", 2, false, &status));
    assert_eq!((&*b.replica, b.links, b.draining, &*b.status), ("b", 1, false, &hello(&second).status()));
    assert_eq!(&*b.capabilities, ["ceiling".to_owned()]);
    assert!(b.rtt > Duration::ZERO && b.rtt < AT_ONCE);

    bulk.drain();
    second.drain();
    assert!(registry.replicas("prod").unwrap().iter().all(|replica| replica.draining));
    for removed in [&general, &bulk, &second] {
        registry.remove(removed);
    }
    assert!(registry.replicas("prod").is_none());
}

#[tokio::test]
async fn a_cluster_has_256_links_at_most() {
    let registry = Registry::new();
    let (first, _pair) = link("prod", "a", Class::General, 0).await;
    let another = |cluster: &str| {
        let identity =
            LinkIdentity { cluster: cluster.into(), replica: "a".into(), class: Class::Bulk, worker: 0 };
        Link::new((*first).clone(), identity)
    };
    for _ in 0..256 {
        add(&registry, &another("prod"));
    }
    assert_eq!(registry.add(first.clone(), &hello(&first)), Err(ClusterFull));
    assert_eq!(registry.replicas("prod").unwrap()[0].links, 256);
    let elsewhere = another("dev");
    add(&registry, &elsewhere);
    registry.remove(&elsewhere);
    registry.remove(&registry.route("prod", Class::Bulk, 0).unwrap());
    add(&registry, &first);
}

#[tokio::test]
async fn writers_on_several_threads_lose_no_change() {
    const ROUNDS: usize = 50;
    let registry = Registry::new();
    let (first, _pair) = link("prod", "a", Class::General, 0).await;
    let write = |worker: usize| {
        let cluster = format!("c{worker}").into();
        let identity = LinkIdentity { cluster, replica: "a".into(), class: Class::General, worker };
        for _ in 0..ROUNDS {
            let [stays, goes] = [(); 2].map(|()| Link::new((*first).clone(), identity.clone()));
            add(&registry, &stays);
            add(&registry, &goes);
            registry.remove(&goes);
        }
    };
    std::thread::scope(|threads| {
        for worker in 0..8 {
            let write = &write;
            threads.spawn(move || write(worker));
        }
    });
    let links = |worker| registry.replicas(&format!("c{worker}")).unwrap()[0].links;
    assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(links), [ROUNDS; 8]);
    assert_eq!(*registry.subscribe().borrow(), 8 * 3 * ROUNDS as u64);
}
