//! ServiceAccount tokens against pinned keys.

use crate::{Noise, noon};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hawser_identity::service_account::{Claims, JWKS_BYTES_MAX, JWKS_KEYS_MAX, JWT_BYTES_MAX, verify};
use hawser_identity::{AuthError, IdentityError, PinnedIssuer};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::time::Duration;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const SUBJECT: &str = "system:serviceaccount:hawser:agent";
const LEEWAY: Duration = Duration::from_secs(30);

struct Key {
    id: &'static str,
    algorithm: Algorithm,
    private: EncodingKey,
}

static RSA: LazyLock<Key> = LazyLock::new(|| {
    let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    // PKCS#1 begins behind the 26 bytes that PKCS#8 puts before a 2048-bit RSA key.
    let private = EncodingKey::from_rsa_der(&pair.serialize_der()[26..]);
    Key { id: "rsa-1", algorithm: Algorithm::RS256, private }
});

static EC: LazyLock<Key> = LazyLock::new(|| ec("ec-1"));

fn ec(id: &'static str) -> Key {
    let pair = rcgen::KeyPair::generate().unwrap();
    Key { id, algorithm: Algorithm::ES256, private: EncodingKey::from_ec_der(&pair.serialize_der()) }
}

impl Key {
    fn jwk(&self) -> Value {
        let mut jwk =
            serde_json::to_value(Jwk::from_encoding_key(&self.private, self.algorithm).unwrap()).unwrap();
        jwk["kid"] = self.id.into();
        jwk["use"] = "sig".into();
        jwk
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.to_owned());
        encode(&header, claims, &self.private).unwrap()
    }
}

fn pinned() -> PinnedIssuer {
    PinnedIssuer::new(ISSUER, &json!({"keys": [RSA.jwk(), EC.jwk()]}).to_string()).unwrap()
}

fn claims() -> Value {
    json!({
        "aud": ["hawser"], "iss": ISSUER, "sub": SUBJECT, "jti": "b0e1",
        "iat": noon().as_second(), "nbf": noon().as_second(), "exp": noon().as_second() + 600,
        "kubernetes.io": {
            "namespace": "hawser",
            "node": {"name": "n1", "uid": "u0"},
            "pod": {"name": "agent-5d8-x", "uid": "u1"},
            "serviceaccount": {"name": "agent", "uid": "u2"},
        },
    })
}

fn check(jwt: &str, now: Timestamp) -> Result<Claims, AuthError> {
    verify(jwt, &pinned(), "hawser", SUBJECT, now, LEEWAY)
}

fn with(key: &str, value: Value) -> Result<Claims, AuthError> {
    let mut claims = claims();
    claims[key] = value;
    check(&EC.sign(&claims), noon())
}

#[test]
fn a_good_token_says_who_it_is() {
    let expected = Claims {
        namespace: "hawser".into(),
        service_account: "agent".into(),
        pod: Some("agent-5d8-x".into()),
        expires: noon() + SignedDuration::from_secs(600),
    };
    for key in [&*RSA, &*EC] {
        assert_eq!(check(&key.sign(&claims()), noon()), Ok(expected.clone()));
    }
    assert_eq!(pinned().issuer(), ISSUER);
    let mut unbound = claims();
    unbound["kubernetes.io"].as_object_mut().unwrap().remove("pod");
    unbound.as_object_mut().unwrap().remove("nbf");
    assert_eq!(check(&EC.sign(&unbound), noon()).unwrap().pod, None);
}

#[test]
fn every_claim_counts() {
    assert!(with("aud", json!("hawser")).is_ok());
    assert!(with("aud", json!(["a", "hawser"])).is_ok());
    for aud in [json!("a"), json!([]), json!(["hawser2", "Hawser"]), json!("")] {
        assert_eq!(with("aud", aud), Err(AuthError::WrongAudience));
    }
    assert_eq!(with("iss", json!("https://other")), Err(AuthError::WrongIssuer));
    assert_eq!(with("sub", json!("system:serviceaccount:hawser:other")), Err(AuthError::WrongSubject));
    assert_eq!(with("sub", json!("")), Err(AuthError::WrongSubject));
    let account = json!({"namespace": "kube-system", "serviceaccount": {"name": "agent"}});
    assert_eq!(with("kubernetes.io", account), Err(AuthError::WrongSubject));
    let pod = json!({"namespace": "hawser", "serviceaccount": {"name": "agent"}, "pod": {"name": "../x"}});
    assert!(matches!(with("kubernetes.io", pod), Err(AuthError::Malformed(_))));
    for key in ["aud", "iss", "sub", "exp", "kubernetes.io"] {
        assert!(matches!(with(key, Value::Null), Err(AuthError::Malformed(_))), "{key}");
        let mut without = claims();
        without.as_object_mut().unwrap().remove(key);
        assert!(matches!(check(&EC.sign(&without), noon()), Err(AuthError::Malformed(_))), "{key}");
    }
    for exp in [json!("soon"), json!(i64::MAX), json!(1e300), json!(-1e300)] {
        assert!(matches!(with("exp", exp), Err(AuthError::Malformed(_))));
    }
}

