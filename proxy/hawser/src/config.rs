//! What an edge runs with: defaults, over them the configuration file, over that the flags.
//!
//! [`EdgeConfig::entries`] is the one list of all keys. Files and flags are checked against it, a reload learns from it
//! what changed and what may change while the edge runs, and docs/configuration.md is made of it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use hawser_edge::{Limits, Quantity};

use self::entry::{Accepts, Entry, Value};
use crate::cli::{Format, OnAuditFull, Up};

mod entry;
mod file;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

/// Everything an administrator can say about an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EdgeConfig {
    pub(crate) listen: SocketAddr,
    pub(crate) advertise: Option<String>,
    pub(crate) health: SocketAddr,
    pub(crate) data_dir: PathBuf,
    /// `None`: one per core.
    pub(crate) workers: Option<usize>,
    pub(crate) log: Format,
    pub(crate) drain_timeout: Duration,
    pub(crate) agent_certificate: Duration,
    pub(crate) audit: AuditConfig,
    pub(crate) limits: Limits,
}

/// The audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuditConfig {
    pub(crate) on_full: OnAuditFull,
    pub(crate) request_received: bool,
    pub(crate) file_bytes: u64,
    pub(crate) files_kept: u32,
    pub(crate) queue: usize,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0; 16], 8443)),
            advertise: None,
            health: SocketAddr::from(([127, 0, 0, 1], 9464)),
            data_dir: PathBuf::from("/var/lib/hawser"),
            workers: None,
            log: Format::Text,
            drain_timeout: Duration::from_secs(30),
            agent_certificate: Duration::from_secs(3600),
            audit: AuditConfig {
                on_full: OnAuditFull::Refuse,
                request_received: false,
                file_bytes: 100 << 20,
                files_kept: 10,
                queue: 16_384,
            },
            limits: Limits::default(),
        }
    }
}

impl EdgeConfig {
    /// Reads the file that `--config` names, if it does, and lays the flags over it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn read(flags: &Up) -> Result<Self, Faults> {
        let mut reading = Reading::default();
        if let Some(path) = &flags.config {
            file::read(path, &mut reading)?;
        }
        reading.flags(flags);
        reading.judge()
    }

    /// Takes from `next` what may change while the edge runs.
    pub(crate) fn take_live(&mut self, next: Self) {
        self.drain_timeout = next.drain_timeout;
        self.agent_certificate = next.agent_certificate;
        self.audit.request_received = next.audit.request_received;
        self.limits = next.limits;
    }

    /// Every key with its value, in the order in which people read about them.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let mut entries = self.general();
        entries.extend(self.audit.entries());
        entries.extend(self.limits.all().into_iter().map(|limit| Entry {
            key: format!("limits.{}", limit.key),
            flag: None,
            value: Value::Quantity(limit.value),
            accepts: Accepts::Range(limit.range),
            live: true,
            what: limit.what,
            reached: limit.reached,
        }));
        entries
    }

    fn general(&self) -> Vec<Entry> {
        let text = |value: &dyn fmt::Display| Value::Text(value.to_string());
        let time = |value| Value::Quantity(Quantity::Time(value));
        let unset = |value: Option<Value>, meaning: &str| value.unwrap_or_else(|| text(&meaning));
        vec![
            Entry::restart("listen", text(&self.listen), ADDRESS)
                .flag("--listen")
                .what("Address of clients (TCP) and agents (UDP)"),
            Entry::restart(
                "advertise",
                unset(self.advertise.as_ref().map(|name| text(name)), "not advertised"),
                "a DNS name or an address, without port",
            )
            .flag("--advertise")
            .what("Name or address under which clients and agents reach this edge"),
            Entry::restart("health", text(&self.health), ADDRESS)
                .flag("--health")
                .what("Address of metrics and health"),
            Entry::restart("dataDir", text(&self.data_dir.display()), "a folder")
                .flag("--data-dir")
                .what("Folder with store, keys and audit log, of one edge at a time"),
            Entry::restart(
                "workers",
                unset(
                    self.workers.map(|count| Value::Quantity(Quantity::Count(count as u64))),
                    "one per core",
                ),
                "",
            )
            .range(Quantity::Count(1)..=Quantity::Count(WORKERS_MAX))
            .flag("--workers")
            .what("Threads that serve connections, each on a core of its own"),
            Entry::restart("log", name_of(&self.log), choices::<Format>())
                .flag("--log")
                .what("How logs look on standard error"),
            Entry::restart("drainTimeout", time(self.drain_timeout), "")
                .range(Quantity::Time(Duration::ZERO)..=Quantity::Time(HOUR))
                .live()
                .flag("--drain-timeout")
                .what("How long running requests may go on after SIGTERM")
                .reached("sessions are told why and end"),
            Entry::restart("agentCertificate", time(self.agent_certificate), "")
                .range(Quantity::Time(HOUR)..=Quantity::Time(HOUR * 168))
                .live()
                .what("Lifetime of the certificates that agents get from here on")
                .reached("the agent enrols again, well before"),
        ]
    }
}

