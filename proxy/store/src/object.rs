//! Keys and objects: what is stored, and the door at which a caller's JSON becomes a [`Candidate`].

use std::fmt;

use serde_json::{Map, Value};

use crate::error::StoreError;

/// Longest `kind`, namespace or name, in bytes (Kubernetes' limit for names).
pub const NAME_BYTES_MAX: usize = 253;

/// Largest object as stored JSON, in bytes (the limit Kubernetes inherits from etcd's default request size).
pub const OBJECT_BYTES_MAX: usize = 1_536 * 1_024;

/// What names one object.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key {
    /// As in the object's `kind`.
    pub kind: String,
    /// `metadata.namespace`; empty for cluster-scoped kinds.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl Key {
    /// A key from its parts; `namespace` is empty for cluster-scoped kinds.
    pub fn new(kind: impl Into<String>, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

/// A stored object at one revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What names it.
    pub key: Key,
    /// The revision that wrote it; the same number as `metadata.resourceVersion`.
    pub revision: u64,
    /// The whole Kubernetes object.
    pub value: Value,
}

impl Object {
    /// A text field of the metadata, empty if absent.
    pub(crate) fn metadata_text(&self, field: &str) -> &str {
        self.value["metadata"][field].as_str().unwrap_or_default()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.value["metadata"]["generation"].as_u64().unwrap_or(0)
    }
}

/// An object a caller wants stored, checked as far as that is possible without the state.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) key: Key,
    /// The object without the metadata that the store fills.
    pub(crate) fields: Map<String, Value>,
    /// `metadata.resourceVersion`, the revision the change was made on.
    pub(crate) expected: Option<u64>,
    /// `metadata.uid`, the object the change was made on.
    pub(crate) uid: Option<String>,
}

impl Candidate {
    /// Reads a caller's object.
    pub(crate) fn parse(value: Value) -> Result<Self, StoreError> {
        let Value::Object(mut fields) = value else {
            return Err(StoreError::invalid("an object is needed, with apiVersion, kind and metadata.name"));
        };
        required(&fields, "", "apiVersion")?;
        let kind = required(&fields, "", "kind")?;
        let Some(Value::Object(metadata)) = fields.get_mut("metadata") else {
            return Err(StoreError::invalid("metadata: an object with a name is needed"));
        };
        let name = required(metadata, "metadata.", "name")?;
        let namespace = text(metadata, "metadata.", "namespace")?;
        let expected = revision(&text(metadata, "metadata.", "resourceVersion")?)?;
        let uid = Some(text(metadata, "metadata.", "uid")?).filter(|uid| !uid.is_empty());
        if namespace.is_empty() {
            metadata.remove("namespace");
        }
        for field in FILLED_BY_STORE {
            metadata.remove(field);
        }
        let key = Key { kind, namespace, name };
        check_key(&key)?;
        Ok(Self { key, fields, expected, uid })
    }
}

/// Refuses keys that could not be a segment of an API path.
pub(crate) fn check_key(key: &Key) -> Result<(), StoreError> {
    segment("kind", &key.kind)?;
    segment("metadata.name", &key.name)?;
    match key.namespace.as_str() {
        "" => Ok(()),
        namespace => segment("metadata.namespace", namespace),
    }
}

fn segment(field: &str, value: &str) -> Result<(), StoreError> {
    let problem = if value.is_empty() {
        "must not be empty"
    } else if value.len() > NAME_BYTES_MAX {
        "is longer than 253 bytes"
    } else if value == "." || value == ".." {
        "must not be \".\" or \"..\""
    } else if value.contains(['/', '%']) || value.contains(char::is_control) {
        "must not contain \"/\", \"%\" or control characters"
    } else {
        return Ok(());
    };
    let shown: String = value.chars().take(SHOWN_CHARS_MAX).collect();
    Err(StoreError::invalid(format!("{field}: {shown:?} {problem}")))
}

fn required(fields: &Map<String, Value>, path: &str, field: &str) -> Result<String, StoreError> {
    let value = text(fields, path, field)?;
    if value.is_empty() {
        return Err(StoreError::invalid(format!("{path}{field}: must not be empty")));
    }
    Ok(value)
}

/// A text field; empty if absent or null.
fn text(fields: &Map<String, Value>, path: &str, field: &str) -> Result<String, StoreError> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(StoreError::invalid(format!("{path}{field}: a string is needed")))
        }
    }
}

/// A resourceVersion; absent, empty and "0" mean "whatever is there", as in Kubernetes.
fn revision(text: &str) -> Result<Option<u64>, StoreError> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let parsed = if digits { text.parse().ok() } else { None };
    let invalid =
        || StoreError::invalid("metadata.resourceVersion: a decimal number is needed, as it was read");
    parsed.map(Some).ok_or_else(invalid)
}

/// Metadata that callers may send back as they read it, and never decide.
const FILLED_BY_STORE: [&str; 4] = ["uid", "creationTimestamp", "resourceVersion", "generation"];

/// Of a refused name, this much is repeated in the error.
const SHOWN_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: Value, wanted: &str) {
        match Candidate::parse(value) {
            Ok(candidate) => assert_eq!(candidate.key.to_string(), wanted),
            Err(StoreError::Invalid { what }) => assert!(what.contains(wanted), "{what}"),
            Err(other) => panic!("{other}"),
        }
    }

    fn named(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "User", "metadata": {"name": name}})
    }

    #[test]
    fn names_are_path_segments() {
        check(named("alice@example.com"), "User alice@example.com");
        check(named("Ålice b"), "User Ålice b");
        check(named(""), "metadata.name: must not be empty");
        check(named("."), "must not be");
        check(named(".."), "must not be");
        check(named("a/b"), "must not contain");
        check(named("a%2fb"), "must not contain");
        check(named("a\nb"), "must not contain");
    }

    #[test]
    fn a_name_of_one_byte_too_many_is_refused() {
        assert!(Candidate::parse(named(&"a".repeat(NAME_BYTES_MAX))).is_ok());
        check(named(&"a".repeat(NAME_BYTES_MAX + 1)), "longer than 253 bytes");
    }

    #[test]
    fn faults_name_the_field() {
        check(json!([]), "an object is needed");
        check(json!({"kind": "User", "metadata": {"name": "a"}}), "apiVersion: must not be empty");
        check(json!({"apiVersion": "v1", "kind": 7, "metadata": {"name": "a"}}), "kind: a string is needed");
        check(json!({"apiVersion": "v1", "kind": "User"}), "metadata: an object");
        check(json!({"apiVersion": "v1", "kind": "User", "metadata": []}), "metadata: an object");
        let namespaced =
            json!({"apiVersion": "v1", "kind": "Group", "metadata": {"name": "a", "namespace": "n/"}});
        check(namespaced, "metadata.namespace");
    }

    #[test]
    fn resource_versions() {
        let read = |text: &str| revision(text);
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("0"), Ok(None));
        assert_eq!(read("17"), Ok(Some(17)));
        assert_eq!(read("18446744073709551615"), Ok(Some(u64::MAX)));
        for bad in ["18446744073709551616", "-1", "+1", "01", "1 ", "x"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_the_store_fills_is_taken_out() {
        let value = json!({"apiVersion": "v1", "kind": "User", "metadata": {
            "name": "a", "uid": "u", "resourceVersion": "5", "generation": 9, "creationTimestamp": "never"}});
        let candidate = Candidate::parse(value).unwrap();
        assert_eq!(candidate.expected, Some(5));
        assert_eq!(candidate.uid.as_deref(), Some("u"));
        assert_eq!(candidate.fields["metadata"], json!({"name": "a"}));
    }
}
