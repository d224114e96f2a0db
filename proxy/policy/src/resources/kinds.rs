//! The kinds themselves, as plain data.
//!
//! Every field here is enforced. Values that came through [`Object::from_value`] or
//! [`super::parse_yaml`] keep the rules of the model; built by hand they keep only their types.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{API_VERSION, Fault, SYSTEM_NAMESPACE, node::Node, walk};

/// One resource: what all kinds have in common around their own `spec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource<S> {
    /// Name, labels and what the store keeps about the object.
    pub metadata: Metadata,
    /// What the administrator wants.
    #[serde(default)]
    pub spec: S,
    /// What Hawser reports; carried along, never judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
}

/// The part of Kubernetes' ObjectMeta that Hawser keeps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Metadata {
    /// Unique per kind and namespace.
    pub name: String,
    /// [`SYSTEM_NAMESPACE`] for namespaced kinds, empty for the others.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// What selectors match.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Free notes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Set by the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Set by the store; the revision of the last write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Set by the store; counts changes of the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Set by the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// Who applied which field (server-side apply).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_fields: Option<Value>,
}

/// A Kubernetes cluster that an agent brings in.
pub type Cluster = Resource<ClusterSpec>;
/// A person.
pub type User = Resource<UserSpec>;
/// A named set of users.
pub type Group = Resource<GroupSpec>;
/// A named set of rules, and the groups they are impersonated with.
pub type AccessRole = Resource<AccessRoleSpec>;
/// Which subjects may (or may not) do what on which clusters.
pub type AccessPolicy = Resource<AccessPolicySpec>;
/// What a downloaded kubeconfig refers to; deleting it ends that kubeconfig's power.
pub type Credential = Resource<CredentialSpec>;

/// Spec of a [`Cluster`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// Name shown to people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Name of the context in downloaded kubeconfigs; the cluster's name where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_name: Option<String>,
    /// Put before every user name in this cluster; `hawser:` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_prefix: Option<String>,
    /// Nothing is let through while true.
    pub paused: bool,
}

impl ClusterSpec {
    /// What the names of its users begin with.
    #[must_use]
    pub fn user_prefix(&self) -> &str {
        self.user_prefix.as_deref().unwrap_or("hawser:")
    }
}

/// Spec of a [`User`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UserSpec {
    /// Name shown to people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Where the person is written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// Spec of a [`Group`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GroupSpec {
    /// Who is in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
}

/// One member of a [`Group`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Member {
    /// Name of the user; a User object need not exist.
    pub user: String,
}

/// Spec of an [`AccessRole`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AccessRoleSpec {
    /// What it grants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// As which groups.
    #[serde(skip_serializing_if = "Impersonate::is_empty")]
    pub impersonate: Impersonate,
}

/// One rule in RBAC's words: either resources or non-resource URLs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rule {
    /// API groups; `""` is the core group, `*` is every group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// `pods`, `pods/log`, `*/scale` or `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Verbs of requests, or `*`.
    pub verbs: Vec<String>,
    /// Namespaces of the cluster this rule is narrowed to (`payments-*`); empty narrows nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Names of objects this rule is narrowed to; empty narrows nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths outside the resources, `*` allowed at the end.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

/// Groups that a request carries into the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Impersonate {
    /// Names as the cluster's bindings know them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

/// Spec of an [`AccessPolicy`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AccessPolicySpec {
    /// `Allow` where absent.
    pub effect: Effect,
    /// Whom it is about.
    pub subjects: Subjects,
    /// Where.
    pub clusters: ClusterTargets,
    /// Roles by name. With neither roles nor rules the cluster's own RBAC decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Rules written here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Groups carried besides those of the roles.
    #[serde(skip_serializing_if = "Impersonate::is_empty")]
    pub impersonate: Impersonate,
    /// Namespaces of the cluster all of it is narrowed to; empty narrows nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
}

