//! The two audit logs: the edge's, and that of the first cluster's API server.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::Value;

use crate::{until, up};

/// A file of audit events, one a line, from the moment on at which this was made.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    begin: usize,
}

impl AuditLog {
    /// What the edge writes.
    #[must_use]
    pub fn of_edge() -> Self {
        Self::from_here(up().edge.data_dir.join("audit/audit.log"))
    }

    /// What the API server writes.
    #[must_use]
    pub fn of_cluster() -> Self {
        Self::from_here(up().cluster().direct_kubeconfig.with_file_name("log").join("audit.jsonl"))
    }

    fn from_here(path: PathBuf) -> Self {
        let begin = fs::read(&path).unwrap().len();
        Self { path, begin }
    }

    /// The events that `wanted` picks, as soon as there are `count`.
    #[must_use]
    pub fn find(&self, what: &str, count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut found = Vec::new();
        until(what, Duration::from_secs(30), || {
            found = self.events();
            found.retain(&wanted);
            found.len() >= count
        });
        found
    }

    /// The first event that `wanted` picks.
    #[must_use]
    pub fn one(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.find(what, 1, wanted).swap_remove(0)
    }

    /// All events.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let bytes = fs::read(&self.path).unwrap();
        // A file that is shorter was begun anew.
        let text = String::from_utf8_lossy(bytes.get(self.begin..).unwrap_or(&bytes)).into_owned();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}
