//! As `same_as_direct.rs`, for what a cluster has only once (custom resources, nodes, rights, aggregated APIs), and for
//! what is meant to differ.

use hawser_tests::{
    metrics::MetricsApi,
    same::{Client, same_as_direct},
};

/// One test, because some of these commands change what others print.
#[test]
fn one_after_the_other() {
    for client in [Client::Newest, Client::Debian] {
        same_as_direct("cluster", &[client]);
    }
    same_as_direct("differences", &[Client::Newest, Client::Debian]);
    let _metrics = MetricsApi::start();
    same_as_direct("top", &[Client::Newest, Client::Debian]);
}
