//! docs/configuration.md, made of the list of keys.

use std::fmt::Write as _;

use super::{
    EdgeConfig,
    entry::{Accepts, Entry},
};

/// The whole page.
pub(crate) fn render() -> String {
    let entries = EdgeConfig::default().entries();
    let mut page = INTRODUCTION.to_owned();
    for (prefix, title) in SECTIONS {
        let of_section = entries.iter().filter(|entry| section_of(entry) == *prefix);
        let rows: Vec<String> = of_section.map(row).collect();
        // Writing to a string cannot fail.
        write!(page, "\n## {title}\n\n{HEAD}{}", rows.concat()).ok();
    }
    page.push_str(CHANGES);
    page
}

/// What stands before the dot.
fn section_of(entry: &Entry) -> &str {
    entry.key.split_once('.').map_or("", |(section, _)| section)
}

fn row(entry: &Entry) -> String {
    let flag = entry.flag.map(|flag| format!(", `{flag}`")).unwrap_or_default();
    let accepts = match &entry.accepts {
        Accepts::Text(text) => text.clone(),
        Accepts::Range(range) => format!("{} to {}", range.start(), range.end()),
    };
    let changes = if entry.live { "live" } else { "restart" };
    let Entry { key, value, what, reached, .. } = entry;
    format!("| `{key}`{flag} | `{value}` | {accepts} | {changes} | {what} | {reached} |\n")
}

/// By prefix of the key.
const SECTIONS: &[(&str, &str)] = &[("", "General"), ("audit", "Audit log"), ("limits", "Limits")];

const HEAD: &str =
    "| key, flag | default | accepts | a change | what it is | at the bound |\n|---|---|---|---|---|---|\n";

const INTRODUCTION: &str = "\
# Configuration of an edge

<!-- Made by `hawser config-reference`; a test compares. Change proxy/hawser/src/config.rs and proxy/edge/src/config.rs, then
     HAWSER_BLESS=1 cargo test -p hawser reference -->

`hawser up` needs no configuration. What is to differ from the defaults is said by flags, or in a YAML file:

    hawser edge --config /etc/hawser/edge.yaml            # `edge` and `up` are one command
    hawser edge --config /etc/hawser/edge.yaml --check    # only judge it: exit code 1 and every fault with its line

```yaml
listen: \"[::]:8443\"
advertise: edge.example.com
audit:
  onFull: count
limits:
  connectionsPerSourceMax: 500
  headerBytesMax: 64Ki
  bodyWait: 90s
```

A flag has the last word over the file. Keys that are not known and values out of range are refused, with the line, the key, the
value and what it may be. Times are written `500ms`, `90s`, `15m`, `1h`, `7d` or combined; sizes in bytes, or with `Ki`, `Mi`,
`Gi`, `Ti`.

`HAWSER_DATA_DIR` stands for `--data-dir`, also of the commands beside the edge, which do not read this file. `HAWSER_LOG`
stands for `--log-filter`, also of an agent: what is logged, a level (`error`, `warn`, `info`, `debug`, `trace`, `off`) for
everything, and `PART=LEVEL` for parts that are to have another (`info,hawser_edge=debug`); anything else is refused. Bounds that
are not to be changed are in ARCHITECTURE.md, \"Queues and bounds\".
";

const CHANGES: &str = "
## Changes while the edge runs

The file is read again on SIGHUP, and when it has changed and was then left alone for two seconds (it is looked at every two
seconds). The new file is judged whole. If anything is wrong with it, the log names each key, and everything stays as it was. If
it is valid, *live* keys count for connections accepted from then on (a connection keeps to its end what was in force when it
began; `drainTimeout` counts for the next SIGTERM), and a warning names each changed key that takes a *restart*.

The keys in `DATA-DIR/keys` (`serving-ca.pem`, `clients-ca.pem`, `agents-ca.pem`) are read again in the same way, together, and
refused together if one is missing, readable by others, damaged or past its end. Then

- the edge shows certificates of the new serving authority, to clients and to agents;
- client certificates are judged by the new clients' authority, on new connections;
- agents' certificates are issued and judged by the new agents' authority, on new links; an agent whose certificate is not
  accepted any more enrols again by itself.

To replace an authority, write a file (mode 0600, in one step: write it beside and rename) with the new private key, its
certificate, and behind it the old certificate: the new one signs, both are trusted. The serving authority is pinned by
kubeconfigs and agents: keep the old key and certificate first and put the new certificate behind them until everybody has a
kubeconfig or join token that holds both, then change their order and the key.

Certificates that the edge shows are issued anew every day.
";

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    #[test]
    #[expect(clippy::disallowed_methods, reason = "asks whether to write the page in place of comparing")]
    fn the_page_is_what_the_types_say() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
        let page = render();
        if std::env::var("HAWSER_BLESS").is_ok_and(|bless| bless == "1") {
            std::fs::write(&path, &page).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            page == committed,
            "docs/configuration.md is not current: HAWSER_BLESS=1 cargo test -p hawser"
        );
    }

    #[test]
    fn every_unit_is_told() {
        let units = file::BINARY_UNITS.map(|(unit, _)| format!("`{unit}`")).join(", ");
        let page = render().replace('\n', " ");
        assert!(page.contains(&format!("sizes in bytes, or with {units}.")), "{units}");
    }

    #[test]
    fn every_key_is_told() {
        let page = render();
        for entry in EdgeConfig::default().entries() {
            assert!(page.contains(&format!("| `{}`", entry.key)), "{}", entry.key);
            assert!(!entry.what.is_empty(), "{}", entry.key);
        }
    }
}
