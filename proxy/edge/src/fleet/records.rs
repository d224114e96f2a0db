//! What the store remembers of clusters besides their `Cluster` object. These kinds are the edge's own: no file and no
//! command writes them directly.

use std::{collections::HashSet, net::Ipv4Addr};

use hawser_policy::resources::{API_VERSION, Cluster, ClusterSpec, Object};
use hawser_store::{Change, Key, ListOptions, Store, StoreError};
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

/// A record as the store has it.
pub(super) struct Stored<R> {
    pub(super) record: R,
    /// To change it on.
    pub(super) revision: u64,
    /// Another one after each change, and after a deletion.
    pub(super) version: String,
}

impl<R: Record> TryFrom<hawser_store::Object> for Stored<R> {
    type Error = StoreError;

    fn try_from(object: hawser_store::Object) -> Result<Self, StoreError> {
        let version = version(&object);
        let spec = object.value.get("spec").cloned().unwrap_or(Value::Null);
        let record = serde_json::from_value(spec)
            .map_err(|error| StoreError::Invalid { what: format!("{}: {error}", object.key) })?;
        Ok(Self { record, revision: object.revision, version })
    }
}

/// What [`Stored::version`] is for any record; it can stand in a certificate.
pub(super) fn version(object: &hawser_store::Object) -> String {
    let metadata = &object.value["metadata"];
    format!("{}.{}", metadata["uid"].as_str().unwrap_or_default(), metadata["generation"])
}

/// The record of that name, if there is one.
pub(super) async fn read<R: Record>(store: &Store, name: &str) -> Result<Option<Stored<R>>, StoreError> {
    match store.get(&Key::new(R::KIND, "", name)).await {
        Ok(object) => object.try_into().map(Some),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The change that creates a record, or replaces the one of `revision`.
pub(super) fn change<R: Record>(name: &str, record: &R, revision: Option<u64>) -> Change {
    let mut object = json!({
        "apiVersion": API_VERSION,
        "kind": R::KIND,
        "metadata": {"name": name},
        "spec": record,
    });
    match revision {
        None => Change::Create(object),
        Some(revision) => {
            object["metadata"]["resourceVersion"] = Value::String(revision.to_string());
            Change::Update(object)
        }
    }
}

/// The Cluster object of that name; made, with a loopback address of its own, where there is none.
///
/// # Errors
/// What the store says; [`StoreError::Invalid`] when every loopback address is taken.
pub async fn ensure_cluster(store: &Store, name: &str) -> Result<hawser_store::Object, StoreError> {
    Loopbacks::while_taken(async || {
        match store.get(&Key::new("Cluster", "", name)).await {
            Err(StoreError::NotFound { .. }) => {}
            found => return found,
        }
        let mut cluster = Cluster::named(name, ClusterSpec::default());
        let reservation = Loopbacks::read(store).await?.reserve(&mut cluster)?;
        let change = Change::Create(Object::Cluster(cluster).to_value());
        store.transact(vec![reservation, change]).await?.pop().ok_or(StoreError::Closed)
    })
    .await
}

/// Deletes a cluster with all that is remembered of it, so that its name is free for any cluster: what it proved, its
/// loopback address, and the join tokens for this name alone. Its agents' links end with it.
///
/// # Errors
/// [`StoreError::NotFound`] where there is no such cluster; what the store says.
pub async fn delete_cluster(store: &Store, name: &str) -> Result<(), StoreError> {
    let mut keys = vec![Key::new("Cluster", "", name)];
    let pin = Key::new(PinRecord::KIND, "", name);
    match store.get(&pin).await {
        Ok(_) => keys.push(pin),
        Err(StoreError::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    for (kind, field) in [(LOOPBACK, "cluster"), (JoinRecord::KIND, "pattern")] {
        let all = store.list(kind, ListOptions::default()).await?.items;
        keys.extend(all.into_iter().filter(|it| it.value["spec"][field] == name).map(|it| it.key));
    }
    let changes = keys.into_iter().map(|key| Change::Delete { key, expected: None }).collect();
    store.transact(changes).await.map(drop)
}

/// The loopback addresses that clusters have.
pub struct Loopbacks(HashSet<Ipv4Addr>);

impl Loopbacks {
    /// Does what makes clusters again, as long as other processes are faster with one of them or with an address.
    ///
    /// # Errors
    /// Those of the attempts; [`StoreError::Busy`] after too many.
    pub async fn while_taken<T>(make: impl AsyncFn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        for _ in 0..ATTEMPTS_MAX {
            match make().await {
                Err(StoreError::AlreadyExists { .. }) => {}
                tried => return tried,
            }
        }
        Err(StoreError::Busy { what: "many clusters are made at the same time" })
    }

    /// Those taken in the store.
    ///
    /// # Errors
    /// What the store says.
    pub async fn read(store: &Store) -> Result<Self, StoreError> {
        let taken = store.list(LOOPBACK, ListOptions::default()).await?.items;
        Ok(Self(taken.iter().filter_map(|it| it.key.name.parse().ok()).collect()))
    }

    /// Gives a new cluster the first free address from a place given by its name. The change is to be made together with
    /// the cluster's: the record's own name makes the address unique.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when every address is taken.
    pub fn reserve(&mut self, cluster: &mut Cluster) -> Result<Change, StoreError> {
        let name = &cluster.metadata.name;
        let start =
            name.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let address = (0..LOOPBACK_ADDRESSES)
            .map(|step| Ipv4Addr::from(LOOPBACK_FIRST + start.wrapping_add(step) % LOOPBACK_ADDRESSES))
            .find(|address| !self.0.contains(address))
            .ok_or_else(|| StoreError::Invalid {
                what: "every loopback address from 127.77.0.1 on is taken".to_owned(),
            })?;
        self.0.insert(address);
        let record = json!({
            "apiVersion": API_VERSION,
            "kind": LOOPBACK,
            "metadata": {"name": address.to_string()},
            "spec": {"cluster": name},
        });
        cluster.metadata.annotations.insert(LOOPBACK_ANNOTATION.to_owned(), address.to_string());
        Ok(Change::Create(record))
    }
}

const LOOPBACK: &str = "LoopbackAddress";
/// How often clusters are tried to be made while others take them or the addresses.
const ATTEMPTS_MAX: u32 = 16;
/// 127.77.0.1
const LOOPBACK_FIRST: u32 = 0x7f4d_0001;
/// Up to 127.77.255.254.
const LOOPBACK_ADDRESSES: u32 = 0xfffe;
