//! Resources → [`Table`], off the request path.
//!
//! Names are resolved, roles and selectors settled, and policies sorted into lists here, so that a decision
//! only follows indexes. What cannot be resolved never widens a right: an Allow grants nothing from a role
//! that does not exist, a Deny that names one refuses everything; both are warned about.

mod policies;
mod subjects;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::groups::GroupSets;
use crate::resources::{
    AccessPolicy, AccessRole, Cluster, ClusterSpec, Credential, Group, Metadata, Object, SYSTEM_NAMESPACE,
};
use crate::table::{ClusterEntry, CredentialEntry, Table};
use policies::Policies;
use subjects::Subjects;

/// Compiles the whole fleet's resources. `generation` numbers the table for logs and permits.
///
/// Of two objects with one kind, namespace and name the later one counts. Users are known by being named, so
/// User objects are not needed.
#[must_use]
pub fn compile(objects: &[Object], generation: u64) -> Table {
    let mut words = Words::default();
    let input = Input::sort(objects);
    let mut warnings = Vec::new();

    let clusters: Vec<_> =
        input.clusters.values().map(|cluster| cluster_entry(cluster, &mut words)).collect();
    let cluster_ids = (0_u32..).zip(&clusters).map(|(id, entry)| (Arc::clone(&entry.name), id)).collect();
    let mut groups = GroupSets::new();
    let policies = Policies::compile(&input, &clusters, &mut groups, &mut words, &mut warnings);
    let subjects = Subjects::compile(&input, &policies, &mut groups, &mut words, &mut warnings);
    let credentials = credentials(&input, &subjects.ids, &mut words);
    groups.seal();

    Table {
        generation,
        cut_epoch: 0,
        warnings,
        cluster_ids,
        clusters,
        credentials,
        users: subjects.users,
        lists: subjects.lists,
        cluster_sets: policies.cluster_sets,
        policies: policies.policies,
        policy_names: policies.names.into(),
        groups,
    }
}

/// The objects by kind and key, in the order of their names.
#[derive(Default)]
struct Input<'a> {
    clusters: BTreeMap<&'a str, &'a Cluster>,
    groups: BTreeMap<String, &'a Group>,
    roles: BTreeMap<String, &'a AccessRole>,
    policies: BTreeMap<String, &'a AccessPolicy>,
    credentials: BTreeMap<&'a str, &'a Credential>,
}

impl<'a> Input<'a> {
    fn sort(objects: &'a [Object]) -> Self {
        let mut input = Self::default();
        for object in objects {
            match object {
                Object::Cluster(it) => drop(input.clusters.insert(&it.metadata.name, it)),
                Object::Group(it) => drop(input.groups.insert(full_name(&it.metadata), it)),
                Object::AccessRole(it) => drop(input.roles.insert(full_name(&it.metadata), it)),
                Object::AccessPolicy(it) => drop(input.policies.insert(full_name(&it.metadata), it)),
                Object::Credential(it) => drop(input.credentials.insert(&it.metadata.name, it)),
                Object::User(_) => {}
            }
        }
        input
    }
}

fn full_name(metadata: &Metadata) -> String {
    format!("{}/{}", metadata.namespace, metadata.name)
}

/// The full name of what a policy refers to as `name` or `namespace/name`.
fn resolve(reference: &str) -> String {
    if reference.contains('/') { reference.to_owned() } else { format!("{SYSTEM_NAMESPACE}/{reference}") }
}

/// Every text of a table, once.
#[derive(Default)]
struct Words(HashSet<Arc<str>>);

impl Words {
    fn word(&mut self, text: &str) -> Arc<str> {
        if let Some(word) = self.0.get(text) {
            return Arc::clone(word);
        }
        let word: Arc<str> = text.into();
        self.0.insert(Arc::clone(&word));
        word
    }

    fn sorted(&mut self, texts: &[String]) -> Vec<Arc<str>> {
        let mut words: Vec<_> = texts.iter().map(|text| self.word(text)).collect();
        words.sort_unstable();
        words.dedup();
        words
    }
}

fn cluster_entry(cluster: &Cluster, words: &mut Words) -> ClusterEntry {
    let ClusterSpec { display_name, context_name, user_prefix: _, paused } = &cluster.spec;
    let name = words.word(&cluster.metadata.name);
    let mut or_name = |text: &Option<String>| words.word(text.as_deref().unwrap_or(&cluster.metadata.name));
    let (display, context) = (or_name(display_name), or_name(context_name));
    let labels = &cluster.metadata.labels;
    ClusterEntry {
        name,
        display,
        context,
        user_prefix: words.word(cluster.spec.user_prefix()),
        paused: *paused,
        labels: labels.iter().map(|(key, value)| (words.word(key), words.word(value))).collect(),
    }
}

fn credentials(
    input: &Input<'_>,
    user_ids: &HashMap<Arc<str>, u32>,
    words: &mut Words,
) -> HashMap<Arc<str>, CredentialEntry> {
    let entry = |credential: &&Credential| {
        let spec = &credential.spec;
        let entry = CredentialEntry {
            user: words.word(&spec.user),
            clusters: spec.clusters.as_ref().map(|names| words.sorted(names).into()),
            expires: spec.expires,
            token_sha256: spec.token_sha256.as_deref().map(from_hex),
            // Every user of a credential has an entry; the largest id is nobody's.
            user_id: user_ids.get(spec.user.as_str()).copied().unwrap_or(u32::MAX),
        };
        (words.word(&credential.metadata.name), entry)
    };
    input.credentials.values().map(entry).collect()
}

/// What is not 64 hex digits (the resources let nothing else in) becomes a hash that no secret has.
fn from_hex(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    let digit = |at: usize| text.as_bytes().get(at).and_then(|b| char::from(*b).to_digit(16));
    for (at, byte) in bytes.iter_mut().enumerate() {
        let (Some(high), Some(low)) = (digit(2 * at), digit(2 * at + 1)) else { return [0; 32] };
        *byte = u8::try_from(high * 16 + low).unwrap_or_default();
    }
    bytes
}