#[test]
fn time_counts_to_the_second() {
    let jwt = RSA.sign(&claims());
    let at =
        |seconds| check(&jwt, noon() + SignedDuration::from_secs(seconds)).map(|claims| claims.namespace);
    assert_eq!(at(629), Ok("hawser".into()));
    assert_eq!(at(-30), Ok("hawser".into()));
    let apart = |seconds, wanted: &str| {
        let error = at(seconds).unwrap_err();
        assert!(matches!(error, AuthError::ClocksApart { .. }), "{error:?}");
        assert_eq!(error.to_string(), wanted);
    };
    apart(
        630,
        "the clock of the edge, which says 2026-11-24T12:10:30Z, is at least 30s ahead of the cluster's: set the one that is \
         wrong",
    );
    apart(
        -7200,
        "the clock of the edge, which says 2026-11-24T10:00:00Z, is at least 2h behind the cluster's: set the one that is \
         wrong",
    );
    assert!(at(-31).is_err());
}

#[test]
fn only_the_keys_own_algorithm_is_taken() {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let payload = part(&claims());
    for alg in ["none", "None", "", "HS256", "RS384", "PS256", "ES384", "EdDSA", "XX"] {
        let header = part(&json!({"alg": alg, "typ": "JWT", "kid": "rsa-1"}));
        for signature in ["", "AAAA"] {
            let verdict = check(&format!("{header}.{payload}.{signature}"), noon());
            let expected = matches!(verdict, Err(AuthError::WrongAlgorithm | AuthError::Malformed(_)));
            assert!(expected, "{alg}: {verdict:?}");
        }
    }
    // The classic: the public key as an HMAC secret.
    for key in [&*RSA, &*EC] {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(key.id.to_owned());
        for secret in [key.jwk().to_string(), key.jwk()["n"].as_str().unwrap_or("x").to_owned()] {
            let jwt = encode(&header, &claims(), &EncodingKey::from_secret(secret.as_bytes())).unwrap();
            assert_eq!(check(&jwt, noon()), Err(AuthError::WrongAlgorithm));
        }
    }
    // An accepted algorithm with a key of the other kind.
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("rsa-1".to_owned());
    let jwt = encode(&header, &claims(), &EC.private).unwrap();
    assert_eq!(check(&jwt, noon()), Err(AuthError::WrongAlgorithm));
}

#[test]
fn keys_are_found_by_id_and_must_match() {
    assert_eq!(check(&ec("ec-2").sign(&claims()), noon()), Err(AuthError::UnknownKey));
    let nameless = encode(&Header::new(Algorithm::ES256), &claims(), &EC.private).unwrap();
    assert_eq!(check(&nameless, noon()), Err(AuthError::UnknownKey));
    assert_eq!(check(&ec("ec-1").sign(&claims()), noon()), Err(AuthError::BadSignature));
    // A key that the token itself brings along is not looked at.
    let mallory = ec("ec-1");
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("ec-1".to_owned());
    header.jwk = Some(serde_json::from_value(mallory.jwk()).unwrap());
    header.jku = Some("https://mallory.example/jwks".to_owned());
    let jwt = encode(&header, &claims(), &mallory.private).unwrap();
    assert_eq!(check(&jwt, noon()), Err(AuthError::BadSignature));
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("ec-1".to_owned());
    header.crit = Some(vec!["exp".to_owned()]);
    let jwt = encode(&header, &claims(), &EC.private).unwrap();
    assert!(matches!(check(&jwt, noon()), Err(AuthError::Malformed(_))));
}

#[test]
fn damaged_tokens_are_refused() {
    assert_eq!(check("", noon()), Err(AuthError::Missing));
    for bad in [".", "..", "...", "a.b.c", "hwt_a_b", "é.é.é"] {
        assert!(check(bad, noon()).is_err(), "{bad}");
    }
    let mut long = claims();
    long["x"] = "y".repeat(JWT_BYTES_MAX).into();
    assert!(matches!(check(&EC.sign(&long), noon()), Err(AuthError::Malformed("token is too long"))));
    let jwt = EC.sign(&claims());
    let mut noise = Noise(0xdead_beef_cafe_f00d);
    for _ in 0..3_000 {
        let bad = noise.mutate(&jwt);
        assert!(bad == jwt || check(&bad, noon()).is_err(), "{bad}");
    }
}

#[test]
fn key_sets_are_checked_when_pinned() {
    let pin = |jwks: &str| PinnedIssuer::new(ISSUER, jwks);
    let set = |keys: Vec<Value>| json!({ "keys": keys }).to_string();
    let changed = |field: &str, value: Value| {
        let mut jwk = EC.jwk();
        jwk[field] = value;
        set(vec![jwk])
    };
    assert!(pin(&changed("alg", Value::Null)).is_ok());
    let mut damaged = RSA.jwk();
    damaged["n"] = "%".into();
    for bad in [
        String::new(),
        "{}".to_owned(),
        set(Vec::new()),
        changed("use", json!("enc")),
        changed("alg", json!("ES384")),
        changed("kid", Value::Null),
        changed("crv", json!("P-384")),
        set(vec![damaged]),
        set(vec![json!({"kty": "oct", "kid": "h", "k": "c2VjcmV0", "alg": "HS256"})]),
        set(vec![EC.jwk(); JWKS_KEYS_MAX + 1]),
        " ".repeat(JWKS_BYTES_MAX + 1),
    ] {
        let error = pin(&bad).err();
        assert!(matches!(error, Some(IdentityError::BadIssuer { .. })), "{}", &bad[..bad.len().min(200)]);
    }
    assert!(pin(&set(vec![EC.jwk(); JWKS_KEYS_MAX])).is_ok());
    // Keys of other kinds beside good ones do not hurt.
    let other = json!({"kty": "AKP", "kid": "pq", "alg": "ML-DSA-65", "pub": "AA"});
    assert!(pin(&set(vec![other, EC.jwk()])).is_ok());
}
