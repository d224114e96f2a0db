//! What one write makes of one object: pure, so that every backend changes objects in the same way.
//!
//! The store owns `metadata.uid`, `creationTimestamp`, `resourceVersion` and `generation`; everything else is the
//! caller's, `status`, finalizers and `deletionTimestamp` included. A write that changes nothing takes no revision.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::error::StoreError;
use crate::object::{Candidate, Key, OBJECT_BYTES_MAX, Object, check_key};
use crate::watch::{Event, EventKind};

/// A write as a caller asks for it; what each means, and how it can fail, is said at the store's method of that name.
#[derive(Clone, Debug)]
pub enum Change {
    /// See [`Store::create`](crate::Store::create).
    Create(Value),
    /// See [`Store::update`](crate::Store::update).
    Update(Value),
    /// See [`Store::apply`](crate::Store::apply).
    Apply(Value),
    /// See [`Store::delete`](crate::Store::delete).
    Delete {
        /// What to delete.
        key: Key,
        /// Only at this revision.
        expected: Option<u64>,
    },
}

/// A write, checked as far as that is possible without the state.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Create(Candidate),
    Update(Candidate),
    Apply(Candidate),
    Delete { key: Key, expected: Option<u64> },
}

impl Write {
    pub(crate) fn key(&self) -> &Key {
        match self {
            Self::Create(candidate) | Self::Update(candidate) | Self::Apply(candidate) => &candidate.key,
            Self::Delete { key, .. } => key,
        }
    }
}

impl TryFrom<Change> for Write {
    type Error = StoreError;

    fn try_from(change: Change) -> Result<Self, StoreError> {
        Ok(match change {
            Change::Create(value) => Self::Create(Candidate::parse(value)?),
            Change::Update(value) => Self::Update(Candidate::parse(value)?),
            Change::Apply(value) => Self::Apply(Candidate::parse(value)?),
            Change::Delete { key, expected } => {
                check_key(&key)?;
                Self::Delete { key, expected }
            }
        })
    }
}

/// What a write comes to.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The object is as wanted already.
    Unchanged(Object),
    /// To be stored under the event's revision; `text` is the object as JSON.
    Change { event: Event, text: String },
}

/// Judges `write` against the object that is there; a change gets `revision`.
pub(crate) fn judge(
    write: &Write,
    current: Option<Object>,
    revision: u64,
    now: Timestamp,
) -> Result<Verdict, StoreError> {
    match (write, current) {
        (Write::Create(wanted), None) => create(wanted, revision, now),
        (Write::Create(wanted), Some(_)) => Err(StoreError::AlreadyExists { key: wanted.key.clone() }),
        (Write::Update(wanted), None) => Err(StoreError::NotFound { key: wanted.key.clone() }),
        (Write::Update(wanted), Some(current)) => {
            check_precondition(wanted, &current)?;
            replace(wanted.fields.clone(), current, revision)
        }
        (Write::Apply(wanted), None) => match wanted.expected {
            None => create(wanted, revision, now),
            Some(expected) => Err(StoreError::Conflict { key: wanted.key.clone(), expected, found: 0 }),
        },
        (Write::Apply(wanted), Some(current)) => {
            check_precondition(wanted, &current)?;
            replace(applied(wanted, &current), current, revision)
        }
        (Write::Delete { key, .. }, None) => Err(StoreError::NotFound { key: key.clone() }),
        (Write::Delete { expected, .. }, Some(current)) => {
            check_revision(*expected, &current)?;
            delete(current, revision)
        }
    }
}

fn check_precondition(wanted: &Candidate, current: &Object) -> Result<(), StoreError> {
    if wanted.uid.as_deref().is_some_and(|uid| uid != current.metadata_text("uid")) {
        return Err(StoreError::Replaced { key: wanted.key.clone() });
    }
    check_revision(wanted.expected, current)
}

fn check_revision(expected: Option<u64>, current: &Object) -> Result<(), StoreError> {
    match expected {
        Some(expected) if expected != current.revision => {
            Err(StoreError::Conflict { key: current.key.clone(), expected, found: current.revision })
        }
        Some(_) | None => Ok(()),
    }
}

fn create(wanted: &Candidate, revision: u64, now: Timestamp) -> Result<Verdict, StoreError> {
    if wanted.expected.is_some() {
        return Err(StoreError::invalid(
            "metadata.resourceVersion: must not be set on an object to be created",
        ));
    }
    let mut fields = wanted.fields.clone();
    let filled =
        Filled { uid: &uuid::Uuid::new_v4().to_string(), created: &whole_seconds(now), generation: 1 };
    filled.put_into(&mut fields, revision);
    change(EventKind::Added, wanted.key.clone(), fields, revision)
}

