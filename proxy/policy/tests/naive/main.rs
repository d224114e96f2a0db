//! The table decides what a plain reading of the resources decides.
//!
//! `Naive` knows the resource types and nothing else of the room: for every question it goes through every
//! policy, group and rule as the model words them. Random fleets and requests must get the same answer from both.

#![expect(clippy::print_stdout, reason = "the counts are part of the proof")]

mod fleet;
mod reading;

use std::cell::RefCell;
use std::collections::BTreeMap;

use hawser_kube::RequestAttributes;
use hawser_policy::{Cause, Subject, compile};
use proptest::collection::vec;
use proptest::prop_assert_eq;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use fleet::{fleet, request};
use reading::{Answer, Naive};

const FLEETS: u32 = 400;
const REQUESTS_PER_FLEET: usize = 50;
const SHARE_ALLOWED_MIN: f64 = 0.30;
/// How often each kind of answer must have decided.
const DECISIVE_MIN: usize = 500;

#[test]
fn table_and_plain_reading_agree() {
    let config = Config { cases: FLEETS, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let counts = RefCell::new(BTreeMap::<&str, usize>::new());
    let cases = (fleet(), vec(request(), REQUESTS_PER_FLEET));
    let outcome = runner.run(&cases, |(fleet, requests)| {
        let table = compile(&fleet.objects, 1);
        for request in requests {
            let attrs = RequestAttributes::parse(request.method, &request.target).expect("a real target");
            let subject = Subject { user: request.user.into(), credential: request.credential.into() };
            let ours: Answer = match table.authorize(&subject, request.cluster, &attrs, request.now) {
                Ok(permit) => Ok((
                    permit.policies().map(str::to_owned).collect(),
                    permit.groups().iter().map(ToString::to_string).collect(),
                )),
                Err(denial) => Err(denial.cause),
            };
            let plain = Naive { fleet: &fleet, request: &request, attrs: &attrs }.answer();
            *counts.borrow_mut().entry(kind_of(&plain)).or_default() += 1;
            prop_assert_eq!(ours, plain, "{:?}", request);
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let counts = counts.into_inner();
    let total: usize = counts.values().sum();
    println!("{total} decisions: {counts:?}");
    assert_eq!(total, FLEETS as usize * REQUESTS_PER_FLEET);
    let share = f64::from(u32::try_from(counts["allowed"]).expect("fits")) / f64::from(FLEETS * 50);
    assert!(share >= SHARE_ALLOWED_MIN, "{share}");
    assert_eq!(counts.len(), 5);
    assert!(counts.values().all(|count| *count >= DECISIVE_MIN), "{counts:?}");
}

fn kind_of(answer: &Answer) -> &'static str {
    match answer {
        Ok(_) => "allowed",
        Err(Cause::Credential) => "credential",
        Err(Cause::Cluster) => "cluster",
        Err(Cause::Denied) => "denied",
        Err(Cause::NotGranted) => "not granted",
    }
}
