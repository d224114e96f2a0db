//! `hawser apply`, `get`, `delete` and `check`: resources from files into the store and out of it.
//!
//! A file is judged whole before anything is written, and written whole, in one transaction, or not at all. Commands write
//! to the store beside a running edge, which follows it: what `apply` prints as done holds from the next request on.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    io::Read as _,
    path::Path,
};

use anyhow::Context as _;
use clap::ValueEnum;
use hawser_edge::{LOOPBACK_ANNOTATION, Loopbacks, delete_cluster};
use hawser_kube::clock::{Clock as _, SystemClock};
use hawser_policy::{
    compile,
    resources::{self, Cluster, Fault, Object},
};
use hawser_store::{Change, Key, ListOptions, Store, StoreError};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    cli::{Check, Delete, File, Format, Get},
    data::DataDir,
    output,
};

mod columns;
mod kind;

pub(crate) use kind::Kind;

/// How `hawser get` prints.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A table
    Text,
    /// The object, or a List of them, as JSON
    Json,
    /// The same as YAML
    Yaml,
}

/// `hawser apply`.
pub(crate) async fn apply(options: File) -> anyhow::Result<()> {
    let objects = match read(&options.filename)? {
        Ok(objects) => objects,
        Err(faults) => {
            faults.iter().for_each(output::note);
            anyhow::bail!("nothing was changed: {}", count(faults.len(), "fault"));
        }
    };
    let store = DataDir::existing(&options.data.data_dir)?.store()?;
    let done = apply_all(&store, &objects).await.context("nothing was changed")?;
    match options.output {
        Format::Text => done.iter().for_each(output::line),
        Format::Json => output::line(serde_json::to_string_pretty(&done)?),
    }
    for warning in warnings(&store, &objects).await? {
        output::note(format_args!("warning: {warning}"));
    }
    Ok(())
}

/// `hawser get`.
pub(crate) async fn get(options: Get) -> anyhow::Result<()> {
    let kind = Kind::parse(&options.kind)?;
    let data = DataDir::existing(&options.data.data_dir)?;
    let store = data.store()?;
    let found = match &options.name {
        Some(name) => vec![find(&store, &kind.key(name)).await?.ok_or_else(|| absent(kind, name))?],
        None => values(&store, kind.name).await?,
    };
    match options.output {
        Output::Text if found.is_empty() => output::note(format_args!("there are no {}", kind.plural)),
        Output::Text => {
            // An edge that never ran has no address to show yet; everything else is known.
            let settings = data.settings().ok();
            let objects = found.into_iter().map(typed).collect::<anyhow::Result<Vec<_>>>()?;
            let table = columns::table(&objects, settings.as_ref(), SystemClock.wall());
            output::table(&table.header, &table.rows);
        }
        Output::Json => output::line(serde_json::to_string_pretty(&whole(options.name.is_some(), found))?),
        Output::Yaml => output::raw(&serde_saphyr::to_string(&whole(options.name.is_some(), found))?),
    }
    Ok(())
}

/// `hawser delete`.
pub(crate) async fn delete(options: Delete) -> anyhow::Result<()> {
    let kind = Kind::parse(&options.kind)?;
    let store = DataDir::existing(&options.data.data_dir)?.store()?;
    let key = kind.key(&options.name);
    let deleted = match kind.name {
        "Cluster" => delete_cluster(&store, &key.name).await,
        _no_records_of_its_own => store.delete(&key, None).await.map(drop),
    };
    match deleted {
        Ok(()) => {}
        Err(StoreError::NotFound { key: gone }) if gone == key => return Err(absent(kind, &options.name)),
        Err(error) => return Err(error.into()),
    }
    let done = Done { kind: kind.name, name: key.name, result: Outcome::Deleted };
    match options.output {
        Format::Text => output::line(done),
        Format::Json => output::line(serde_json::to_string_pretty(&done)?),
    }
    Ok(())
}