/// `fields` takes the place of the current object, which keeps its identity.
fn replace(mut fields: Map<String, Value>, current: Object, revision: u64) -> Result<Verdict, StoreError> {
    let (uid, created) = (current.metadata_text("uid"), current.metadata_text("creationTimestamp"));
    Filled { uid, created, generation: current.generation() }.put_into(&mut fields, current.revision);
    if current.value.as_object() == Some(&fields) {
        return Ok(Verdict::Unchanged(current));
    }
    let generation = current.generation() + u64::from(!same_intent(&fields, &current.value));
    Filled { uid, created, generation }.put_into(&mut fields, revision);
    change(EventKind::Modified, current.key, fields, revision)
}

/// What `apply` means by an object: its spec (every field but metadata and status), labels and annotations. The rest
/// stays as it is.
fn applied(wanted: &Candidate, current: &Object) -> Map<String, Value> {
    let kept = |field: &str| field == "metadata" || field == "status";
    let mut fields: Map<String, Value> =
        wanted.fields.iter().filter(|(field, _)| !kept(field)).map(|(k, v)| (k.clone(), v.clone())).collect();
    if let Some(status) = current.value.get("status") {
        fields.insert("status".into(), status.clone());
    }
    let mut metadata = current.value["metadata"].as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        match wanted.fields["metadata"].get(field) {
            Some(value) => metadata.insert(field.into(), value.clone()),
            None => metadata.remove(field),
        };
    }
    fields.insert("metadata".into(), Value::Object(metadata));
    fields
}

fn delete(current: Object, revision: u64) -> Result<Verdict, StoreError> {
    let Object { key, mut value, .. } = current;
    value["metadata"]["resourceVersion"] = Value::String(revision.to_string());
    let fields = value.as_object().cloned().unwrap_or_default();
    change(EventKind::Deleted, key, fields, revision)
}

fn change(
    kind: EventKind,
    key: Key,
    fields: Map<String, Value>,
    revision: u64,
) -> Result<Verdict, StoreError> {
    let value = Value::Object(fields);
    let text = value.to_string();
    if text.len() > OBJECT_BYTES_MAX && kind != EventKind::Deleted {
        let size = text.len();
        return Err(StoreError::invalid(format!(
            "{key}: {size} bytes, at most {OBJECT_BYTES_MAX} are stored"
        )));
    }
    let object = Arc::new(Object { key, revision, value });
    Ok(Verdict::Change { event: Event { kind, object, revision }, text })
}

/// Whether two versions of an object want the same: everything but metadata and status is equal.
fn same_intent(fields: &Map<String, Value>, value: &Value) -> bool {
    let intent = |fields: &Map<String, Value>| {
        let mut fields = fields.clone();
        for field in ["apiVersion", "metadata", "status"] {
            fields.remove(field);
        }
        fields
    };
    value.as_object().map(intent) == Some(intent(fields))
}

/// The metadata that the store decides.
struct Filled<'a> {
    uid: &'a str,
    created: &'a str,
    generation: u64,
}

impl Filled<'_> {
    fn put_into(&self, fields: &mut Map<String, Value>, revision: u64) {
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            metadata.insert("uid".into(), self.uid.into());
            metadata.insert("creationTimestamp".into(), self.created.into());
            metadata.insert("generation".into(), self.generation.into());
            metadata.insert("resourceVersion".into(), revision.to_string().into());
        }
    }
}

