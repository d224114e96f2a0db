//! What is issued verifies as what it says, and nothing else does.

use crate::{HOUR, YEAR, authorities, chain, noon, prod};
use hawser_identity::authority::{AUTHORITY_LIFETIME, BACKDATE, REQUEST_BYTES_MAX, SERVING_NAMES_MAX};
use hawser_identity::trust::BUNDLE_CERTS_MAX;
use hawser_identity::{
    AgentIdentity, AgentKey, AuthError, ClientIdentity, IdentityError, SubjectName, TrustBundle, agent,
    client,
};
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

#[test]
fn a_client_certificate_names_user_and_credential_exactly() {
    let clients = authorities(noon()).clients;
    for user in ["alice", "alice@example.com", "Zoë Ünsal", "a=b,CN=root/+\\", &"u".repeat(256)] {
        let pem = clients.issue_client(user, "c-7.x", HOUR, noon()).unwrap();
        let expected = ClientIdentity {
            user: user.to_owned(),
            credential: "c-7.x".to_owned(),
            not_after: noon() + SignedDuration::try_from(HOUR).unwrap(),
        };
        assert_eq!(client::verify(clients.bundle(), &chain(&pem), noon()), Ok(expected));
        assert!(pem.key_pem.starts_with("-----BEGIN PRIVATE KEY-----"));
    }
}

#[test]
fn names_that_cannot_stand_in_a_certificate_are_refused() {
    let clients = authorities(noon()).clients;
    for (user, credential) in [
        ("", "c"),
        ("a\nb", "c"),
        (&*"u".repeat(257), "c"),
        ("a", ""),
        ("a", "C"),
        ("a", "c/d"),
        ("a", "c d"),
    ] {
        let issued = clients.issue_client(user, credential, HOUR, noon()).err();
        assert!(matches!(issued, Some(IdentityError::BadName { .. })), "{user:?} {credential:?}");
    }
}

#[test]
fn time_is_judged_at_the_edges() {
    let clients = authorities(noon()).clients;
    let pem = clients.issue_client("alice", "c1", HOUR, noon()).unwrap();
    let start = noon() - SignedDuration::try_from(BACKDATE).unwrap();
    let end = noon() + SignedDuration::from_hours(1);
    let second = SignedDuration::from_secs(1);
    let verify = |now| client::verify(clients.bundle(), &chain(&pem), now).map(|who| who.user);
    assert_eq!(verify(start), Ok("alice".to_owned()));
    assert_eq!(verify(start - second), Err(AuthError::NotYetValid { from: start, here: start - second }));
    assert_eq!(
        verify(start - SignedDuration::from_mins(5)).unwrap_err().to_string(),
        "the credential is not valid before 2026-11-24T11:50:00Z: the clock of the edge, which says 2026-11-24T11:45:00Z, is \
         at least 5m behind the one it was made by: set the one that is wrong"
    );
    assert_eq!(verify(end), Ok("alice".to_owned()));
    assert_eq!(verify(end + second), Err(AuthError::Expired { since: end }));
    assert_eq!(
        verify(end + second).unwrap_err().to_string(),
        "the credential expired at 2026-11-24T13:00:00Z; ask for a new kubeconfig"
    );
}

#[test]
fn other_authorities_are_told_apart_from_expiry() {
    let ours = authorities(noon());
    let theirs = authorities(noon()).clients;
    let pem = theirs.issue_client("alice", "c1", HOUR, noon()).unwrap();
    let later = noon() + SignedDuration::from_hours(2);
    for now in [noon(), later, noon() - SignedDuration::from_hours(2)] {
        assert_eq!(client::verify(ours.clients.bundle(), &chain(&pem), now), Err(AuthError::WrongCa));
    }
    // The subject of both authorities is the same, so only the signature can tell them apart.
    assert_ne!(ours.clients.ca_der(), theirs.ca_der());
}

#[test]
fn a_certificate_of_one_use_is_worth_nothing_in_another() {
    let all = authorities(noon());
    let pem = all.clients.issue_client("agent:prod", "c1", HOUR, noon()).unwrap();
    assert_eq!(agent::verify(all.agents.bundle(), &chain(&pem), noon()), Err(AuthError::WrongCa));
    let serving = all.serving.issue_serving(&[SubjectName::Dns("prod.test".into())], HOUR, noon()).unwrap();
    assert_eq!(client::verify(all.clients.bundle(), &serving.cert, noon()), Err(AuthError::WrongPurpose));
    // Even where somebody trusts the serving authority by mistake.
    assert_eq!(client::verify(all.serving.bundle(), &serving.cert, noon()), Err(AuthError::WrongPurpose));
    let key = AgentKey::generate().unwrap();
    let cert = all.agents.issue_agent(&prod(), &key.csr().unwrap(), HOUR, noon()).unwrap();
    assert!(matches!(client::verify(all.agents.bundle(), &[cert], noon()), Err(AuthError::Malformed(_))));
}

