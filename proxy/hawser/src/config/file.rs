//! The configuration file: YAML, keys as in docs/configuration.md. What is not known is refused; values that cannot be
//! read are all told together, with their lines.

use std::{
    fs::File as Open,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueEnum;
use hawser_edge::Limits;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::{AuditConfig, EdgeConfig, Fault, Faults, Reading, advertised};
use crate::cli;

/// What the operator wrote, each value as it stands there, with its line.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct File {
    listen: Given,
    advertise: Given,
    health: Given,
    data_dir: Given,
    workers: Given,
    log: Given,
    drain_timeout: Given,
    agent_certificate: Given,
    audit: Option<AuditFile>,
    limits: Option<LimitsFile>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct AuditFile {
    on_full: Given,
    request_received: Given,
    file_bytes: Given,
    files_kept: Given,
    queue: Given,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct LimitsFile {
    header_bytes_max: Given,
    headers_max: Given,
    streams_max: Given,
    connections_max: Given,
    connections_per_source_max: Given,
    handshake_timeout: Given,
    head_timeout: Given,
    unauthenticated_timeout: Given,
    idle_timeout: Given,
    body_wait: Given,
    route_wait: Given,
    response_wait: Given,
    replay_bytes_max: Given,
    watch_event_bytes_max: Given,
    stalled_bytes_max: Given,
    stalled_bytes_per_user_max: Given,
}

type Given = Option<Spanned<Value>>;

/// Reads the file over what `reading` holds.
///
/// # Errors
/// A file that cannot be read, is not YAML, or has keys that nobody knows.
pub(super) fn read(path: &Path, reading: &mut Reading) -> Result<(), Faults> {
    let name = path.display().to_string();
    let whole = |at: String, expected: String| {
        Faults(vec![Fault { at, key: String::new(), value: String::new(), expected }])
    };
    let text = text(path).map_err(|error| whole(name.clone(), format!("cannot be read: {error}")))?;
    let options = serde_saphyr::options! { with_snippet: false };
    let file: Option<File> = serde_saphyr::from_str_with_options(&text, options).map_err(|error| {
        let at = error.location().map_or_else(|| name.clone(), |place| format!("{name}:{}", place.line()));
        whole(at, first_line(&error.to_string()))
    })?;
    let File {
        listen,
        advertise,
        health,
        data_dir,
        workers,
        log,
        drain_timeout,
        agent_certificate,
        audit,
        limits,
    } = file.unwrap_or_default();
    let mut onto = Onto { name, origins: &mut reading.origins, unread: &mut reading.unread };
    let EdgeConfig { audit: audit_config, limits: limits_config, .. } = &mut reading.config;
    if let Some(audit) = audit {
        audit.read(audit_config, &mut onto);
    }
    if let Some(limits) = limits {
        limits.read(limits_config, &mut onto);
    }
    let config = &mut reading.config;
    onto.put("listen", listen, &mut config.listen, parsed);
    onto.put("advertise", advertise, &mut config.advertise, |value| {
        advertised(value.as_str()?).ok().map(Some)
    });
    onto.put("health", health, &mut config.health, parsed);
    onto.put("dataDir", data_dir, &mut config.data_dir, |value| {
        value.as_str().filter(|path| !path.is_empty()).map(PathBuf::from)
    });
    onto.put("workers", workers, &mut config.workers, |value| count(value).map(Some));
    onto.put("log", log, &mut config.log, choice);
    onto.put("drainTimeout", drain_timeout, &mut config.drain_timeout, time);
    onto.put("agentCertificate", agent_certificate, &mut config.agent_certificate, time);
    Ok(())
}

impl AuditFile {
    fn read(self, config: &mut AuditConfig, onto: &mut Onto<'_>) {
        let Self { on_full, request_received, file_bytes, files_kept, queue } = self;
        onto.put("audit.onFull", on_full, &mut config.on_full, choice);
        onto.put("audit.requestReceived", request_received, &mut config.request_received, Value::as_bool);
        onto.put("audit.fileBytes", file_bytes, &mut config.file_bytes, bytes);
        onto.put("audit.filesKept", files_kept, &mut config.files_kept, count);
        onto.put("audit.queue", queue, &mut config.queue, count);
    }
}

impl LimitsFile {
    fn read(self, limits: &mut Limits, onto: &mut Onto<'_>) {
        onto.put("limits.headerBytesMax", self.header_bytes_max, &mut limits.header_bytes_max, bytes);
        onto.put("limits.headersMax", self.headers_max, &mut limits.headers_max, count);
        onto.put("limits.streamsMax", self.streams_max, &mut limits.streams_max, count);
        onto.put("limits.connectionsMax", self.connections_max, &mut limits.connections_max, count);
        onto.put(
            "limits.connectionsPerSourceMax",
            self.connections_per_source_max,
            &mut limits.connections_per_source_max,
            count,
        );
        onto.put("limits.handshakeTimeout", self.handshake_timeout, &mut limits.handshake_timeout, time);
        onto.put("limits.headTimeout", self.head_timeout, &mut limits.head_timeout, time);
        onto.put(
            "limits.unauthenticatedTimeout",
            self.unauthenticated_timeout,
            &mut limits.unauthenticated_timeout,
            time,
        );
        onto.put("limits.idleTimeout", self.idle_timeout, &mut limits.idle_timeout, time);
        onto.put("limits.bodyWait", self.body_wait, &mut limits.body_wait, time);
        onto.put("limits.routeWait", self.route_wait, &mut limits.route_wait, time);
        onto.put("limits.responseWait", self.response_wait, &mut limits.response_wait, time);
        onto.put("limits.replayBytesMax", self.replay_bytes_max, &mut limits.replay_bytes_max, bytes);
        onto.put(
            "limits.watchEventBytesMax",
            self.watch_event_bytes_max,
            &mut limits.watch_event_bytes_max,
            bytes,
        );
        onto.put("limits.stalledBytesMax", self.stalled_bytes_max, &mut limits.stalled_bytes_max, bytes);
        onto.put(
            "limits.stalledBytesPerUserMax",
            self.stalled_bytes_per_user_max,
            &mut limits.stalled_bytes_per_user_max,
            bytes,
        );
    }
}

/// Puts values where they belong, and remembers where they came from.
struct Onto<'a> {
    name: String,
    origins: &'a mut Vec<(&'static str, String)>,
    unread: &'a mut Vec<(&'static str, String)>,
}