/// RFC 3339 in whole seconds, as Kubernetes writes its times.
fn whole_seconds(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn candidate(value: Value) -> Candidate {
        Candidate::parse(value).unwrap()
    }

    fn user(spec: Value) -> Value {
        json!({"apiVersion": "access.hawser.dev/v1", "kind": "User", "metadata": {"name": "a"}, "spec": spec})
    }

    fn written(verdict: Result<Verdict, StoreError>) -> Object {
        match verdict.unwrap() {
            Verdict::Change { event, text } => {
                assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), event.object.value);
                Object::clone(&event.object)
            }
            Verdict::Unchanged(object) => panic!("unchanged: {object:?}"),
        }
    }

    fn stored(value: Value, revision: u64) -> Object {
        let now = "2026-11-24T05:47:09.123456Z".parse().unwrap();
        written(judge(&Write::Create(candidate(value)), None, revision, now))
    }

    fn rejudge(write: Write, current: &Object) -> Result<Verdict, StoreError> {
        judge(&write, Some(current.clone()), current.revision + 1, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn create_fills_the_metadata() {
        let metadata = stored(user(json!({})), 7).value["metadata"].take();
        assert_eq!(metadata["creationTimestamp"], "2026-11-24T05:47:09Z");
        assert_eq!(metadata["resourceVersion"], "7");
        assert_eq!(metadata["generation"], 1);
        assert_eq!(metadata["uid"].as_str().unwrap().len(), 36);
    }

    #[test]
    fn update_keeps_identity_and_counts_generations_of_the_spec_only() {
        let first = stored(user(json!({"email": "a"})), 1);
        let mut value = first.value.clone();
        value["status"] = json!({"seen": true});
        let second = written(rejudge(Write::Update(candidate(value.clone())), &first));
        assert_eq!(second.generation(), 1);
        assert_eq!(second.value["metadata"]["uid"], first.value["metadata"]["uid"]);
        value["metadata"]["resourceVersion"] = "2".into();
        value["spec"]["email"] = "b".into();
        let third = written(rejudge(Write::Update(candidate(value)), &second));
        assert_eq!((third.generation(), third.revision), (2, 3));
        assert_eq!(
            third.value["metadata"]["creationTimestamp"],
            first.value["metadata"]["creationTimestamp"]
        );
    }

    #[test]
    fn a_write_that_changes_nothing_is_unchanged() {
        let current = stored(user(json!({"email": "a"})), 1);
        let again = rejudge(Write::Update(candidate(current.value.clone())), &current).unwrap();
        assert!(matches!(again, Verdict::Unchanged(object) if object == current));
        let again = rejudge(Write::Apply(candidate(user(json!({"email": "a"})))), &current).unwrap();
        assert!(matches!(again, Verdict::Unchanged(object) if object == current));
    }

    #[test]
    fn apply_replaces_spec_labels_and_annotations_and_nothing_else() {
        let mut value = user(json!({"email": "a", "displayName": "A"}));
        value["metadata"]["labels"] = json!({"old": "1"});
        value["metadata"]["annotations"] = json!({"old": "1"});
        value["metadata"]["finalizers"] = json!(["hawser"]);
        value["status"] = json!({"seen": true});
        let current = stored(value, 1);
        let mut wanted = user(json!({"email": "b"}));
        wanted["metadata"]["labels"] = json!({"new": "2"});
        wanted["status"] = json!({"seen": "forged"});
        let next = written(rejudge(Write::Apply(candidate(wanted)), &current));
        assert_eq!(next.value["spec"], json!({"email": "b"}));
        assert_eq!(next.value["status"], json!({"seen": true}));
        assert_eq!(next.value["metadata"]["labels"], json!({"new": "2"}));
        assert_eq!(next.value["metadata"].get("annotations"), None);
        assert_eq!(next.value["metadata"]["finalizers"], json!(["hawser"]));
        assert_eq!(next.generation(), 2);
    }

    #[test]
    fn preconditions() {
        let current = stored(user(json!({})), 4);
        let key = current.key.clone();
        let with = |field: &str, text: &str| {
            let mut value = user(json!({"email": "x"}));
            value["metadata"][field] = text.into();
            candidate(value)
        };
        let conflict = StoreError::Conflict { key: key.clone(), expected: 3, found: 4 };
        let stale = with("resourceVersion", "3");
        assert_eq!(rejudge(Write::Update(stale.clone()), &current).unwrap_err(), conflict);
        assert_eq!(rejudge(Write::Apply(stale.clone()), &current).unwrap_err(), conflict);
        let delete = Write::Delete { key: key.clone(), expected: Some(3) };
        assert_eq!(rejudge(delete, &current).unwrap_err(), conflict);
        let other = rejudge(Write::Update(with("uid", "other")), &current);
        assert_eq!(other.unwrap_err(), StoreError::Replaced { key: key.clone() });
        assert!(rejudge(Write::Update(with("resourceVersion", "4")), &current).is_ok());
        let now = Timestamp::UNIX_EPOCH;
        let gone = judge(&Write::Apply(stale.clone()), None, 5, now).unwrap_err();
        assert_eq!(gone, StoreError::Conflict { key, expected: 3, found: 0 });
        let create = judge(&Write::Create(stale), None, 5, now).unwrap_err();
        assert!(matches!(create, StoreError::Invalid { .. }));
    }

    #[test]
    fn delete_carries_the_last_object_at_the_revision_of_the_deletion() {
        let current = stored(user(json!({"email": "a"})), 4);
        let last = written(rejudge(Write::Delete { key: current.key.clone(), expected: Some(4) }, &current));
        assert_eq!((last.revision, &last.value["metadata"]["resourceVersion"]), (5, &json!("5")));
        assert_eq!(last.value["spec"], current.value["spec"]);
    }

    #[test]
    fn the_largest_object_fits_and_one_byte_more_does_not() {
        let sized = |fill: usize| {
            let wanted = candidate(user(json!({"fill": "x".repeat(fill)})));
            judge(&Write::Create(wanted), None, 1, Timestamp::UNIX_EPOCH)
        };
        let empty = written(sized(0)).value.to_string().len();
        assert!(sized(OBJECT_BYTES_MAX - empty).is_ok());
        assert!(matches!(sized(OBJECT_BYTES_MAX - empty + 1), Err(StoreError::Invalid { .. })));
    }
}