/// What a matching policy does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Grants.
    #[default]
    Allow,
    /// Refuses, whatever other policies grant.
    Deny,
}

/// Whom a policy is about: the union of both lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Subjects {
    /// Users by name; a User object need not exist.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Groups as `name` or `namespace/name`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

/// Where a policy holds: the clusters named, and those the selector matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterTargets {
    /// Clusters by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Clusters by label; absent matches none, empty matches all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Kubernetes' label selector, as far as it is enforced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LabelSelector {
    /// All of these must be there, with these values.
    pub match_labels: BTreeMap<String, String>,
}

/// Spec of a [`Credential`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CredentialSpec {
    /// Whose it is.
    pub user: String,
    /// Clusters it is good for; all where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clusters: Option<Vec<String>>,
    /// From this moment on it is worth nothing; never where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// SHA-256 of the secret of an opaque token, in hex; absent for client certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<String>,
}

/// A resource of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// See [`Cluster`].
    Cluster(Cluster),
    /// See [`User`].
    User(User),
    /// See [`Group`].
    Group(Group),
    /// See [`AccessRole`].
    AccessRole(AccessRole),
    /// See [`AccessPolicy`].
    AccessPolicy(AccessPolicy),
    /// See [`Credential`].
    Credential(Credential),
}

impl<S> Resource<S> {
    /// A resource of this name in no namespace, with nothing else in its metadata.
    #[must_use]
    pub fn named(name: impl Into<String>, spec: S) -> Self {
        let metadata = Metadata { name: name.into(), ..Metadata::default() };
        Self { metadata, spec, status: None }
    }

    /// The same in [`SYSTEM_NAMESPACE`], for groups, roles and policies.
    #[must_use]
    pub fn in_system(name: impl Into<String>, spec: S) -> Self {
        let mut resource = Self::named(name, spec);
        SYSTEM_NAMESPACE.clone_into(&mut resource.metadata.namespace);
        resource
    }
}

impl Impersonate {
    /// No group at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

impl Object {
    /// Reads a whole Kubernetes object, as the store keeps it.
    ///
    /// # Errors
    /// Every fault of the object.
    pub fn from_value(value: Value) -> Result<Self, Vec<Fault>> {
        walk::read(&Node::from_json(value), "", "")
    }

    /// The whole Kubernetes object.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let resource = match self {
            Self::Cluster(it) => serde_json::to_value(it),
            Self::User(it) => serde_json::to_value(it),
            Self::Group(it) => serde_json::to_value(it),
            Self::AccessRole(it) => serde_json::to_value(it),
            Self::AccessPolicy(it) => serde_json::to_value(it),
            Self::Credential(it) => serde_json::to_value(it),
        };
        // Only maps with other than text keys can fail here, and no kind has one.
        let mut value = resource.unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.insert("apiVersion".to_owned(), API_VERSION.into());
            fields.insert("kind".to_owned(), self.kind().into());
        }
        value
    }

    /// The kind's name, such as `AccessPolicy`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cluster(_) => "Cluster",
            Self::User(_) => "User",
            Self::Group(_) => "Group",
            Self::AccessRole(_) => "AccessRole",
            Self::AccessPolicy(_) => "AccessPolicy",
            Self::Credential(_) => "Credential",
        }
    }

    /// `metadata` of whatever kind this is.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Cluster(it) => &it.metadata,
            Self::User(it) => &it.metadata,
            Self::Group(it) => &it.metadata,
            Self::AccessRole(it) => &it.metadata,
            Self::AccessPolicy(it) => &it.metadata,
            Self::Credential(it) => &it.metadata,
        }
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.metadata().name
    }

    /// `metadata.namespace`; empty for kinds that have none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.metadata().namespace
    }

    /// What no two objects share: kind, namespace and name.
    pub(super) fn key(&self) -> (&'static str, String, String) {
        (self.kind(), self.namespace().to_owned(), self.name().to_owned())
    }
}
