//! The cluster's certificates and kubeconfigs: one CA, a client certificate for each component.
//!
//! They name only addresses inside the namespace and outlive any test run; `down` removes them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::json;

use super::{Cluster, text};

/// Makes keys, certificates and kubeconfigs, all or none.
pub(super) fn ensure(cluster: &Cluster) -> Result<()> {
    let done = cluster.dir.join("pki");
    if done.is_dir() {
        return Ok(());
    }
    let unfinished = cluster.dir.join("pki.unfinished");
    fs::create_dir_all(&unfinished)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, format!("{} CA", cluster.name));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let certificate = params.self_signed(&key)?;
    write_secret(&unfinished.join("ca.crt"), &certificate.pem())?;
    write_secret(&unfinished.join("ca.key"), &key.serialize_pem())?;
    let issuer = Issuer::new(params, key);
    for identity in IDENTITIES {
        issue(&unfinished, &issuer, identity)?;
    }
    let service_accounts = KeyPair::generate()?;
    write_secret(&unfinished.join("sa.key"), &service_accounts.serialize_pem())?;
    write_secret(&unfinished.join("sa.pub"), &service_accounts.public_key_pem())?;
    for identity in IDENTITIES {
        write_secret(
            &cluster.dir.join(format!("{}.kubeconfig", identity.file)),
            &kubeconfig(cluster, identity.file),
        )?;
    }
    Ok(fs::rename(unfinished, done)?)
}

struct Identity {
    file: &'static str,
    user: &'static str,
    group: Option<&'static str>,
    names: &'static [&'static str],
}

fn issue(dir: &Path, issuer: &Issuer<'_, KeyPair>, identity: &Identity) -> Result<()> {
    let key = KeyPair::generate()?;
    let names: Vec<String> = identity.names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, identity.user);
    if let Some(group) = identity.group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, issuer)?;
    write_secret(&dir.join(format!("{}.crt", identity.file)), &certificate.pem())?;
    write_secret(&dir.join(format!("{}.key", identity.file)), &key.serialize_pem())
}

/// JSON is YAML, and needs no quoting rules of our own.
fn kubeconfig(cluster: &Cluster, file: &str) -> String {
    let pki = cluster.dir.join("pki");
    let name = &cluster.name;
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": name,
        "clusters": [{"name": name, "cluster": {
            "server": cluster.server(), "certificate-authority": text(&pki.join("ca.crt")),
        }}],
        "users": [{"name": file, "user": {
            "client-certificate": text(&pki.join(format!("{file}.crt"))),
            "client-key": text(&pki.join(format!("{file}.key"))),
        }}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": file}}],
    });
    format!("{config:#}\n")
}

fn write_secret(path: &Path, content: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(content.as_bytes())?)
}

const IDENTITIES: &[Identity] = &[
    Identity { file: "admin", user: "admin", group: Some("system:masters"), names: &[] },
    Identity {
        file: "kube-apiserver",
        user: "kube-apiserver",
        group: Some("system:masters"), // its way to the kubelet
        names: &[
            "127.0.0.1",
            super::network::NODE_ADDRESS,
            super::network::API_SERVICE_ADDRESS,
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ],
    },
    Identity {
        file: "kube-controller-manager",
        user: "system:kube-controller-manager",
        group: None,
        names: &[],
    },
    Identity { file: "kube-scheduler", user: "system:kube-scheduler", group: None, names: &[] },
    Identity { file: "kube-proxy", user: "system:kube-proxy", group: None, names: &[] },
    Identity { file: "front-proxy", user: "front-proxy", group: None, names: &[] },
    Identity {
        file: "kubelet",
        user: "system:node:node-1",
        group: Some("system:nodes"),
        names: &[super::network::NODE_ADDRESS, super::kubelet::NODE],
    },
];
