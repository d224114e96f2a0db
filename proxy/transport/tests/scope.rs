//! The cancellation tree: who ends with whom, and with which reason.

use std::time::Duration;

use hawser_kube::close::CloseReason::{ClientGone, Drain, Revoked};
use hawser_transport::Scope;

#[test]
fn a_scope_lives_until_it_is_cancelled() {
    let scope = Scope::root();
    assert_eq!((scope.is_cancelled(), scope.reason()), (false, None));
    scope.cancel(Drain);
    assert_eq!((scope.is_cancelled(), scope.reason()), (true, Some(Drain)));
}

#[test]
fn everything_below_ends_with_the_same_reason() {
    let process = Scope::root();
    let worker = process.child();
    let exchange = worker.child().child();
    process.cancel(Drain);
    assert_eq!(exchange.reason(), Some(Drain));
    assert_eq!(worker.reason(), Some(Drain));
}

#[test]
fn what_ends_below_leaves_the_rest_alone() {
    let connection = Scope::root();
    let (one, other) = (connection.child(), connection.child());
    one.cancel(Revoked);
    assert_eq!(one.reason(), Some(Revoked));
    assert_eq!((connection.reason(), other.reason()), (None, None));
}

#[test]
fn the_first_reason_wins() {
    let scope = Scope::root();
    scope.cancel(ClientGone);
    scope.cancel(Drain);
    assert_eq!(scope.reason(), Some(ClientGone));
}

#[test]
fn a_reason_of_its_own_outlives_a_later_one_from_above() {
    let above = Scope::root();
    let below = above.child();
    below.cancel(ClientGone);
    above.cancel(Drain);
    assert_eq!(below.reason(), Some(ClientGone));
}

#[test]
fn a_reason_from_above_outlives_a_later_one_of_its_own() {
    let above = Scope::root();
    let below = above.child();
    above.cancel(Drain);
    below.cancel(ClientGone);
    assert_eq!(below.reason(), Some(Drain));
}

#[test]
fn a_child_of_an_ended_scope_is_born_ended() {
    let scope = Scope::root();
    scope.cancel(Drain);
    assert_eq!(scope.child().reason(), Some(Drain));
}

#[test]
fn many_threads_that_race_agree_on_one_reason() {
    for _ in 0..200 {
        let scope = Scope::root();
        let child = scope.child();
        let reasons: Vec<_> = std::thread::scope(|threads| {
            let cancels =
                [(&scope, Drain), (&child, ClientGone), (&child, Revoked)].map(|(scope, reason)| {
                    let child = &child;
                    threads.spawn(move || {
                        scope.cancel(reason);
                        child.reason().expect("cancelled")
                    })
                });
            cancels.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert!(reasons.iter().all(|reason| Some(reason) == child.reason().as_ref()), "{reasons:?}");
    }
}

#[tokio::test]
async fn waiting_ends_with_the_reason() {
    let scope = Scope::root();
    let child = scope.child();
    let (reason, ()) = tokio::join!(child.cancelled(), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        scope.cancel(Revoked);
    });
    assert_eq!(reason, Revoked);
    assert_eq!(child.cancelled().await, Revoked);
}
