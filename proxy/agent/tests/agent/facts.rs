//! What an agent tells the edge of its cluster.

use hawser_agent::STOPS_REQUESTS;
use hawser_kube::clock::SystemClock;

use super::{beside_agent, edge::Edge, server::Then};

fn check(bound: bool, wanted: &[&str]) {
    beside_agent(
        SystemClock,
        async |_| Then::Close,
        async |mut acceptor, authorities, server| {
            // Before the agent has taken its first look.
            server.bound.set(bound);
            let hello = Edge::accept(&mut acceptor, &authorities).await.hello;
            assert_eq!((hello.kubernetes_version.as_str(), hello.nodes), ("v1.37.2", u32::from(bound)));
            assert_eq!(hello.problems.len(), wanted.len(), "{:?}", hello.problems);
            for (problem, wanted) in hello.problems.iter().zip(wanted) {
                assert!(problem.starts_with(wanted), "{problem}");
            }
        },
    );
}

#[test]
fn an_agent_without_its_rights_says_that_no_request_can_be_carried() {
    let stops = format!("{STOPS_REQUESTS}the agent may not impersonate users: apply");
    let nodes = "the nodes cannot be counted: /api/v1/nodes?limit=1: the API server answers 403 Forbidden: nodes is forbidden";
    check(false, &[&stops, nodes]);
    check(true, &[]);
}
