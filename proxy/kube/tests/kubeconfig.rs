//! Promise: whatever the names are, kubectl reads from a kubeconfig what was put in, and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hawser_kube::kubeconfig::{Kubeconfig, KubeconfigCluster, KubeconfigCredential};
use proptest::prelude::*;
use serde_json::{Value, json};

fn cluster(name: &str) -> KubeconfigCluster {
    KubeconfigCluster {
        name: name.to_owned(),
        server: format!("https://{name}.example.com:8443"),
        ca_pem: "-----BEGIN CERTIFICATE-----\n".to_owned(),
        tls_server_name: None,
        namespace: None,
    }
}

fn read(config: &Kubeconfig) -> Value {
    serde_saphyr::from_str(&config.to_yaml()).expect("YAML")
}

#[test]
fn two_clusters_one_token() {
    let narrow = KubeconfigCluster {
        ca_pem: String::new(),
        tls_server_name: Some("edge.example.com".to_owned()),
        namespace: Some("shop".to_owned()),
        ..cluster("stage")
    };
    let config = Kubeconfig {
        clusters: vec![cluster("prod"), narrow],
        user: "alice@example.com".to_owned(),
        credential: KubeconfigCredential::Token("hwt_1_abc".to_owned()),
        current: Some("prod".to_owned()),
    };
    let ca = STANDARD.encode("-----BEGIN CERTIFICATE-----\n");
    assert_eq!(
        read(&config),
        json!({
            "apiVersion": "v1", "kind": "Config", "preferences": {},
            "clusters": [
                {"name": "prod", "cluster": {
                    "server": "https://prod.example.com:8443", "certificate-authority-data": ca}},
                {"name": "stage", "cluster": {
                    "server": "https://stage.example.com:8443", "tls-server-name": "edge.example.com"}},
            ],
            "contexts": [
                {"name": "prod", "context": {"cluster": "prod", "user": "alice@example.com"}},
                {"name": "stage", "context": {
                    "cluster": "stage", "user": "alice@example.com", "namespace": "shop"}},
            ],
            "current-context": "prod",
            "users": [{"name": "alice@example.com", "user": {"token": "hwt_1_abc"}}],
        })
    );
}

#[test]
fn a_certificate_goes_in_as_base64() {
    let config = Kubeconfig {
        clusters: Vec::new(),
        user: "no".to_owned(), // a boolean for some YAML readers, were it not quoted
        credential: KubeconfigCredential::Certificate {
            cert_pem: "CERT\n".to_owned(),
            key_pem: "KEY\n".to_owned(),
        },
        current: None,
    };
    assert_eq!(
        read(&config),
        json!({
            "apiVersion": "v1", "kind": "Config", "preferences": {}, "clusters": [], "contexts": [],
            "current-context": "",
            "users": [{"name": "no", "user": {
                "client-certificate-data": STANDARD.encode("CERT\n"), "client-key-data": STANDARD.encode("KEY\n")}}],
        })
    );
}

proptest! {
    #[test]
    fn no_name_escapes_its_quotes(name in any::<String>(), user in "[\"\\\\\n:#{}\u{0}\u{7f}\u{85}\u{2028}é\u{1f600} a]{0,20}") {
        let config = Kubeconfig {
            clusters: vec![cluster(&name)],
            user: user.clone(),
            credential: KubeconfigCredential::Token(name.clone()),
            current: Some(name.clone()),
        };
        let text = config.to_yaml();
        prop_assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
        let value = read(&config);
        prop_assert_eq!(&value["clusters"][0]["name"], &json!(name));
        prop_assert_eq!(&value["contexts"][0]["context"]["user"], &json!(user));
        prop_assert_eq!(&value["users"][0]["user"], &json!({"token": name}));
        prop_assert_eq!(&value["current-context"], &json!(name));
    }
}
