//! The shape of every kind as data: the fields that are enforced, those that a later version will
//! enforce, and what their values may be. The walk judges by it and the reference is printed from it.

use serde_json::{Value, from_value};

use super::check::{self, Check};
use super::kinds::Object;
use super::node::Node;
use super::walk::Walk;

/// One kind.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) namespaced: bool,
    pub(super) object_name: Check,
    pub(super) spec: Shape,
    /// Makes the typed object of a document that this schema found right.
    pub(super) build: fn(Value) -> serde_json::Result<Object>,
}

/// A map with known keys.
pub(super) struct Shape {
    pub(super) fields: &'static [Field],
    /// What only the fields together can show to be wrong.
    pub(super) whole: Option<fn(&Node, &str, &mut Walk<'_>)>,
}

/// One key of a [`Shape`].
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) required: bool,
    pub(super) about: &'static str,
}

/// What a field holds.
pub(super) enum Form {
    Text(Check),
    /// A text that a fault must not repeat.
    Hidden(Check),
    Flag,
    Count,
    Choice(&'static [&'static str]),
    Texts(Check),
    /// As [`Form::Texts`], but written it must hold something.
    SomeTexts(Check),
    Labels(Check),
    Map(&'static Shape),
    Maps(&'static Shape),
    Free,
    /// Known to the model, not to this version.
    Later,
}

/// Kinds of the model that this version does not have.
pub(super) const LATER_KINDS: [&str; 9] = [
    "IdentityProvider",
    "AccessScope",
    "Bot",
    "AccessRequest",
    "AccessDecision",
    "Lock",
    "Session",
    "Exchange",
    "SourceRule",
];

/// What stands at the top of every object.
pub(super) const TOP: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

const fn field(name: &'static str, form: Form, about: &'static str) -> Field {
    Field { name, form, required: false, about }
}

const fn required(name: &'static str, form: Form, about: &'static str) -> Field {
    Field { name, form, required: true, about }
}

const fn later(name: &'static str) -> Field {
    Field { name, form: Form::Later, required: false, about: "" }
}

/// `metadata`; its name is judged by the kind.
pub(super) const METADATA: Shape = Shape {
    fields: &[
        required("name", Form::Text(check::anything), "Unique per kind and namespace."),
        field("namespace", Form::Text(check::namespace), "`hawser-system`, also where absent."),
        field("labels", Form::Labels(check::label_value), "What selectors match."),
        field("annotations", Form::Labels(check::anything), "Free notes."),
        field("uid", Form::Text(check::anything), "Set by the store."),
        field("resourceVersion", Form::Text(check::anything), "Set by the store."),
        field("generation", Form::Count, "Set by the store."),
        field("creationTimestamp", Form::Text(check::anything), "Set by the store."),
        field("managedFields", Form::Free, "Who applied which field."),
        later("generateName"),
        later("finalizers"),
        later("ownerReferences"),
    ],
    whole: None,
};

/// All kinds that this version enforces.
pub(super) const KINDS: [Kind; 6] = [
    Kind {
        name: "Cluster",
        namespaced: false,
        object_name: check::cluster_name,
        spec: CLUSTER,
        build: |v| from_value(v).map(Object::Cluster),
    },
    Kind {
        name: "User",
        namespaced: false,
        object_name: check::user_name,
        spec: USER,
        build: |v| from_value(v).map(Object::User),
    },
    Kind {
        name: "Group",
        namespaced: true,
        object_name: check::object_name,
        spec: GROUP,
        build: |v| from_value(v).map(Object::Group),
    },
    Kind {
        name: "AccessRole",
        namespaced: true,
        object_name: check::role_name,
        spec: ROLE,
        build: |v| from_value(v).map(Object::AccessRole),
    },
    Kind {
        name: "AccessPolicy",
        namespaced: true,
        object_name: check::object_name,
        spec: POLICY,
        build: |v| from_value(v).map(Object::AccessPolicy),
    },
    Kind {
        name: "Credential",
        namespaced: false,
        object_name: check::object_name,
        spec: CREDENTIAL,
        build: |v| from_value(v).map(Object::Credential),
    },
];

const CLUSTER: Shape = Shape {
    fields: &[
        field("displayName", Form::Text(check::free_text), "Name shown to people."),
        field("contextName", Form::Text(check::context_name), "Context in downloaded kubeconfigs."),
        field("userPrefix", Form::Text(check::user_prefix), "Put before user names; `hawser:` where absent."),
        later("passthroughGroups"),
        field("paused", Form::Flag, "Nothing is let through while true."),
    ],
    whole: None,
};

const USER: Shape = Shape {
    fields: &[
        field("displayName", Form::Text(check::free_text), "Name shown to people."),
        field("email", Form::Text(check::email), "Where the person is written to."),
        later("suspended"),
        later("local"),
    ],
    whole: None,
};

const GROUP: Shape =
    Shape { fields: &[field("members", Form::Maps(&MEMBER), "Who is in it."), later("claims")], whole: None };

const MEMBER: Shape = Shape {
    fields: &[
        required("user", Form::Text(check::user_name), "Name of the user."),
        later("until"),
        later("sponsor"),
    ],
    whole: None,
};

const ROLE: Shape = Shape {
    fields: &[
        field("rules", Form::Maps(&RULE), "What it grants."),
        field("impersonate", Form::Map(&IMPERSONATE_ROLE), "As which groups."),
    ],
    whole: None,
};

const RULE: Shape = Shape {
    fields: &[
        field("apiGroups", Form::SomeTexts(check::api_group), "API groups, `\"\"` for core, `*` for all."),
        field("resources", Form::SomeTexts(check::resource), "`pods`, `pods/log`, `*/scale` or `*`."),
        required("verbs", Form::SomeTexts(check::anything), "Verbs of requests, or `*`."),
        field("namespaces", Form::SomeTexts(check::namespace_pattern), "Narrowed to these (`payments-*`)."),
        field("resourceNames", Form::SomeTexts(check::resource_name), "Narrowed to these objects."),
        field("nonResourceURLs", Form::SomeTexts(check::url), "Paths outside the resources."),
    ],
    whole: Some(rule_whole),
};

const IMPERSONATE_ROLE: Shape = Shape {
    fields: &[field("groups", Form::Texts(check::group), "Names as the cluster's bindings know them.")],
    whole: None,
};

const IMPERSONATE_POLICY: Shape = Shape {
    fields: &[
        field("groups", Form::Texts(check::group), "Carried besides those of the roles."),
        later("providerGroups"),
    ],
    whole: None,
};

const POLICY: Shape = Shape {
    fields: &[
        field("effect", Form::Choice(&["Allow", "Deny"]), "`Allow` where absent."),
        required("subjects", Form::Map(&SUBJECTS), "Whom it is about: the union of both lists."),
        required("clusters", Form::Map(&CLUSTERS), "Where: clusters named, and those selected."),
        field(
            "roles",
            Form::Texts(check::reference),
            "With neither roles nor rules the cluster's RBAC decides.",
        ),
        field("rules", Form::Maps(&RULE), "Rules written here."),
        field("impersonate", Form::Map(&IMPERSONATE_POLICY), "As which further groups."),
        field("namespaces", Form::SomeTexts(check::namespace_pattern), "All of it is narrowed to these."),
        later("conditions"),
        later("channels"),
        later("activation"),
        later("mode"),
    ],
    whole: Some(policy_whole),
};

const SUBJECTS: Shape = Shape {
    fields: &[
        field("users", Form::Texts(check::user_name), "Users by name."),
        field("groups", Form::Texts(check::reference), "Groups as `name` or `namespace/name`."),
        later("bots"),
    ],
    whole: None,
};

const CLUSTERS: Shape = Shape {
    fields: &[
        field("names", Form::Texts(check::cluster_reference), "Clusters by name."),
        field("selector", Form::Map(&SELECTOR), "Clusters by label; empty selects all."),
    ],
    whole: None,
};

const SELECTOR: Shape = Shape {
    fields: &[
        field("matchLabels", Form::Labels(check::label_value), "All of these labels."),
        later("matchExpressions"),
    ],
    whole: None,
};

const CREDENTIAL: Shape = Shape {
    fields: &[
        required("user", Form::Text(check::user_name), "Whose it is."),
        field("clusters", Form::SomeTexts(check::cluster_name), "Clusters it is good for; all where absent."),
        field("expires", Form::Text(check::timestamp), "Worth nothing from then on; RFC 3339."),
        field("tokenSha256", Form::Hidden(check::sha256_hex), "Hash of an opaque token's secret."),
        later("bot"),
    ],
    whole: None,
};

/// A rule is about resources or about URLs, and its verbs are those of what it is about.
fn rule_whole(rule: &Node, path: &str, walk: &mut Walk<'_>) {
    let about_urls = rule.field("nonResourceURLs").is_some();
    let resource_fields = ["apiGroups", "resources", "namespaces", "resourceNames"];
    if about_urls {
        for name in resource_fields {
            if let Some(node) = rule.field(name) {
                walk.fault(
                    node,
                    &format!("{path}.{name}"),
                    "a rule about nonResourceURLs without this field",
                );
            }
        }
    } else {
        for name in ["apiGroups", "resources"] {
            if rule.field(name).is_none() {
                walk.missing(rule, &format!("{path}.{name}"), "a list (or nonResourceURLs in its place)");
            }
        }
    }
    let verbs: &[&str] = if about_urls { &check::URL_VERBS } else { &check::RESOURCE_VERBS };
    for (at, node) in rule.field("verbs").map_or(&[][..], Node::items).iter().enumerate() {
        if node.text().is_some_and(|verb| !verbs.contains(&verb)) {
            walk.fault(node, &format!("{path}.verbs[{at}]"), &format!("one of {}", verbs.join(", ")));
        }
    }
}

/// A Deny gives nothing, so it has no groups to give.
fn policy_whole(policy: &Node, path: &str, walk: &mut Walk<'_>) {
    let denies = policy.field("effect").and_then(Node::text) == Some("Deny");
    if denies && let Some(node) = policy.field("impersonate") {
        walk.fault(node, &format!("{path}.impersonate"), "a Deny policy without it: it gives no groups");
    }
}
