//! Promise: the cluster sees exactly the identity that was decided on, or the request does not go.

use hawser_kube::impersonation::{
    BYTES_MAX, EXTRA_KEYS_MAX, EXTRA_VALUES_MAX, GROUPS_MAX, Identity, IdentityError, Part, is_requested,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

fn alice() -> Identity {
    Identity {
        user: "hawser:alice@example.com".to_owned(),
        groups: vec!["hawser:edit".to_owned(), "dev team".to_owned()],
        uid: Some("42".to_owned()),
        extra: vec![("hawser.dev/request".to_owned(), vec!["a1".to_owned(), "b2".to_owned()])],
    }
}

fn check(change: impl FnOnce(&mut Identity), expected: Result<(), IdentityError>) {
    let mut identity = alice();
    change(&mut identity);
    assert_eq!(identity.check(), expected, "{identity:?}");
    let mut headers = HeaderMap::new();
    assert_eq!(identity.apply(&mut headers), expected);
    assert_eq!(headers.is_empty(), expected.is_err());
}

#[test]
fn all_parts_arrive() {
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", HeaderValue::from_static("kubectl"));
    alice().apply(&mut headers).expect("a clean identity");
    let all = |name: &str| -> Vec<_> {
        headers.get_all(name).iter().map(|value| value.to_str().expect("ASCII").to_owned()).collect()
    };
    assert_eq!(all("impersonate-user"), ["hawser:alice@example.com"]);
    assert_eq!(all("impersonate-group"), ["hawser:edit", "dev team"]);
    assert_eq!(all("impersonate-uid"), ["42"]);
    assert_eq!(all("impersonate-extra-hawser.dev%2frequest"), ["a1", "b2"]);
    assert_eq!(headers.len(), 7);
}

#[test]
fn nobody_is_refused_since_it_would_mean_the_agent_itself() {
    check(|id| id.user.clear(), Err(IdentityError::Empty(Part::User)));
    assert_eq!(Identity::default().check(), Err(IdentityError::Empty(Part::User)));
}

#[test]
fn texts_that_a_header_would_change_are_refused() {
    for user in
        [" admin", "admin ", "admin\t", "ad\nmin", "ad\u{0}min", "ad\u{7f}", "ad\u{85}min", "\u{a0}admin"]
    {
        check(|id| user.clone_into(&mut id.user), Err(IdentityError::Unclean(Part::User)));
    }
    check(|id| id.groups.push(String::new()), Err(IdentityError::Empty(Part::Group)));
    check(|id| id.groups.push("dev ".to_owned()), Err(IdentityError::Unclean(Part::Group)));
    check(|id| id.uid = Some(String::new()), Err(IdentityError::Empty(Part::Uid)));
    check(|id| id.extra[0].1.clear(), Err(IdentityError::Empty(Part::ExtraValue)));
    check(|id| id.extra[0].1.push("\r".to_owned()), Err(IdentityError::Unclean(Part::ExtraValue)));
    check(|id| id.extra[0].0.clear(), Err(IdentityError::Empty(Part::ExtraKey)));
    check(|id| "jürgen@example.com".clone_into(&mut id.user), Ok(()));
}

#[test]
fn the_clusters_own_names_are_refused() {
    for user in ["system:admin", "system:kube-controller-manager", "system:serviceaccount:kube-system:x"] {
        check(|id| user.clone_into(&mut id.user), Err(IdentityError::Reserved(Part::User)));
    }
    for group in
        ["system:masters", "system:nodes", "system:serviceaccounts:kube-system", "system:unauthenticated"]
    {
        check(|id| id.groups.push(group.to_owned()), Err(IdentityError::Reserved(Part::Group)));
    }
    for group in ["system:authenticated", "system:mastersclass", "masters"] {
        check(|id| id.groups.push(group.to_owned()), Ok(()));
    }
}

#[test]
fn extra_keys_must_not_merge_on_the_way() {
    let more = |id: &mut Identity, key: &str| id.extra.push((key.to_owned(), vec!["x".to_owned()]));
    check(|id| more(id, "hawser.dev/request"), Err(IdentityError::Duplicate));
    check(|id| more(id, "Hawser.dev/request"), Err(IdentityError::NotLowerCase));
    check(|id| more(id, "hawser.dev%2frequest"), Ok(()));
}

#[test]
fn every_size_has_an_edge() {
    check(|id| id.user = "u".repeat(BYTES_MAX), Ok(()));
    check(|id| id.user = "u".repeat(BYTES_MAX + 1), Err(IdentityError::TooLong(Part::User)));
    check(|id| id.groups = vec!["g".to_owned(); GROUPS_MAX], Ok(()));
    check(|id| id.groups = vec!["g".to_owned(); GROUPS_MAX + 1], Err(IdentityError::TooMany(Part::Group)));
    let extra =
        |count: usize| (0..count).map(|at| (format!("k{at}"), vec!["v".to_owned()])).collect::<Vec<_>>();
    check(|id| id.extra = extra(EXTRA_KEYS_MAX), Ok(()));
    check(|id| id.extra = extra(EXTRA_KEYS_MAX + 1), Err(IdentityError::TooMany(Part::ExtraKey)));
    check(|id| id.extra[0].1 = vec!["v".to_owned(); EXTRA_VALUES_MAX], Ok(()));
    let values = vec!["v".to_owned(); EXTRA_VALUES_MAX + 1];
    check(|id| id.extra[0].1 = values, Err(IdentityError::TooMany(Part::ExtraValue)));
    check(|id| id.extra[0].0 = "é".repeat(BYTES_MAX / 2), Ok(()));
}

#[test]
fn a_leftover_of_the_client_stops_the_request() {
    for name in [
        "impersonate-user",
        "impersonate-extra-x",
        "impersonate-something-new",
        "impersonate",
        "impersonate_user",
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
        assert!(is_requested(&headers), "{name}");
        assert_eq!(alice().apply(&mut headers), Err(IdentityError::Leftover), "{name}");
        assert_eq!(headers.len(), 1);
    }
}

/// The API server's side: the name in lower case, then Go's `url.PathUnescape`.
fn key_as_read(name: &str) -> String {
    let escaped = name.strip_prefix("impersonate-extra-").expect("an extra header");
    let mut out = Vec::new();
    let mut bytes = escaped.bytes();
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'%' {
            let digits = [bytes.next().expect("a digit"), bytes.next().expect("a digit")];
            u8::from_str_radix(std::str::from_utf8(&digits).expect("ASCII"), 16).expect("hexadecimal")
        } else {
            byte
        });
    }
    String::from_utf8(out).expect("UTF-8")
}

proptest! {
    #[test]
    fn what_is_accepted_arrives_unchanged(user in "\\PC{0,30}", group in "\\PC{0,30}", key in "[a-z%/ .:A-Zé]{0,20}") {
        let identity = Identity {
            user: user.clone(),
            groups: vec![group.clone()],
            uid: None,
            extra: vec![(key.clone(), vec!["v".to_owned()])],
        };
        let mut headers = HeaderMap::new();
        if identity.apply(&mut headers).is_ok() {
            prop_assert_eq!(headers["impersonate-user"].as_bytes().trim_ascii(), user.as_bytes());
            prop_assert_eq!(headers["impersonate-group"].as_bytes().trim_ascii(), group.as_bytes());
            let name = headers.keys().find(|name| name.as_str().starts_with("impersonate-extra-")).expect("extra");
            prop_assert_eq!(key_as_read(name.as_str()), key);
        }
    }
}
