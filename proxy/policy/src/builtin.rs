//! The roles that exist without being written.
//!
//! They pass every API group: the binding of their group in the cluster decides which resources they reach.
//! What they leave out here is left out whatever that binding says.

use std::sync::Arc;

use crate::resources;
use crate::rule::Rule;

/// One built-in role: its rules, and the group it is impersonated with.
pub(crate) struct BuiltIn {
    pub(crate) name: &'static str,
    pub(crate) group: &'static str,
    pub(crate) rules: Vec<Rule>,
}

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
/// What reaches inside a pod. `shell` alone has it, so that it can be given and taken by itself.
const SHELL: [&str; 4] = ["pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers"];
/// Also without tokens of service accounts: a minted token outlives every lock.
const EDIT_EXCEPT: [&str; 5] = [SHELL[0], SHELL[1], SHELL[2], SHELL[3], "serviceaccounts/token"];
const VIEW_EXCEPT: [&str; 1] = ["secrets"];

/// All of them, in the order of their reach.
pub(crate) fn roles(word: &mut dyn FnMut(&str) -> Arc<str>) -> [BuiltIn; 5] {
    let role = |name, group, rules| BuiltIn { name, group, rules };
    let view = vec![Rule::all_resources_but(&READ, &VIEW_EXCEPT, word)];
    let edit = vec![Rule::all_resources_but(&WRITE, &EDIT_EXCEPT, word)];
    let admin = vec![Rule::all_resources_but(&WRITE, &SHELL, word)];
    let cluster_admin = vec![Rule::all_resources_but(&["*"], &SHELL, word), Rule::new(&every_url(), word)];
    let shell = vec![Rule::new(&core(&SHELL, "create"), word), Rule::new(&core(&["pods"], "get"), word)];
    [
        role("view", "hawser:view", view),
        role("edit", "hawser:edit", edit),
        role("admin", "hawser:admin", admin),
        role("cluster-admin", "hawser:cluster-admin", cluster_admin),
        role("shell", "hawser:shell", shell),
    ]
}

fn every_url() -> resources::Rule {
    resources::Rule {
        non_resource_urls: vec!["*".to_owned()],
        verbs: vec!["*".to_owned()],
        ..resources::Rule::default()
    }
}

fn core(names: &[&str], verb: &str) -> resources::Rule {
    resources::Rule {
        api_groups: vec![String::new()],
        resources: names.iter().map(|name| (*name).to_owned()).collect(),
        verbs: vec![verb.to_owned()],
        ..resources::Rule::default()
    }
}
