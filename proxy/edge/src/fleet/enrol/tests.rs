//! Clusters that come in, take names over and go.

use hawser_identity::{AgentIdentity, AgentKey, Authorities, agent};
use hawser_kube::clock::SystemClock;
use hawser_store::Options;
use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use rustls_pki_types::CertificateDer;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::fleet::{delete_cluster, pins::pin};

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A cluster with keys of its own, whose agent asks to be let in.
struct Caller {
    uid: &'static str,
    key: EncodingKey,
    token: Option<(String, String)>,
    /// Seconds by which its clock is ahead.
    ahead: i64,
}

impl Caller {
    fn new(uid: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        Self { uid, key: EncodingKey::from_ec_der(&pair.serialize_der()), token: None, ahead: 0 }
    }

    fn request(&self) -> EnrollV1 {
        let mut jwk =
            serde_json::to_value(Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap()).unwrap();
        jwk["kid"] = "k".into();
        let now = SystemClock.wall().as_second() + self.ahead;
        let claims = json!({
            "aud": [AUDIENCE], "iss": ISSUER, "sub": SUBJECT, "iat": now, "nbf": now, "exp": now + 600,
            "kubernetes.io": {"namespace": "hawser-system", "serviceaccount": {"name": "hawser-agent"}},
        });
        let header = Header { kid: Some("k".to_owned()), ..Header::new(Algorithm::ES256) };
        EnrollV1 {
            join_token: self.token.clone(),
            service_account_token: encode(&header, &claims, &self.key).unwrap(),
            cluster_uid: self.uid.to_owned(),
            issuer: ISSUER.to_owned(),
            jwks: json!({"keys": [jwk]}).to_string(),
            csr: AgentKey::generate().unwrap().csr().unwrap(),
            replica: "r1".to_owned(),
            cluster_name: "prod".to_owned(),
        }
    }
}

struct Edge {
    enrolment: Enrolment,
    _folder: TempDir,
}

impl Edge {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authorities = Authorities::load_or_create(folder.path(), SystemClock.wall()).unwrap();
        let enrolment = Enrolment {
            store: Store::open(&folder.path().join("store.db"), Options::default()).unwrap(),
            keys: Keys::new(Arc::new(authorities)),
            clock: Arc::new(SystemClock),
            refusals: Refusals::default(),
        };
        Self { enrolment, _folder: folder }
    }

    /// `hawser import`: the token is put into the cluster.
    async fn invite(&self, caller: &mut Caller, reusable: bool, replace: bool) {
        let expires = SystemClock.wall() + SignedDuration::from_hours(1);
        let text = self.enrolment.invite("prod", reusable, replace, expires, vec!["edge:1".to_owned()]);
        let token = JoinToken::decode(&text.await.unwrap()).unwrap();
        caller.token = Some((token.id, token.secret));
    }

    /// What the certificate says, or the refusal.
    async fn enrol(&self, caller: &Caller) -> Result<AgentIdentity, String> {
        match self.enrolment.enrol(caller.request(), Duration::from_secs(3600)).await {
            Enrollment::Enrolled(enrolled) => {
                let chain: Vec<_> = enrolled.chain.into_iter().map(CertificateDer::from).collect();
                let keys = self.enrolment.keys.current();
                let agents = keys.agents.bundle();
                Ok(agent::verify(agents, &chain, SystemClock.wall()).unwrap())
            }
            Enrollment::Rejected(rejected) => Err(rejected.message),
        }
    }

    /// Whether a link with this identity would be taken.
    async fn stands(&self, identity: &AgentIdentity) -> bool {
        pin(&self.enrolment.store, &identity.cluster).await.unwrap().as_ref() == Some(&identity.pin)
    }
}

#[tokio::test]
async fn replicas_of_one_cluster_are_under_one_pin() {
    let (edge, mut prod) = (Edge::new(), Caller::new("a"));
    assert!(edge.enrol(&prod).await.unwrap_err().contains("cluster prod is not known here"));
    edge.invite(&mut prod, false, false).await;
    let first = edge.enrol(&prod).await.unwrap();
    let again = edge.enrol(&Caller { token: None, ..prod }).await.unwrap();
    assert_eq!((first.cluster.as_str(), first.replica.as_str()), ("prod", "r1"));
    assert_eq!(first, again);
    assert!(edge.stands(&first).await);
}

#[tokio::test]
async fn clocks_that_are_apart_are_named_whether_the_cluster_is_new_or_known() {
    let (edge, mut prod) = (Edge::new(), Caller::new("a"));
    edge.invite(&mut prod, false, false).await;
    for _new_then_known in 0..2 {
        for (ahead, told) in [(-8000, "ahead of the cluster's"), (8000, "behind the cluster's")] {
            prod.ahead = ahead;
            let refusal = edge.enrol(&prod).await.unwrap_err();
            assert!(refusal.contains("the clock of the edge") && refusal.contains(told), "{refusal}");
        }
        prod.ahead = 0;
        edge.enrol(&prod).await.unwrap();
        prod.token = None;
    }
}

#[tokio::test]
async fn who_takes_a_name_over_ends_what_the_former_cluster_has() {
    let (edge, mut old, mut new) = (Edge::new(), Caller::new("a"), Caller::new("b"));
    // The former cluster took the name over too, with a token that it still holds.
    edge.invite(&mut old, false, true).await;
    let of_old = edge.enrol(&old).await.unwrap();
    edge.invite(&mut new, false, false).await;
    assert!(edge.enrol(&new).await.unwrap_err().contains("belongs to another cluster"));
    assert!(edge.stands(&of_old).await);
    edge.invite(&mut new, false, true).await;
    let of_new = edge.enrol(&new).await.unwrap();
    assert!(edge.stands(&of_new).await && !edge.stands(&of_old).await);
    assert!(edge.enrol(&old).await.unwrap_err().contains("belongs to another cluster"));
    assert!(edge.stands(&of_new).await);
}

#[tokio::test]
async fn a_used_token_brings_no_other_keys_in() {
    for replace in [false, true] {
        let (edge, mut prod) = (Edge::new(), Caller::new("a"));
        edge.invite(&mut prod, false, replace).await;
        let first = edge.enrol(&prod).await.unwrap();
        let forged = Caller { token: prod.token.clone(), ..Caller::new("a") };
        assert!(edge.enrol(&forged).await.unwrap_err().contains("are not those it joined with"));
        assert!(edge.stands(&first).await);
    }
}

#[tokio::test]
async fn the_name_of_a_deleted_cluster_is_free() {
    let (edge, mut old, mut new) = (Edge::new(), Caller::new("a"), Caller::new("b"));
    edge.invite(&mut old, false, false).await;
    let of_old = edge.enrol(&old).await.unwrap();
    delete_cluster(&edge.enrolment.store, "prod").await.unwrap();
    assert!(!edge.stands(&of_old).await);
    assert!(edge.enrol(&old).await.unwrap_err().contains("the join token is not known here"));
    edge.invite(&mut new, false, false).await;
    let of_new = edge.enrol(&new).await.unwrap();
    assert!(edge.stands(&of_new).await);
    // The same cluster again is under another pin than before.
    delete_cluster(&edge.enrolment.store, "prod").await.unwrap();
    edge.invite(&mut old, true, false).await;
    assert!(edge.enrol(&old).await.unwrap().pin != of_old.pin);
    assert!(!edge.stands(&of_old).await && !edge.stands(&of_new).await);
}
