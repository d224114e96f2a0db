//! Opaque tokens and join tokens.

use crate::{Noise, authorities, noon};
use hawser_identity::join::{self, BadJoinToken, EDGES_MAX, JOIN_TOKEN_BYTES_MAX};
use hawser_identity::token::{self, SECRET_CHARS, TOKEN_BYTES_MAX};
use hawser_identity::{IdentityError, JoinToken, OpaqueToken};

#[test]
fn a_token_leads_to_its_entry_and_matches_it_only() {
    let minted = OpaqueToken::mint("laptop-7").unwrap();
    let (id, secret) = token::parse(&minted.text).unwrap();
    assert_eq!((id, secret.len()), ("laptop-7", SECRET_CHARS));
    assert!(token::matches(&minted.text, &minted.sha256));
    let other = OpaqueToken::mint("laptop-7").unwrap();
    assert_ne!(other.text, minted.text);
    assert!(!token::matches(&other.text, &minted.sha256));
    // The id is part of what is hashed: a secret is good under its own id only.
    assert!(!token::matches(&format!("hwt_laptop-8_{secret}"), &minted.sha256));
}

#[test]
fn the_hash_is_plain_sha256() {
    assert_eq!(
        token::hex(&token::sha256("abc")),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn ids_have_an_edge() {
    let longest = "i".repeat(253);
    let minted = OpaqueToken::mint(&longest).unwrap();
    assert_eq!(minted.text.len(), TOKEN_BYTES_MAX);
    assert_eq!(token::parse(&minted.text).map(|(id, _)| id.len()), Some(253));
    for bad in ["", "a_b", "A", "a b", &"i".repeat(254)] {
        assert!(matches!(OpaqueToken::mint(bad), Err(IdentityError::BadName { .. })), "{bad}");
    }
}

#[test]
fn other_texts_are_not_tokens() {
    let hex = "0123456789abcdef".repeat(4);
    assert!(token::parse(&format!("hwt_a_{hex}")).is_some());
    for bad in [
        String::new(),
        "hwt_".to_owned(),
        "hwt__".to_owned(),
        format!("hwt__{hex}"),
        format!("hwt_a{hex}"),
        format!("HWT_a_{hex}"),
        format!(" hwt_a_{hex}"),
        format!("hwt_a_{hex}\n"),
        format!("hwt_a_b_{hex}"),
        format!("hwt_a_{}", hex.to_uppercase()),
        format!("hwt_a_{}", &hex[1..]),
        format!("hwt_a_{hex}0"),
        format!("hwt_é_{hex}"),
        "x".repeat(1 << 20),
    ] {
        assert!(token::parse(&bad).is_none(), "{}", bad.chars().take(80).collect::<String>());
    }
}

#[test]
fn damaged_tokens_never_match() {
    let minted = OpaqueToken::mint("laptop-7").unwrap();
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20_000 {
        let text = noise.mutate(&minted.text);
        if let Some((id, secret)) = token::parse(&text) {
            assert_eq!(format!("hwt_{id}_{secret}"), text);
        }
        assert_eq!(token::matches(&text, &minted.sha256), text == minted.text);
    }
}

fn join_token() -> JoinToken {
    JoinToken {
        edges: vec!["edge.example.com:443".into(), "127.0.0.1:8443".into(), "[fd00::1]:443".into()],
        ca_pem: authorities(noon()).serving.bundle().pem(),
        id: "join-prod".into(),
        secret: token::new_secret().unwrap(),
        cluster_pattern: "prod-*".into(),
    }
}

#[test]
fn a_join_token_round_trips() {
    let token = join_token();
    let text = token.encode().unwrap();
    assert!(text.starts_with("hwj1.") && text.len() < 2048, "{} bytes", text.len());
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
    for text in [text.clone(), format!("  {text}\n")] {
        assert!(JoinToken::decode(&text).ok().unwrap() == token);
    }
}

#[test]
fn damaged_join_tokens_are_refused_or_read() {
    let text = join_token().encode().unwrap();
    for len in 0..text.len() {
        assert!(JoinToken::decode(&text[..len]).is_err(), "length {len}");
    }
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    for _ in 0..5_000 {
        let bad = noise.mutate(&text);
        if let Ok(token) = JoinToken::decode(&bad) {
            assert!(token.encode().is_ok(), "{bad}");
        }
    }
}

#[test]
fn a_join_token_says_what_is_wrong_with_it() {
    let why = |text: &str| JoinToken::decode(text).err();
    assert_eq!(why(""), Some(BadJoinToken::WrongPrefix));
    assert_eq!(why("hwj2.e30"), Some(BadJoinToken::WrongPrefix));
    assert_eq!(why(&OpaqueToken::mint("a").unwrap().text), Some(BadJoinToken::WrongPrefix));
    assert_eq!(why("hwj1."), Some(BadJoinToken::Damaged));
    assert_eq!(why("hwj1.e30"), Some(BadJoinToken::Damaged));
    assert_eq!(why("hwj1.%%%"), Some(BadJoinToken::Damaged));
    let long = format!("hwj1.{}", "A".repeat(JOIN_TOKEN_BYTES_MAX - 4));
    assert_eq!(why(&long), Some(BadJoinToken::TooLong));
    assert_eq!(why(&long[..JOIN_TOKEN_BYTES_MAX]), Some(BadJoinToken::Damaged));
}

#[test]
fn every_part_of_a_join_token_is_checked() {
    let change = |change: &dyn Fn(&mut JoinToken)| {
        let mut token = join_token();
        change(&mut token);
        token.encode().err()
    };
    let edge = |text: &str| change(&|token| token.edges = vec![text.to_owned()]);
    for good in ["a:1", "a.b:65535", "[::1]:443", "10.0.0.1:443"] {
        assert_eq!(edge(good), None, "{good}");
    }
    for bad in
        ["", "a", "a:", ":443", "a:0", "a:65536", "a:+1", "a b:1", "::1:443", "[::1]", "[a]:1", "https://a:1"]
    {
        assert!(matches!(edge(bad), Some(BadJoinToken::BadPart(_))), "{bad}");
    }
    assert_eq!(change(&|token| token.edges = vec!["a:1".into(); EDGES_MAX]), None);
    for bad in [
        change(&|token| token.edges = Vec::new()),
        change(&|token| token.edges = vec!["a:1".into(); EDGES_MAX + 1]),
        change(&|token| token.ca_pem = "nothing".into()),
        change(&|token| token.id = "a_b".into()),
        change(&|token| token.secret = "short".into()),
        change(&|token| token.cluster_pattern = String::new()),
        change(&|token| token.cluster_pattern = "Prod".into()),
        change(&|token| token.cluster_pattern = "a".repeat(254)),
    ] {
        assert!(matches!(bad, Some(BadJoinToken::BadPart(_))), "{bad:?}");
    }
}

#[test]
fn patterns_match_names() {
    for (pattern, name, fits) in [
        ("prod", "prod", true),
        ("prod", "prod-eu", false),
        ("*", "anything", true),
        ("prod-*", "prod-eu", true),
        ("prod-*", "prod-", true),
        ("prod-*", "xprod-eu", false),
        ("*-eu", "prod-eu", true),
        ("*-eu", "prod-eu-1", false),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-c-b", false),
        ("a*a", "a", false),
        ("ab*ba", "aba", false),
        ("a**c", "abc", true),
        ("*-*-*", "a-b", false),
    ] {
        assert_eq!(join::pattern_matches(pattern, name), fits, "{pattern} {name}");
    }
}