#[test]
fn an_authority_is_not_a_client() {
    let clients = authorities(noon()).clients;
    let ca = [clients.ca_der().clone()];
    assert_eq!(client::verify(clients.bundle(), &ca, noon()), Err(AuthError::WrongPurpose));
}

#[test]
fn a_leaf_cannot_issue() {
    let clients = authorities(noon()).clients;
    let pem = clients.issue_client("alice", "c1", YEAR, noon()).unwrap();
    // alice signs a certificate for root with the key of her own certificate, and sends both.
    let key = rcgen::KeyPair::from_pem(&pem.key_pem).unwrap();
    let alice = chain(&pem).remove(0);
    let issuer = rcgen::Issuer::from_ca_cert_der(&alice, key).unwrap();
    let mut forged = rcgen::CertificateParams::default();
    forged.distinguished_name = rcgen::DistinguishedName::new();
    forged.distinguished_name.push(rcgen::DnType::CommonName, "root");
    forged.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    forged.subject_alt_names = vec![rcgen::SanType::URI("hawser:credential:c1".try_into().unwrap())];
    let root_key = rcgen::KeyPair::generate().unwrap();
    let root = forged.signed_by(&root_key, &issuer).unwrap().der().clone();
    assert_eq!(client::verify(clients.bundle(), &[root, alice], noon()), Err(AuthError::WrongCa));
}

#[test]
fn a_changed_certificate_is_not_ours() {
    let clients = authorities(noon()).clients;
    let pem = clients.issue_client("alice", "c1", HOUR, noon()).unwrap();
    let good = chain(&pem).remove(0);
    for at in 0..good.len() {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1;
        let verdict = client::verify(clients.bundle(), &[CertificateDer::from(bytes)], noon());
        assert!(verdict.is_err(), "byte {at}");
    }
    for len in 0..good.len() {
        let cut = CertificateDer::from(good[..len].to_vec());
        assert!(client::verify(clients.bundle(), &[cut], noon()).is_err(), "length {len}");
    }
    let mut longer = good.to_vec();
    longer.push(0);
    let verdict = client::verify(clients.bundle(), &[CertificateDer::from(longer)], noon());
    assert!(matches!(verdict, Err(AuthError::Malformed(_))));
    assert_eq!(client::verify(clients.bundle(), &[], noon()), Err(AuthError::Missing));
}

#[test]
fn what_a_peer_sends_along_does_not_matter() {
    let clients = authorities(noon()).clients;
    let pem = clients.issue_client("alice", "c1", HOUR, noon()).unwrap();
    let mut with_ca = chain(&pem);
    with_ca.push(clients.ca_der().clone());
    with_ca.push(CertificateDer::from(vec![0; 9]));
    assert!(client::verify(clients.bundle(), &with_ca, noon()).is_ok());
}

#[test]
fn an_agent_gets_what_the_edge_says_not_what_it_asks() {
    let agents = authorities(noon()).agents;
    let key = rcgen::KeyPair::generate().unwrap();
    let mut greedy = rcgen::CertificateParams::new(vec!["kubernetes".to_owned()]).unwrap();
    greedy.distinguished_name.push(rcgen::DnType::OrganizationName, "system:masters");
    greedy.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    greedy.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let csr = greedy.serialize_request(&key).unwrap();
    let expected =
        AgentIdentity { cluster: "prod-eu".into(), replica: "agent-5d8-x".into(), pin: "7f-0.2".into() };
    let cert = agents.issue_agent(&expected, csr.der(), HOUR, noon()).unwrap();

    assert_eq!(agent::verify(agents.bundle(), std::slice::from_ref(&cert), noon()), Ok(expected));
    let (_, parsed) = X509Certificate::from_der(&cert).unwrap();
    assert_eq!(parsed.subject().to_string(), "CN=agent:prod-eu");
    assert!(!parsed.is_ca());
    let eku = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(eku.client_auth && !eku.server_auth);
    assert_eq!(parsed.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 3);
}

#[test]
fn a_request_must_be_signed_by_its_own_p256_key() {
    let agents = authorities(noon()).agents;
    let issue = |csr: &[u8]| agents.issue_agent(&prod(), csr, HOUR, noon());
    let good = AgentKey::generate().unwrap().csr().unwrap();
    let public_key = |cert: &[u8]| X509Certificate::from_der(cert).unwrap().1.public_key().raw.to_vec();
    let expected = public_key(&issue(&good).unwrap());
    let signed_end = 3 + 2 + usize::from(good[4]);
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        match issue(&bytes) {
            Err(error) => assert!(matches!(error, IdentityError::BadRequest(_)), "byte {at}: {error}"),
            // A tag outside the signed part that the parser does not mind.
            Ok(cert) => assert!(at >= signed_end && public_key(&cert) == expected, "byte {at}"),
        }
    }
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&p384).unwrap();
    assert!(matches!(issue(csr.der()), Err(IdentityError::BadRequest(_))));
    assert!(matches!(issue(&vec![0; REQUEST_BYTES_MAX + 1]), Err(IdentityError::BadRequest(_))));
    for who in [
        AgentIdentity { cluster: "Prod".into(), ..prod() },
        AgentIdentity { replica: String::new(), ..prod() },
        AgentIdentity { pin: "a/b".into(), ..prod() },
    ] {
        let issued = agents.issue_agent(&who, &good, HOUR, noon());
        assert!(matches!(issued, Err(IdentityError::BadName { .. })), "{who:?}");
    }
}

