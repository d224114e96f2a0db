//! The promise of the hot path: a granted request allocates nothing.
#![expect(unsafe_code, reason = "a counting allocator is the only way to see an allocation")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use hawser_kube::RequestAttributes;
use hawser_policy::resources::parse_yaml;
use hawser_policy::{Permit, PolicyHandle, Subject, compile};
use jiff::Timestamp;

/// Counts what the current thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes on to `System` with the same arguments; counting touches no memory it hands out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System.alloc` with this layout, since `alloc` gives out nothing else.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn counted<T>(run: impl FnOnce() -> T) -> (u64, T) {
    let before = ALLOCATIONS.get();
    let result = run();
    (ALLOCATIONS.get() - before, result)
}

/// A table in which `alice` has `policies` policies, each of its own group.
fn handle(policies: usize) -> PolicyHandle {
    let mut yaml = "apiVersion: access.hawser.dev/v1\nkind: Cluster\nmetadata: {name: eu-1}\n---\n\
                    apiVersion: access.hawser.dev/v1\nkind: Credential\nmetadata: {name: c}\nspec: {user: alice}\n"
        .to_owned();
    for at in 0..policies {
        yaml.push_str(&format!(
            "---\napiVersion: access.hawser.dev/v1\nkind: AccessPolicy\nmetadata: {{name: p{at}}}\n\
             spec: {{subjects: {{users: [alice]}}, clusters: {{selector: {{}}}}, roles: [view, shell], \
             impersonate: {{groups: [g{at}]}}}}\n"
        ));
    }
    let objects = parse_yaml(&yaml, "test").expect("valid");
    PolicyHandle::new(compile(&objects, 1))
}

fn decide(handle: &PolicyHandle, attrs: &RequestAttributes) -> (u64, Permit) {
    let subject = Subject { user: "alice".into(), credential: "c".into() };
    let (allocations, decision) =
        counted(|| handle.snapshot().authorize(&subject, "eu-1", attrs, Timestamp::UNIX_EPOCH));
    (allocations, decision.expect("granted"))
}

#[test]
fn a_granted_request_allocates_nothing() {
    assert!(counted(|| vec![1_u8; 100]).0 > 0, "the counter counts");
    let requests = [
        ("GET", "/api/v1/namespaces/a/pods/p"),
        ("GET", "/api/v1/namespaces/a/pods?watch=1"),
        ("GET", "/api/v1/namespaces/a/pods/p/exec"),
        ("GET", "/version"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
    ];
    for policies in [1, 2, 6] {
        let handle = handle(policies);
        for (method, target) in requests {
            let attrs = RequestAttributes::parse(method, target).expect("target");
            // The first load on a thread sets up its slot for snapshots.
            drop(handle.snapshot());
            let (allocations, permit) = decide(&handle, &attrs);
            assert_eq!(allocations, 0, "{policies} policies, {method} {target}");
            assert_eq!(permit.policies().count(), policies);
            let (allocations, ()) = counted(|| drop(permit));
            assert_eq!(allocations, 0);
        }
    }
}

#[test]
fn only_more_policies_than_fit_in_place_allocate() {
    let handle = handle(7);
    let attrs = RequestAttributes::parse("GET", "/version").expect("target");
    drop(handle.snapshot());
    let (allocations, permit) = decide(&handle, &attrs);
    assert_eq!(allocations, 2, "the list of ids, and once more to grow it");
    assert_eq!(permit.groups().len(), 2 + 7);
}
