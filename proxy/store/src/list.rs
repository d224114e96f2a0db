//! Lists in pages: one snapshot, however long the caller takes between its pages.
//!
//! A continue token is opaque to callers and no secret: it names the snapshot's revision, the list it belongs to and
//! the last key that was given out. It gives no right; whoever serves it judges the list it names.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::object::Object;

/// Which objects of a kind to list.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ListOptions {
    /// Only this namespace; `None` lists all.
    pub namespace: Option<String>,
    /// At most this many; 0 is no limit, as in Kubernetes.
    pub limit: usize,
    /// [`List::continue_token`] of the page before.
    pub continue_token: Option<String>,
}

/// One page of a list, ordered by namespace and name.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    /// The objects.
    pub items: Vec<Object>,
    /// The snapshot all pages come from; a watch from here misses nothing.
    pub revision: u64,
    /// Where the next page begins; `None` on the last.
    pub continue_token: Option<String>,
    /// How many objects come after this page.
    pub remaining: u64,
}

/// Where the next page of a list begins.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Continue {
    v: u8,
    kind: String,
    within: Option<String>,
    pub(crate) revision: u64,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) remaining: u64,
}

impl Continue {
    /// The page after `last`, of a list of `kind` in `within` at `revision`.
    pub(crate) fn after(last: &Object, within: Option<&str>, revision: u64, remaining: u64) -> Self {
        Self {
            v: VERSION,
            kind: last.key.kind.clone(),
            within: within.map(str::to_owned),
            revision,
            namespace: last.key.namespace.clone(),
            name: last.key.name.clone(),
            remaining,
        }
    }

    pub(crate) fn encode(&self) -> Result<String, StoreError> {
        let json = serde_json::to_vec(self).map_err(|error| StoreError::invalid(error.to_string()))?;
        Ok(URL_SAFE_NO_PAD.encode(json))
    }

    /// Reads a token that must belong to the list of `kind` in `within`.
    pub(crate) fn decode(token: &str, kind: &str, within: Option<&str>) -> Result<Self, StoreError> {
        let invalid = || StoreError::invalid("continue: not a token of this list; list again without it");
        if token.len() > TOKEN_BYTES_MAX {
            return Err(invalid());
        }
        let json = URL_SAFE_NO_PAD.decode(token).ok();
        let read = json.and_then(|json| serde_json::from_slice::<Self>(&json).ok());
        read.filter(|read| read.v == VERSION && read.kind == kind && read.within.as_deref() == within)
            .ok_or_else(invalid)
    }
}

/// Of the token's form; another form gets another number.
const VERSION: u8 = 1;

/// Longest token that is read, in bytes; the longest one written (four names of 253 bytes, all of them escaped as
/// JSON, in base64) is shorter.
const TOKEN_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::object::{Key, NAME_BYTES_MAX};

    fn token(name: &str, within: Option<&str>) -> String {
        let key = Key::new("Group", within.unwrap_or("n"), name);
        let last = Object { key, revision: 3, value: Value::Null };
        Continue::after(&last, within, u64::MAX, u64::MAX).encode().unwrap()
    }

    #[test]
    fn a_token_belongs_to_its_list() {
        let token = token("a", Some("n"));
        let read = Continue::decode(&token, "Group", Some("n")).unwrap();
        assert_eq!((read.revision, read.namespace.as_str(), read.name.as_str()), (u64::MAX, "n", "a"));
        for (kind, within) in [("Group", None), ("Group", Some("m")), ("User", Some("n"))] {
            assert!(matches!(Continue::decode(&token, kind, within), Err(StoreError::Invalid { .. })));
        }
    }

    #[test]
    fn a_token_is_opaque_and_damage_is_refused() {
        let good = token("a", None);
        assert!(good.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        for bad in ["", "x", "e30", &good[1..], &format!("{good}{good}")] {
            assert!(Continue::decode(bad, "Group", None).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_longest_token_is_read_and_a_longer_one_is_not() {
        let longest = "\"".repeat(NAME_BYTES_MAX);
        let key = Key::new(longest.clone(), longest.clone(), longest.clone());
        let last = Object { key, revision: 3, value: Value::Null };
        let token = Continue::after(&last, Some(&longest), u64::MAX, u64::MAX).encode().unwrap();
        assert!(Continue::decode(&token, &longest, Some(&longest)).is_ok(), "{}", token.len());
        assert!(Continue::decode(&"A".repeat(TOKEN_BYTES_MAX + 1), "Group", None).is_err());
    }
}