#[test]
fn a_key_takes_only_its_own_certificate() {
    let agents = authorities(noon()).agents;
    let (mine, other) = (AgentKey::generate().unwrap(), AgentKey::generate().unwrap());
    let cert = agents.issue_agent(&prod(), &mine.csr().unwrap(), HOUR, noon()).unwrap();
    assert!(mine.certified(vec![cert.clone()]).is_ok());
    assert!(other.certified(vec![cert]).is_err());
    assert!(mine.certified(Vec::new()).is_err());
}

#[test]
fn nothing_outlives_its_authority() {
    let clients = authorities(noon()).clients;
    let late = clients.ends() - SignedDuration::from_secs(60);
    let pem = clients.issue_client("alice", "c1", YEAR, late).unwrap();
    let (_, parsed) =
        X509Certificate::from_der(&chain(&pem)[0]).map(|(r, c)| (r.len(), c.validity().clone())).unwrap();
    assert_eq!(Timestamp::from_second(parsed.not_after.timestamp()).unwrap(), clients.ends());
    assert_eq!(clients.ends(), noon() + SignedDuration::try_from(AUTHORITY_LIFETIME).unwrap());
    let ended = clients.issue_client("alice", "c1", YEAR, clients.ends()).err();
    assert!(matches!(ended, Some(IdentityError::AuthorityEnded(_))));
    let zero = clients.issue_client("alice", "c1", std::time::Duration::ZERO, noon()).err();
    assert!(matches!(zero, Some(IdentityError::BadLifetime(_))));
    let forever = clients.issue_client("alice", "c1", std::time::Duration::MAX, noon()).err();
    assert!(matches!(forever, Some(IdentityError::BadLifetime(_))));
    let before_1970 = clients.issue_client("alice", "c1", YEAR, Timestamp::UNIX_EPOCH).err();
    assert!(matches!(before_1970, Some(IdentityError::BadLifetime(_))));
}

#[test]
fn two_certificates_of_one_key_have_two_serial_numbers() {
    let agents = authorities(noon()).agents;
    let csr = AgentKey::generate().unwrap().csr().unwrap();
    let serial = || {
        let cert = agents.issue_agent(&prod(), &csr, HOUR, noon()).unwrap();
        X509Certificate::from_der(&cert).unwrap().1.raw_serial().to_vec()
    };
    assert_ne!(serial(), serial());
}

#[test]
fn serving_names_are_hosts_and_addresses() {
    let serving = authorities(noon()).serving;
    let names = [
        SubjectName::Dns("*.hawser.test".into()),
        SubjectName::Dns("hawser.test".into()),
        SubjectName::Ip("127.0.0.17".parse().unwrap()),
        SubjectName::Ip("fd00::1".parse().unwrap()),
    ];
    let key = serving.issue_serving(&names, HOUR, noon()).unwrap();
    let (_, cert) = X509Certificate::from_der(&key.cert[0]).unwrap();
    assert_eq!(cert.subject_alternative_name().unwrap().unwrap().value.general_names.len(), names.len());
    for bad in ["", "*.", "a b", "*.*.test", "x_y", "é.test"] {
        let issued = serving.issue_serving(&[SubjectName::Dns(bad.into())], HOUR, noon());
        assert!(matches!(issued, Err(IdentityError::BadName { .. })), "{bad:?}");
    }
    let many = vec![SubjectName::Dns("a.test".into()); SERVING_NAMES_MAX + 1];
    for names in [&[][..], &many] {
        assert!(matches!(serving.issue_serving(names, HOUR, noon()), Err(IdentityError::BadName { .. })));
    }
    assert!(serving.issue_serving(&many[1..], HOUR, noon()).is_ok());
}

#[test]
fn a_bundle_is_authorities_only() {
    let all = authorities(noon());
    let ca = all.serving.ca_der().clone();
    assert_eq!(TrustBundle::from_pem(&all.serving.ca_pem()).unwrap().certs(), std::slice::from_ref(&ca));
    assert_eq!(all.serving.bundle().pem(), all.serving.ca_pem());
    assert!(TrustBundle::new(vec![ca.clone(); BUNDLE_CERTS_MAX]).is_ok());
    assert!(TrustBundle::new(vec![ca; BUNDLE_CERTS_MAX + 1]).is_err());
    let leaf = all.clients.issue_client("alice", "c1", HOUR, noon()).unwrap().cert_pem;
    let cut = all.serving.ca_pem().replace("-----END", "");
    for bad in ["", "hello", &leaf, &cut, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(matches!(TrustBundle::from_pem(bad), Err(IdentityError::BadBundle(_))), "{bad}");
    }
}
