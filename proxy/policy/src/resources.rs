//! The resources of `access.hawser.dev/v1`: what an administrator writes and the store keeps.
//!
//! They enter through [`parse_yaml`] (files) or [`Object::from_value`] (store, API). Both judge the
//! whole input and report every fault at once; what is not enforced by this version is refused, so
//! that nobody relies on a line that does nothing.

mod check;
mod fault;
mod kinds;
mod list;
mod node;
mod reference;
mod schema;
mod walk;

use std::collections::HashSet;

pub use fault::Fault;
pub use kinds::{
    AccessPolicy, AccessPolicySpec, AccessRole, AccessRoleSpec, Cluster, ClusterSpec, ClusterTargets,
    Credential, CredentialSpec, Effect, Group, GroupSpec, Impersonate, LabelSelector, Member, Metadata,
    Object, Resource, Rule, Subjects, User, UserSpec,
};
pub use reference::{FieldReference, reference};

/// API group and version of every resource here.
pub const API_VERSION: &str = "access.hawser.dev/v1";
/// The fleet's own namespace, and the only one this version knows.
pub const SYSTEM_NAMESPACE: &str = "hawser-system";
/// Roles that exist without being written; their names cannot be taken by an AccessRole.
pub const BUILT_IN_ROLES: [&str; 5] = ["view", "edit", "admin", "cluster-admin", "shell"];

/// Objects in one stream.
pub const OBJECTS_MAX: usize = 32_768;

/// Reads every document of a YAML stream, of which each is an object or a `v1 List` of them. `file` only names it in
/// faults. The length of `text` is the caller's to bound.
///
/// # Errors
/// All faults of all documents. One alone where the stream stops being YAML, or holds more than [`OBJECTS_MAX`].
pub fn parse_yaml(text: &str, file: &str) -> Result<Vec<Object>, Vec<Fault>> {
    let documents = match node::documents(text) {
        Ok(documents) => documents,
        Err(broken) => return Err(vec![Fault::syntax(file, broken.line, broken.message)]),
    };
    let mut faults = Vec::new();
    let mut objects: Vec<Object> = Vec::new();
    let mut keys = HashSet::new();
    let mut count = 0;
    for document in &documents {
        let places = list::objects(document, file).unwrap_or_else(|more| {
            faults.extend(more);
            Vec::new()
        });
        count += places.len();
        if count > OBJECTS_MAX {
            return Err(vec![Fault::too_many(file, document.line)]);
        }
        for (place, node) in places {
            match walk::read(node, &place, file) {
                Ok(object) if keys.insert(object.key()) => objects.push(object),
                Ok(object) => faults.push(Fault::repeated(file, node.line, &place, &object)),
                Err(more) => faults.extend(more),
            }
        }
    }
    faults.sort_by_key(|fault| fault.line);
    if faults.is_empty() { Ok(objects) } else { Err(faults) }
}
