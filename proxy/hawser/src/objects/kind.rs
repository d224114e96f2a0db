//! The kinds as people write them on the command line.

use hawser_policy::resources::SYSTEM_NAMESPACE;
use hawser_store::Key;

/// One kind of resource.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// As in files.
    pub(crate) name: &'static str,
    /// Several of them.
    pub(crate) plural: &'static str,
    namespaced: bool,
}

impl Kind {
    /// Any case, singular or plural.
    pub(crate) fn parse(text: &str) -> anyhow::Result<&'static Self> {
        let is = |kind: &&Self| [kind.name, kind.plural].iter().any(|name| name.eq_ignore_ascii_case(text));
        KINDS.iter().find(is).ok_or_else(|| {
            let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            anyhow::anyhow!("{text:?} is not a kind; there are {}", names.join(", "))
        })
    }

    /// The key of the one called `name` (for namespaced kinds `hawser-system/name` is the same).
    pub(crate) fn key(&self, name: &str) -> Key {
        if !self.namespaced {
            return Key::new(self.name, "", name);
        }
        let plain = name.strip_prefix(SYSTEM_NAMESPACE).and_then(|rest| rest.strip_prefix('/'));
        Key::new(self.name, SYSTEM_NAMESPACE, plain.unwrap_or(name))
    }
}

const fn kind(name: &'static str, plural: &'static str, namespaced: bool) -> Kind {
    Kind { name, plural, namespaced }
}

/// All of them.
pub(super) const KINDS: [Kind; 6] = [
    kind("Cluster", "Clusters", false),
    kind("User", "Users", false),
    kind("Group", "Groups", true),
    kind("AccessRole", "AccessRoles", true),
    kind("AccessPolicy", "AccessPolicies", true),
    kind("Credential", "Credentials", false),
];

#[cfg(test)]
mod tests {
    use hawser_policy::resources::reference;

    use super::*;

    #[test]
    fn kinds_are_found_in_any_case_and_number() {
        for text in ["AccessPolicy", "accesspolicy", "accesspolicies", "ACCESSPOLICIES"] {
            assert_eq!(Kind::parse(text).unwrap().name, "AccessPolicy", "{text}");
        }
        let error = Kind::parse("pods").unwrap_err().to_string();
        assert_eq!(
            error,
            "\"pods\" is not a kind; there are Cluster, User, Group, AccessRole, AccessPolicy, Credential"
        );
    }

    #[test]
    fn they_are_those_of_the_model() {
        let mut of_model: Vec<&str> = reference().iter().map(|field| field.kind).collect();
        of_model.dedup();
        assert_eq!(KINDS.map(|kind| kind.name).as_slice(), of_model);
    }

    #[test]
    fn namespaced_kinds_have_their_namespace_in_the_key() {
        let key = |kind: &str, name: &str| Kind::parse(kind).unwrap().key(name);
        assert_eq!(key("group", "sre"), Key::new("Group", "hawser-system", "sre"));
        assert_eq!(key("group", "hawser-system/sre"), Key::new("Group", "hawser-system", "sre"));
        assert_eq!(key("user", "hawser-system"), Key::new("User", "", "hawser-system"));
    }
}