/// `hawser check`.
pub(crate) fn check(options: &Check) -> anyhow::Result<()> {
    let file = options.file.as_ref().or(options.filename.as_ref()).context("which FILE?")?;
    let judged = read(file)?;
    if options.output == Format::Json {
        output::line(serde_json::to_string_pretty(&verdict(&judged))?);
    }
    match judged {
        Ok(objects) if options.output == Format::Text => {
            let are = if objects.len() == 1 { "is" } else { "are" };
            output::line(format_args!("{} {are} valid", count(objects.len(), "object")));
        }
        Ok(_) => {}
        Err(faults) => {
            if options.output == Format::Text {
                faults.iter().for_each(output::note);
            }
            anyhow::bail!("{}", count(faults.len(), "fault"));
        }
    }
    Ok(())
}

/// What happened to one object.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Done {
    kind: &'static str,
    name: String,
    result: Outcome,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} {}", self.kind.to_lowercase(), self.name, self.result.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Created,
    Configured,
    Unchanged,
    Deleted,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

/// Applies all objects or, when one of them cannot be, none.
async fn apply_all(store: &Store, objects: &[Object]) -> Result<Vec<Done>, StoreError> {
    Loopbacks::while_taken(async || try_apply_all(store, objects).await).await
}

async fn try_apply_all(store: &Store, objects: &[Object]) -> Result<Vec<Done>, StoreError> {
    let mut before = BTreeMap::new();
    for kind in &kind::KINDS {
        before.extend(values(store, kind.name).await?.into_iter().map(|it| (it.key.clone(), it)));
    }
    let mut loopbacks = Loopbacks::read(store).await?;
    let (mut addresses, mut changes) = (Vec::new(), Vec::new());
    for object in objects {
        let before = before.get(&key(object));
        match (object, before) {
            (Object::Cluster(cluster), None) => {
                let mut cluster = cluster.clone();
                addresses.push(loopbacks.reserve(&mut cluster)?);
                changes.push(Change::Create(Object::Cluster(cluster).to_value()));
            }
            (Object::Cluster(cluster), Some(before)) => {
                let cluster = with_address_of(cluster.clone(), &before.value);
                changes.push(Change::Apply(Object::Cluster(cluster).to_value()));
            }
            (other, _) => changes.push(Change::Apply(other.to_value())),
        }
    }
    let of_addresses = addresses.len();
    let after = store.transact(addresses.into_iter().chain(changes).collect()).await?;
    let result = |after: &hawser_store::Object| match before.get(&after.key) {
        None => Outcome::Created,
        Some(before) if before.revision == after.revision => Outcome::Unchanged,
        Some(_) => Outcome::Configured,
    };
    let applied = objects.iter().zip(after.iter().skip(of_addresses)).map(|(object, after)| Done {
        kind: object.kind(),
        name: object.name().to_owned(),
        result: result(after),
    });
    Ok(applied.collect())
}

/// The cluster with the loopback address that it has, which no file can give or take.
fn with_address_of(mut cluster: Cluster, stored: &Value) -> Cluster {
    let annotations = &mut cluster.metadata.annotations;
    match stored["metadata"]["annotations"][LOOPBACK_ANNOTATION].as_str() {
        Some(address) => annotations.insert(LOOPBACK_ANNOTATION.to_owned(), address.to_owned()),
        None => annotations.remove(LOOPBACK_ANNOTATION),
    };
    cluster
}

fn key(object: &Object) -> Key {
    Key::new(object.kind(), object.namespace(), object.name())
}

/// What the fleet as a whole makes of what was applied: names that nothing has, policies that never match.
async fn warnings(store: &Store, applied: &[Object]) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    for kind in &kind::KINDS {
        all.extend(list(store, kind.name).await?);
    }
    let about: HashSet<String> =
        applied.iter().map(|it| format!("{} {}/{}", it.kind(), it.namespace(), it.name())).collect();
    let mut warnings = compile(&all, 0).warnings().to_vec();
    warnings.retain(|warning| warning.match_indices(": ").any(|(end, _)| about.contains(&warning[..end])));
    Ok(warnings)
}

