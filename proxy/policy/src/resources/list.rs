//! `v1 List`: several objects in one document, as `kubectl get -o yaml` and ours print them.

use super::fault::Fault;
use super::node::{Data, Node};
use super::walk::Walk;

/// The objects of a document and their places in it: the items of a List, or the document itself at no place.
pub(super) fn objects<'a>(document: &'a Node, file: &str) -> Result<Vec<(String, &'a Node)>, Vec<Fault>> {
    let is_list = document.field("kind").and_then(Node::text) == Some(KIND);
    let (Data::Map(entries), true) = (&document.data, is_list) else {
        return Ok(vec![(String::new(), document)]);
    };
    let mut walk = Walk::new("", file);
    for entry in entries.iter().filter(|entry| !FIELDS.contains(&entry.key.as_str())) {
        walk.unknown(entry, "", &FIELDS.join(", "));
    }
    walk.repeats(entries, "");
    match document.field("apiVersion") {
        Some(node) if node.text() == Some(API_VERSION) => {}
        Some(node) => walk.fault(node, "apiVersion", API_VERSION),
        None => walk.missing(document, "apiVersion", API_VERSION),
    }
    let items = document.field("items");
    match items {
        Some(Node { data: Data::List(_), .. }) => {}
        Some(node) => walk.fault(node, "items", "a list of resources"),
        None => walk.missing(document, "items", "a list of resources"),
    }
    if !walk.faults.is_empty() {
        return Err(walk.faults);
    }
    let items = items.map_or(&[][..], Node::items);
    Ok(items.iter().enumerate().map(|(at, item)| (format!("items[{at}]"), item)).collect())
}

const KIND: &str = "List";
const API_VERSION: &str = "v1";
/// The metadata of a List says nothing about its items.
const FIELDS: [&str; 4] = ["apiVersion", "kind", "metadata", "items"];
