//! Clients that do not read their answers: each of them holds memory of the edge, so a user has a budget of them.

use std::{thread, time::Duration};

use crate::{
    client::{Client, bearer},
    edge::Edge,
    script::{ScriptedAgent, Step, head},
};

#[test]
fn over_the_budget_the_client_that_stalled_first_is_cut() {
    // Each holds a window of 4 MiB at most.
    let edge = Edge::start("limits: {stalledBytesPerUserMax: 8Mi}");
    let _agent = ScriptedAgent::connect(&edge, "one", |_any| {
        vec![head(200, &[("content-type", "text/plain")]), Step::SendForEver(vec![b'x'; 1 << 16])]
    });
    let stalled = || {
        let mut client = Client::connect(&edge, "http/1.1").unwrap();
        client.ask("GET /api/v1/secrets", &[bearer(&edge)]);
        // Its buffers are full, and so it has stood for a while before the next one comes.
        thread::sleep(Duration::from_secs(3));
        client
    };
    let mut first = stalled();
    let (mut second, mut third) = (stalled(), stalled());
    edge.counts("stalled_cuts_total 1");
    assert!(first.takes(FAR) < FAR, "it gets what was on its way");
    assert!(!first.ended_in_good_order());
    // The others go on as soon as they read.
    for client in [&mut second, &mut third] {
        assert!(client.takes(FAR) >= FAR);
    }
    edge.counts("stalled_cuts_total 1");
}

/// More than all buffers on the way hold.
const FAR: usize = 64 << 20;