/// The object of that key, if there is one.
pub(crate) async fn find(store: &Store, key: &Key) -> anyhow::Result<Option<hawser_store::Object>> {
    match store.get(key).await {
        Ok(object) => Ok(Some(object)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Every object of a kind, in the order of the names.
pub(crate) async fn list(store: &Store, kind: &str) -> anyhow::Result<Vec<Object>> {
    values(store, kind).await?.into_iter().map(typed).collect()
}

/// What the store keeps, as what the policy room can read.
pub(crate) fn typed(stored: hawser_store::Object) -> anyhow::Result<Object> {
    let key = stored.key;
    Object::from_value(stored.value).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(Fault::to_string).collect();
        anyhow::anyhow!(
            "{key} in the store cannot be read by this version: {}; apply it anew, or use the version that wrote it",
            faults.join("; ")
        )
    })
}

/// An object made by a command, judged like one from a file.
pub(crate) fn checked(object: Object) -> anyhow::Result<Object> {
    let kind = object.kind();
    Object::from_value(object.to_value()).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(Fault::to_string).collect();
        anyhow::anyhow!("{kind}: {}", faults.join("; "))
    })
}

async fn values(store: &Store, kind: &str) -> Result<Vec<hawser_store::Object>, StoreError> {
    Ok(store.list(kind, ListOptions::default()).await?.items)
}

fn absent(kind: &Kind, name: &str) -> anyhow::Error {
    let plural = kind.plural.to_lowercase();
    anyhow::anyhow!("there is no {} {name}; `hawser get {plural}` shows those there are", kind.name)
}

/// One object as it is, or a List.
fn whole(one: bool, mut found: Vec<hawser_store::Object>) -> Value {
    match found.pop() {
        Some(object) if one => object.value,
        last => {
            let items: Vec<Value> = found.into_iter().chain(last).map(|object| object.value).collect();
            json!({"apiVersion": "v1", "kind": "List", "items": items})
        }
    }
}

/// `check --output json`.
fn verdict(judged: &Result<Vec<Object>, Vec<Fault>>) -> Value {
    let (objects, faults) = match judged {
        Ok(objects) => (objects.as_slice(), [].as_slice()),
        Err(faults) => ([].as_slice(), faults.as_slice()),
    };
    let object = |it: &Object| json!({"kind": it.kind(), "name": it.name()});
    let fault = |it: &Fault| json!({"file": it.file, "line": it.line, "field": it.field, "value": it.value, "expected": it.expected});
    json!({
        "valid": judged.is_ok(),
        "objects": objects.iter().map(object).collect::<Vec<_>>(),
        "faults": faults.iter().map(fault).collect::<Vec<_>>(),
    })
}

/// The objects of a file (`-`: standard input), or everything that is wrong with it.
fn read(path: &Path) -> anyhow::Result<Result<Vec<Object>, Vec<Fault>>> {
    let (name, mut input): (String, Box<dyn std::io::Read>) = if path == Path::new("-") {
        ("stdin".to_owned(), Box::new(std::io::stdin().lock()))
    } else {
        let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        (path.display().to_string(), Box::new(file))
    };
    let mut bytes = Vec::new();
    input
        .by_ref()
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {name}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        anyhow::bail!(
            "--filename {name}: larger than {FILE_BYTES_MAX} bytes, the most that is read; split it"
        );
    }
    let text = String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8 text"))?;
    let judged = resources::parse_yaml(&text, &name);
    if judged.as_ref().is_ok_and(Vec::is_empty) {
        anyhow::bail!("{name} holds no object; write at least one into it");
    }
    Ok(judged)
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests;
