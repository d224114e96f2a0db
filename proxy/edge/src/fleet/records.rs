//! What the store remembers of clusters besides their `Cluster` object. These kinds are the edge's own: no file and no
//! command writes them directly.

use std::net::Ipv4Addr;

use hawser_policy::resources::{API_VERSION, Cluster, ClusterSpec, Object};
use hawser_store::{Key, Store, StoreError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// On a Cluster: the loopback address under which this machine reaches it without DNS.
pub const LOOPBACK_ANNOTATION: &str = "hawser.dev/loopback";

/// An object of one of the private kinds.
pub(super) trait Record: Serialize + DeserializeOwned {
    const KIND: &'static str;
}

/// A join token: what it is good for, and which cluster used it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JoinRecord {
    /// SHA-256 of the secret, hex.
    pub(super) secret_sha256: String,
    /// Cluster names it is good for, `*` for any run of characters.
    pub(super) pattern: String,
    pub(super) reusable: bool,
    pub(super) expires: Timestamp,
    /// May take over a name that another cluster has.
    pub(super) replace: bool,
    /// UID of the kube-system namespace of the cluster that used it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) used_by: Option<String>,
}

impl Record for JoinRecord {
    const KIND: &'static str = "JoinToken";
}

/// What a cluster proved when it joined, and must prove again at every enrolment.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PinRecord {
    /// UID of its kube-system namespace.
    pub(super) uid: String,
    /// Issuer of its ServiceAccount tokens.
    pub(super) issuer: String,
    /// The issuer's keys.
    pub(super) jwks: String,
}

impl Record for PinRecord {
    const KIND: &'static str = "ClusterPin";
}

/// Reads a record with the revision to change it on.
pub(super) async fn read<R: Record>(store: &Store, name: &str) -> Result<Option<(R, u64)>, StoreError> {
    let object = match store.get(&Key::new(R::KIND, "", name)).await {
        Ok(object) => object,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let spec = object.value.get("spec").cloned().unwrap_or(Value::Null);
    let record = serde_json::from_value(spec)
        .map_err(|error| StoreError::Invalid { what: format!("{} {name}: {error}", R::KIND) })?;
    Ok(Some((record, object.revision)))
}

/// Creates a record, or changes the one of `revision`.
pub(super) async fn write<R: Record>(
    store: &Store,
    name: &str,
    record: &R,
    revision: Option<u64>,
) -> Result<(), StoreError> {
    let mut object = json!({
        "apiVersion": API_VERSION,
        "kind": R::KIND,
        "metadata": {"name": name},
        "spec": record,
    });
    match revision {
        None => store.create(object).await?,
        Some(revision) => {
            object["metadata"]["resourceVersion"] = Value::String(revision.to_string());
            store.update(object).await?
        }
    };
    Ok(())
}

/// The Cluster object of that name; made, with a loopback address of its own, where there is none.
///
/// # Errors
/// What the store says; [`StoreError::Invalid`] when every loopback address is taken.
pub async fn ensure_cluster(store: &Store, name: &str) -> Result<(), StoreError> {
    match store.get(&Key::new("Cluster", "", name)).await {
        Ok(_) => return Ok(()),
        Err(StoreError::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    let address = reserve_loopback(store, name).await?;
    let mut cluster = Cluster::named(name, ClusterSpec::default());
    cluster.metadata.annotations.insert(LOOPBACK_ANNOTATION.to_owned(), address.to_string());
    match store.create(Object::Cluster(cluster).to_value()).await {
        Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes the first free address from a place given by the name: the record's own name makes it unique.
async fn reserve_loopback(store: &Store, cluster: &str) -> Result<Ipv4Addr, StoreError> {
    let start = cluster.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
    for step in 0..LOOPBACK_ADDRESSES {
        let number = start.wrapping_add(step) % LOOPBACK_ADDRESSES;
        let address = Ipv4Addr::from(LOOPBACK_FIRST + number);
        let record = json!({
            "apiVersion": API_VERSION,
            "kind": "LoopbackAddress",
            "metadata": {"name": address.to_string()},
            "spec": {"cluster": cluster},
        });
        match store.create(record).await {
            Ok(_) => return Ok(address),
            Err(StoreError::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Invalid { what: "every loopback address from 127.77.0.1 on is taken".to_owned() })
}

/// 127.77.0.1
const LOOPBACK_FIRST: u32 = 0x7f4d_0001;
/// Up to 127.77.255.254.
const LOOPBACK_ADDRESSES: u32 = 0xfffe;
