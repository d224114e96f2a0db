//! A document as a tree that still knows its lines.
//!
//! YAML and JSON both become a [`Node`] before anything is judged, so that one walk serves files
//! (with line numbers) and the store (without).

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

/// One value and the line it stands on (0 where there is no text).
pub(super) struct Node {
    pub(super) line: u32,
    pub(super) data: Data,
}

/// What a node holds.
pub(super) enum Data {
    Null,
    Flag(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map. A key may come twice; whoever reads the map reports it.
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: u32,
    pub(super) node: Node,
}

/// Where and why a text is not YAML.
pub(super) struct Broken {
    pub(super) line: u32,
    pub(super) message: String,
}

/// Characters of a value shown in a fault.
const SHOWN_CHARS_MAX: usize = 60;

/// Every document of a YAML stream that is not empty.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, Broken> {
    // The caller bounds the text, and with it all that is counted as it stands there. Depth, and what aliases make of
    // the text, stay bounded as they are by default.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_documents: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
            max_anchors: usize::MAX,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
    };
    let nodes: Vec<Spanned<Data>> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| Broken {
            line: error.location().map_or(0, |location| line_of(location.line())),
            message: first_line(&error.to_string()),
        })?;
    Ok(nodes.into_iter().map(Node::from).filter(|node| !matches!(node.data, Data::Null)).collect())
}

impl Node {
    pub(super) fn from_json(value: Value) -> Self {
        let data = match value {
            Value::Null => Data::Null,
            Value::Bool(flag) => Data::Flag(flag),
            Value::Number(number) => Data::Number(number),
            Value::String(text) => Data::Text(text),
            Value::Array(items) => Data::List(items.into_iter().map(Self::from_json).collect()),
            Value::Object(fields) => Data::Map(
                fields
                    .into_iter()
                    .map(|(key, value)| Entry { key, line: 0, node: Self::from_json(value) })
                    .collect(),
            ),
        };
        Self { line: 0, data }
    }

    /// Back to JSON. Keys that hold nothing are left out, as Kubernetes does.
    pub(super) fn to_json(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Flag(flag) => Value::Bool(*flag),
            Data::Number(number) => Value::Number(number.clone()),
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Data::Map(entries) => Value::Object(
                entries
                    .iter()
                    .filter(|entry| !matches!(entry.node.data, Data::Null))
                    .map(|entry| (entry.key.clone(), entry.node.to_json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// The value of a key of this map; a key that holds nothing counts as absent.
    pub(super) fn field(&self, key: &str) -> Option<&Self> {
        let Data::Map(entries) = &self.data else { return None };
        let entry = entries.iter().find(|entry| entry.key == key)?;
        (!matches!(entry.node.data, Data::Null)).then_some(&entry.node)
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Data::Text(text) = &self.data { Some(text) } else { None }
    }

    /// The items of a list; of anything else, none.
    pub(super) fn items(&self) -> &[Self] {
        if let Data::List(items) = &self.data { items } else { &[] }
    }

    /// The value as a fault shows it.
    pub(super) fn shown(&self) -> String {
        match &self.data {
            Data::Null => "null".to_owned(),
            Data::Flag(flag) => flag.to_string(),
            Data::Number(number) => number.to_string(),
            Data::Text(text) => {
                let mut shown: String = text.escape_debug().take(SHOWN_CHARS_MAX).collect();
                if text.escape_debug().nth(SHOWN_CHARS_MAX).is_some() {
                    shown.push('…');
                }
                format!("\"{shown}\"")
            }
            Data::List(_) => "a list".to_owned(),
            Data::Map(_) => "a map".to_owned(),
        }
    }
}

impl From<Spanned<Data>> for Node {
    fn from(spanned: Spanned<Data>) -> Self {
        // An alias stands where it is used: that is the line a person looks at.
        Self { line: line_of(spanned.referenced.line()), data: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DataVisitor)
    }
}

struct DataVisitor;

impl<'de> Visitor<'de> for DataVisitor {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Data, E> {
        Ok(Data::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Data, E> {
        Ok(Data::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Data, D::Error> {
        Data::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Data, E> {
        Ok(Data::Flag(flag))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Data, E> {
        Ok(Data::Number(number.into()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Data, E> {
        Ok(Data::Number(number.into()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Data, E> {
        Number::from_f64(number).map(Data::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Data, E> {
        Ok(Data::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Data, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Spanned<Data>>()? {
            items.push(Node::from(item));
        }
        Ok(Data::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Data, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, node)) = access.next_entry::<Spanned<String>, Spanned<Data>>()? {
            let line = line_of(key.referenced.line());
            entries.push(Entry { key: key.value, line, node: node.into() });
        }
        Ok(Data::Map(entries))
    }
}

fn line_of(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or("not YAML").to_owned()
}
