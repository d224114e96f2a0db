//! When a request may be sent again.

use hawser_tunnel::Verdict::{MaybeDelivered, NotDelivered, Retry, Truncated};
use hawser_tunnel::wire::ReplyV1;
use hawser_tunnel::{Delivery, REFUSALS_MAX, Verdict};

fn dispatched() -> ReplyV1 {
    ReplyV1::Dispatched
}

fn head() -> ReplyV1 {
    ReplyV1::Head { status: 200, headers: http::HeaderMap::new(), end: false }
}

fn failed(maybe_delivered: bool) -> ReplyV1 {
    ReplyV1::Failed { code: 502, message: String::new(), maybe_delivered }
}

/// `sent`: whether the request was put on the link; then what the agent said.
fn after(sent: bool, replies: &[ReplyV1]) -> Delivery {
    let mut delivery = Delivery::new();
    if sent {
        delivery.on_sent();
    }
    for reply in replies {
        delivery.on_reply(reply);
    }
    delivery
}

fn check(sent: bool, replies: &[ReplyV1], on_loss: [Verdict; 2], on_refused: Verdict) {
    let [read, write] = on_loss;
    let delivery = after(sent, replies);
    assert_eq!(delivery.clone().on_loss(true), read, "read: {delivery:?}");
    assert_eq!(delivery.clone().on_loss(false), write, "write: {delivery:?}");
    assert_eq!(delivery.clone().on_refused(), on_refused, "refused: {delivery:?}");
}

#[test]
fn what_was_never_sent_is_always_sent_again() {
    check(false, &[], [Retry, Retry], Retry);
}

#[test]
fn a_link_lost_without_a_mark_may_have_delivered() {
    check(true, &[], [Retry, MaybeDelivered], Retry);
}

#[test]
fn after_the_mark_only_reads_are_repeated_and_a_refusal_is_not_believed() {
    check(true, &[dispatched()], [Retry, MaybeDelivered], MaybeDelivered);
    check(true, &[failed(true)], [Retry, MaybeDelivered], MaybeDelivered);
    check(true, &[failed(false)], [Retry, MaybeDelivered], Retry);
}

#[test]
fn after_the_head_nothing_is_repeated() {
    check(true, &[dispatched(), head()], [Truncated, Truncated], Truncated);
    check(true, &[head(), dispatched()], [Truncated, Truncated], Truncated);
    check(true, &[head(), failed(true)], [Truncated, Truncated], Truncated);
}

#[test]
fn a_read_is_repeated_once() {
    let mut delivery = after(true, &[dispatched()]);
    assert_eq!(delivery.on_loss(true), Retry);
    delivery.on_sent();
    assert_eq!(delivery.on_loss(true), MaybeDelivered);
}

#[test]
fn what_cannot_be_put_on_a_link_gives_up_after_the_second() {
    let mut delivery = Delivery::new();
    assert_eq!(delivery.on_loss(false), Retry);
    assert_eq!(delivery.on_loss(false), NotDelivered);
}

#[test]
fn refusals_are_bounded() {
    let mut delivery = Delivery::new();
    for _ in 0..REFUSALS_MAX {
        delivery.on_sent();
        assert_eq!(delivery.on_refused(), Retry);
    }
    delivery.on_sent();
    assert_eq!(delivery.on_refused(), NotDelivered);
}

#[test]
fn a_write_that_was_refused_and_then_lost_is_not_sent_again() {
    let mut delivery = after(true, &[]);
    assert_eq!(delivery.on_refused(), Retry);
    delivery.on_sent();
    assert_eq!(delivery.on_loss(false), MaybeDelivered);
}

#[test]
fn the_body_is_kept_until_it_can_no_longer_be_needed() {
    assert!(after(false, &[]).may_move());
    assert!(after(true, &[]).may_move());
    assert!(!after(true, &[dispatched()]).may_move());
    assert!(!after(true, &[head()]).may_move());
}