impl AuditConfig {
    fn entries(&self) -> Vec<Entry> {
        let count = |value| Value::Quantity(Quantity::Count(value));
        vec![
            Entry::restart("audit.onFull", name_of(&self.on_full), choices::<OnAuditFull>())
                .flag("--on-audit-full")
                .what("What happens when the audit log cannot keep up: refuse requests, or go on and count the losses"),
            Entry::restart(
                "audit.requestReceived",
                Value::Text(self.request_received.to_string()),
                "true or false",
            )
            .live()
            .flag("--audit-request-received")
            .what("Also write RequestReceived events"),
            Entry::restart("audit.fileBytes", Value::Quantity(Quantity::Bytes(self.file_bytes)), "")
                .range(Quantity::Bytes(1 << 20)..=Quantity::Bytes(1 << 40))
                .what("Size of an audit log file")
                .reached("the next file is begun"),
            Entry::restart("audit.filesKept", count(self.files_kept.into()), "")
                .range(Quantity::Count(1)..=Quantity::Count(999))
                .what("Older audit log files that are kept")
                .reached("the oldest is deleted"),
            Entry::restart("audit.queue", count(self.queue as u64), "")
                .range(Quantity::Count(1)..=Quantity::Count(1_000_000))
                .what("Audit events that wait for the disk, or are kept for the end of a running request")
                .reached("as `audit.onFull` says: 503 before anything is forwarded, or counted as lost"),
        ]
    }
}

/// A configuration as far as it was read.
#[derive(Default)]
struct Reading {
    config: EdgeConfig,
    /// By key: where its value comes from.
    origins: Vec<(&'static str, String)>,
    /// Values that could not be read at all: key, and the value as it stands there.
    unread: Vec<(&'static str, String)>,
}

impl Reading {
    fn flags(&mut self, flags: &Up) {
        let Up {
            config: _,
            check: _,
            data_dir,
            listen,
            advertise,
            health,
            workers,
            on_audit_full,
            audit_request_received,
            drain_timeout,
            log,
            log_filter: _,
        } = flags;
        let config = &mut self.config;
        let mut over = Over(&mut self.origins);
        over.lay("dataDir", "--data-dir", data_dir.clone(), &mut config.data_dir);
        over.lay("listen", "--listen", *listen, &mut config.listen);
        over.lay("advertise", "--advertise", advertise.clone().map(Some), &mut config.advertise);
        over.lay("health", "--health", *health, &mut config.health);
        over.lay("workers", "--workers", workers.map(Some), &mut config.workers);
        over.lay("audit.onFull", "--on-audit-full", *on_audit_full, &mut config.audit.on_full);
        let received = audit_request_received.then_some(true);
        let audit = &mut config.audit;
        over.lay("audit.requestReceived", "--audit-request-received", received, &mut audit.request_received);
        over.lay("drainTimeout", "--drain-timeout", *drain_timeout, &mut config.drain_timeout);
        over.lay("log", "--log", *log, &mut config.log);
    }

    /// The configuration, if every value was read and is in its range.
    fn judge(self) -> Result<EdgeConfig, Faults> {
        let mut faults = Vec::new();
        for entry in self.config.entries() {
            let value = match self.unread.iter().find(|(key, _)| *key == entry.key) {
                Some((_, text)) => text.clone(),
                None if entry.in_range() => continue,
                None => entry.value.to_string(),
            };
            let at = self.origins.iter().rev().find(|(key, _)| *key == entry.key);
            faults.push(Fault {
                at: at.map_or_else(String::new, |(_, at)| at.clone()),
                key: entry.key,
                value,
                expected: format!("must be {}", entry.accepts),
            });
        }
        if faults.is_empty() { Ok(self.config) } else { Err(Faults(faults)) }
    }
}

/// Lays flags over what was read.
struct Over<'a>(&'a mut Vec<(&'static str, String)>);

impl Over<'_> {
    fn lay<T>(&mut self, key: &'static str, flag: &str, given: Option<T>, into: &mut T) {
        if let Some(value) = given {
            *into = value;
            self.0.push((key, flag.to_owned()));
        }
    }
}

/// One thing wrong with a configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// `FILE:LINE`, or the flag.
    pub(crate) at: String,
    /// The key; empty where the text is not understood at all.
    pub(crate) key: String,
    /// The value; empty where there is none.
    pub(crate) value: String,
    /// What would be right.
    pub(crate) expected: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.at, &self.key, &self.value] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.expected)
    }
}

/// Everything wrong with a configuration, one to a line.
#[derive(Debug)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Fault::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Faults {}

/// `--advertise`: a DNS name, or an address.
pub(crate) fn advertised(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(label)) {
        Ok(text.to_owned())
    } else {
        Err("must be a DNS name or an address, without port".to_owned())
    }
}

fn name_of<T: clap::ValueEnum>(value: &T) -> Value {
    Value::Text(value.to_possible_value().map_or_else(String::new, |name| name.get_name().to_owned()))
}

fn choices<T: clap::ValueEnum>() -> String {
    let names: Vec<String> = T::value_variants()
        .iter()
        .filter_map(clap::ValueEnum::to_possible_value)
        .map(|name| name.get_name().to_owned())
        .collect();
    names.join(" or ")
}

const ADDRESS: &str = "an address with port, such as \"[::]:8443\"";
const HOUR: Duration = Duration::from_secs(3600);
/// More than machines have cores.
const WORKERS_MAX: u64 = 1024;
