//! One walk over a document, judging it by the schema and collecting every fault.

use std::collections::HashSet;

use super::check::{self, Check};
use super::fault::Fault;
use super::kinds::Object;
use super::node::{Data, Entry, Node};
use super::schema::{Field, Form, KINDS, Kind, LATER_KINDS, METADATA, Shape, TOP};
use super::{API_VERSION, SYSTEM_NAMESPACE};

/// Text of every fault about something the model has and this version has not.
const NOT_ENFORCED: &str = "not enforced yet by this version: leave it out";

/// Reads the object that stands at `place` of a document (empty where it is the document), or says all that is wrong
/// with it.
pub(super) fn read(document: &Node, place: &str, file: &str) -> Result<Object, Vec<Fault>> {
    let mut walk = Walk::new(place, file);
    let kind = walk.top(document);
    match kind {
        Some(kind) if walk.faults.is_empty() => build(kind, document)
            .map_err(|error| vec![walk.made(document.line, "", String::new(), error.to_string())]),
        Some(_) | None => Err(walk.faults),
    }
}

/// The faults found so far, and where they are.
pub(super) struct Walk<'a> {
    /// Where in its document the object begins.
    place: &'a str,
    file: &'a str,
    pub(super) faults: Vec<Fault>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(place: &'a str, file: &'a str) -> Self {
        Self { place, file, faults: Vec::new() }
    }

    /// This value is wrong.
    pub(super) fn fault(&mut self, node: &Node, path: &str, expected: &str) {
        let fault = self.made(node.line, path, node.shown(), expected.to_owned());
        self.faults.push(fault);
    }

    /// A key that should be in this map is not.
    pub(super) fn missing(&mut self, map: &Node, path: &str, expected: &str) {
        let fault = self.made(map.line, path, "missing".to_owned(), expected.to_owned());
        self.faults.push(fault);
    }

    fn made(&self, line: u32, path: &str, value: String, expected: String) -> Fault {
        Fault { file: self.file.to_owned(), line, field: join(self.place, path), value, expected }
    }

    fn top(&mut self, document: &Node) -> Option<&'static Kind> {
        let Data::Map(entries) = &document.data else {
            self.fault(document, "", "a resource: a map with apiVersion, kind, metadata and spec");
            return None;
        };
        for entry in entries.iter().filter(|entry| !TOP.contains(&entry.key.as_str())) {
            self.unknown(entry, "", &TOP.join(", "));
        }
        self.repeats(entries, "");
        match document.field("apiVersion") {
            Some(node) if node.text() == Some(API_VERSION) => {}
            Some(node) => self.fault(node, "apiVersion", API_VERSION),
            None => self.missing(document, "apiVersion", API_VERSION),
        }
        let kind = self.kind(document)?;
        self.metadata(document, kind);
        match document.field("spec") {
            Some(spec) => self.shape(spec, "spec", &kind.spec),
            None => self.required(document, None, "spec", &kind.spec),
        }
        Some(kind)
    }

    fn kind(&mut self, document: &Node) -> Option<&'static Kind> {
        let all = || KINDS.map(|kind| kind.name).join(", ");
        let Some(node) = document.field("kind") else {
            self.missing(document, "kind", &format!("one of {}", all()));
            return None;
        };
        let kind = node.text().and_then(|text| KINDS.iter().find(|kind| kind.name == text));
        if kind.is_none() {
            let later = node.text().is_some_and(|text| LATER_KINDS.contains(&text));
            let expected = if later {
                format!("not enforced yet by this version; one of {}", all())
            } else {
                format!("one of {}", all())
            };
            self.fault(node, "kind", &expected);
        }
        kind
    }

    fn metadata(&mut self, document: &Node, kind: &Kind) {
        let Some(metadata) = document.field("metadata") else {
            return self.missing(document, "metadata.name", "a name");
        };
        self.shape(metadata, "metadata", &METADATA);
        if let Some(node) = metadata.field("name")
            && let Some(name) = node.text()
            && let Err(expected) = (kind.object_name)(name)
        {
            self.fault(node, "metadata.name", &expected);
        }
        if let Some(node) = metadata.field("namespace").filter(|_| !kind.namespaced) {
            self.fault(node, "metadata.namespace", &format!("no namespace: {} has none", kind.name));
        }
    }

    fn shape(&mut self, node: &Node, path: &str, shape: &Shape) {
        let Data::Map(entries) = &node.data else {
            return self.fault(node, path, "a map");
        };
        for entry in entries {
            match shape.fields.iter().find(|field| field.name == entry.key) {
                Some(field) => self.field(entry, &join(path, &entry.key), field),
                None => {
                    let known = shape.fields.iter().filter(|field| !matches!(field.form, Form::Later));
                    let known: Vec<_> = known.map(|field| field.name).collect();
                    self.unknown(entry, path, &known.join(", "));
                }
            }
        }
        self.repeats(entries, path);
        self.required(node, Some(node), path, shape);
        if let Some(whole) = shape.whole {
            whole(node, path, self);
        }
    }

    /// Fields that must be written. `map` is where they would be; without it `line_of` is the nearest text.
    fn required(&mut self, line_of: &Node, map: Option<&Node>, path: &str, shape: &Shape) {
        let absent = |field: &&Field| field.required && map.is_none_or(|map| map.field(field.name).is_none());
        for field in shape.fields.iter().filter(absent) {
            self.missing(line_of, &join(path, field.name), field.about);
        }
    }

    fn field(&mut self, entry: &Entry, path: &str, field: &Field) {
        let node = &entry.node;
        if matches!(field.form, Form::Later) {
            let fault = self.made(entry.line, path, node.shown(), NOT_ENFORCED.to_owned());
            return self.faults.push(fault);
        }
        if matches!(node.data, Data::Null) {
            return;
        }
        match &field.form {
            Form::Text(check) => self.text(node, path, *check),
            Form::Hidden(check) => {
                if let Err(expected) = node.text().map_or_else(|| Err("a text".to_owned()), check) {
                    let fault = self.made(node.line, path, "(not shown)".to_owned(), expected);
                    self.faults.push(fault);
                }
            }
            Form::Flag => {
                if !matches!(node.data, Data::Flag(_)) {
                    self.fault(node, path, "true or false");
                }
            }
            Form::Count => {
                if !matches!(&node.data, Data::Number(number) if number.is_i64()) {
                    self.fault(node, path, "a whole number");
                }
            }
            Form::Choice(words) => {
                if !node.text().is_some_and(|text| words.contains(&text)) {
                    self.fault(node, path, &format!("one of {}", words.join(", ")));
                }
            }
            Form::Texts(check) => self.texts(node, path, *check),
            Form::SomeTexts(check) => {
                if matches!(&node.data, Data::List(items) if items.is_empty()) {
                    self.fault(node, path, "at least one entry");
                }
                self.texts(node, path, *check);
            }
            Form::Labels(check) => self.labels(node, path, *check),
            Form::Map(shape) => self.shape(node, path, shape),
            Form::Maps(shape) => self.maps(node, path, shape),
            Form::Free | Form::Later => {}
        }
    }

    fn text(&mut self, node: &Node, path: &str, check: Check) {
        match node.text().map(check) {
            Some(Ok(())) => {}
            Some(Err(expected)) => self.fault(node, path, &expected),
            None => self.fault(node, path, "a text (quote it where YAML would read something else)"),
        }
    }

    fn texts(&mut self, node: &Node, path: &str, check: Check) {
        let Data::List(items) = &node.data else {
            return self.fault(node, path, "a list of texts");
        };
        for (at, item) in items.iter().enumerate() {
            self.text(item, &format!("{path}[{at}]"), check);
        }
    }

    fn maps(&mut self, node: &Node, path: &str, shape: &Shape) {
        let Data::List(items) = &node.data else {
            return self.fault(node, path, "a list of maps");
        };
        for (at, item) in items.iter().enumerate() {
            self.shape(item, &format!("{path}[{at}]"), shape);
        }
    }

    fn labels(&mut self, node: &Node, path: &str, check: Check) {
        let Data::Map(entries) = &node.data else {
            return self.fault(node, path, "a map of texts");
        };
        for entry in entries {
            let path = format!("{path}[{}]", entry.key);
            if let Err(expected) = check::label_key(&entry.key) {
                let fault = self.made(entry.line, &path, format!("{:?}", entry.key), expected);
                self.faults.push(fault);
            }
            self.text(&entry.node, &path, check);
        }
        self.repeats(entries, path);
    }

    pub(super) fn unknown(&mut self, entry: &Entry, path: &str, known: &str) {
        let path = join(path, &entry.key);
        let fault =
            self.made(entry.line, &path, entry.node.shown(), format!("no such field; there are {known}"));
        self.faults.push(fault);
    }

    pub(super) fn repeats(&mut self, entries: &[Entry], path: &str) {
        let mut keys = HashSet::new();
        for entry in entries {
            if !keys.insert(&entry.key) {
                let path = join(path, &entry.key);
                let fault = self.made(entry.line, &path, entry.node.shown(), "the key once only".to_owned());
                self.faults.push(fault);
            }
        }
    }
}

/// The typed object, once nothing is wrong with the document.
fn build(kind: &Kind, document: &Node) -> serde_json::Result<Object> {
    let mut value = document.to_json();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    if kind.namespaced {
        value["metadata"]["namespace"] = SYSTEM_NAMESPACE.into();
    }
    (kind.build)(value)
}

/// The path of `name` below `path`; either may be empty.
pub(super) fn join(path: &str, name: &str) -> String {
    match (path, name) {
        ("", only) | (only, "") => only.to_owned(),
        (path, name) => format!("{path}.{name}"),
    }
}