impl Onto<'_> {
    fn put<T>(
        &mut self,
        key: &'static str,
        given: Given,
        into: &mut T,
        read: impl FnOnce(&Value) -> Option<T>,
    ) {
        let Some(Spanned { value, referenced, .. }) = given else { return };
        self.origins.push((key, format!("{}:{}", self.name, referenced.line())));
        match read(&value) {
            Some(value) => *into = value,
            None => self.unread.push((key, shown(&value))),
        }
    }
}

fn text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    Open::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn parsed<T: std::str::FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

fn count<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    T::try_from(value.as_u64()?).ok()
}

/// A number, or one with a binary unit as Kubernetes writes it.
fn bytes<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    let Some(text) = value.as_str() else { return count(value) };
    let (number, unit) =
        BINARY_UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
    T::try_from(number.parse::<u64>().ok()?.checked_mul(unit)?).ok()
}

fn time(value: &Value) -> Option<Duration> {
    cli::duration(value.as_str()?).ok()
}

fn choice<T: ValueEnum>(value: &Value) -> Option<T> {
    T::from_str(value.as_str()?, false).ok()
}

const FILE_BYTES_MAX: u64 = 1 << 20;
/// Characters of a value shown in a fault.
const SHOWN_CHARS_MAX: usize = 60;
/// As docs/configuration.md names them.
pub(super) const BINARY_UNITS: [(&str, u64); 4] =
    [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("Ti", 1 << 40)];
