//! May they? The one decision of the request path.
//!
//! It follows the model's order: the credential and the cluster still stand, no Deny policy matches, at least
//! one Allow policy does. It takes no lock and, when it allows, allocates nothing (unless more policies match
//! than a [`Permit`] holds in place, or their groups add up to a set nobody foresaw).

use std::sync::Arc;

use hawser_kube::RequestAttributes;
use jiff::Timestamp;

use crate::denial::{Cause, Denial};
use crate::groups::Sum;
use crate::permit::{Decided, Permit, PolicyIds};
use crate::resources::Effect;
use crate::rule::{Ask, Reading, Rule, Target};
use crate::table::{ClusterEntry, Policy, Subject, Table, UserEntry};

impl Table {
    /// Decides one request.
    ///
    /// # Errors
    /// [`Denial`] with one line for the person who asked.
    pub fn authorize(
        &self,
        subject: &Subject,
        cluster: &str,
        attrs: &RequestAttributes,
        now: Timestamp,
    ) -> Result<Permit, Denial> {
        let user = self.user_of(subject, cluster, now)?;
        let (cluster_id, entry) = self.open_cluster(cluster)?;
        let question = Question::new(attrs);

        let mut denies = self.policies(user, cluster_id, Effect::Deny);
        if let Some((id, _)) = denies.find(|(_, policy)| question.is_refused_by(policy)) {
            return Err(self.denied(id, user, entry, &question));
        }

        let mut policies = PolicyIds::new();
        let mut groups = Sum::new();
        let mut granted = Granted::default();
        for (id, policy) in self.policies(user, cluster_id, Effect::Allow) {
            let grant = question.granted_by(policy);
            if grant.asked || grant.exec {
                policies.insert(id);
                groups.add(policy.groups, &self.groups);
                granted = granted.or(grant);
            }
        }
        if !granted.asked || (question.needs_exec && !granted.exec) {
            return Err(self.not_granted(granted, user, cluster_id, entry, &question));
        }
        Ok(Permit::new(Decided {
            cluster: Arc::clone(&entry.name),
            groups: groups.finish(&self.groups),
            policies,
            names: Arc::clone(&self.policy_names),
            generation: self.generation,
            cut_epoch: self.cut_epoch,
        }))
    }

    fn user_of(&self, subject: &Subject, cluster: &str, now: Timestamp) -> Result<&UserEntry, Denial> {
        let refuse = |why: String| Denial::new(Cause::Credential, why);
        let Some(credential) = self.credentials.get(&*subject.credential) else {
            return Err(refuse(format!(
                "credential {} was revoked; ask for a new kubeconfig",
                subject.credential
            )));
        };
        if credential.user != subject.user {
            let credential = &subject.credential;
            return Err(refuse(format!(
                "credential {credential} belongs to another user; ask for a new kubeconfig"
            )));
        }
        if credential.is_expired(now) {
            let expires = credential.expires.unwrap_or(now);
            return Err(refuse(format!(
                "credential {} expired at {expires}; ask for a new kubeconfig",
                subject.credential
            )));
        }
        if !credential.is_for(cluster) {
            let credential = &subject.credential;
            return Err(refuse(format!(
                "credential {credential} is not for cluster {cluster}; ask for a kubeconfig that is"
            )));
        }
        self.users
            .get(credential.user_id as usize)
            .ok_or_else(|| refuse(format!("credential {} has no user", subject.credential)))
    }

    fn open_cluster(&self, name: &str) -> Result<(u32, &ClusterEntry), Denial> {
        let refuse = |why: String| Denial::new(Cause::Cluster, why);
        match self.cluster_id(name) {
            None => Err(refuse(format!("there is no cluster {name}"))),
            Some((_, entry)) if entry.paused => Err(refuse(format!(
                "cluster {name} is paused: nothing is let through until whoever runs Hawser sets its spec.paused to false"
            ))),
            Some(found) => Ok(found),
        }
    }

    fn denied(&self, id: u32, user: &UserEntry, cluster: &ClusterEntry, question: &Question<'_>) -> Denial {
        let policy = self.policy_names.get(id as usize).cloned();
        let name = policy.as_deref().unwrap_or_default();
        let what = question.sentence(&user.name, &cluster.name);
        let denial = Denial::new(Cause::Denied, format!("policy {name} denies {what}"));
        Denial { policy, ..denial }
    }

    fn not_granted(
        &self,
        granted: Granted,
        user: &UserEntry,
        cluster_id: u32,
        cluster: &ClusterEntry,
        question: &Question<'_>,
    ) -> Denial {
        let mut reason = format!("no policy allows {}", question.sentence(&user.name, &cluster.name));
        let mut allows = self.policies(user, cluster_id, Effect::Allow).peekable();
        if allows.peek().is_none() {
            reason.push_str("; nothing on this cluster is granted");
            return Denial::new(Cause::NotGranted, reason);
        }
        let mut namespaces: Vec<String> = allows
            .flat_map(|(_, policy)| policy.shown_namespaces(|rule| question.would_be_granted_by(rule)))
            .collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        if granted.asked {
            reason.push_str("; nodes/proxy also needs create on pods/exec in every namespace");
        } else if !namespaces.is_empty() {
            reason.push_str(&allowed_in(&namespaces, question));
        } else if question.is_shell() {
            reason.push_str("; role shell grants it");
        }
        Denial::new(Cause::NotGranted, reason)
    }
}

/// A request as the policies are asked about it.
struct Question<'a> {
    attrs: &'a RequestAttributes,
    ask: Ask<'a>,
    /// Comes with any grant: discovery, and questions about oneself.
    is_open: bool,
    /// Reading this Namespace object comes with any grant in it.
    reads_namespace: Option<&'a str>,
    /// It reads one or all Namespace objects.
    is_about_namespaces: bool,
    /// The kubelet's own API can do all that exec can.
    needs_exec: bool,
}

/// What the policies grant of a question so far.
#[derive(Clone, Copy, Default)]
struct Granted {
    asked: bool,
    exec: bool,
}

/// Exec into every pod: what `nodes/proxy` is worth.
const EXEC_EVERYWHERE: Ask<'static> = Ask {
    verb: "create",
    target: Target::Resource {
        group: "",
        resource: "pods",
        subresource: "exec",
        namespace: "",
        name: "",
        all_namespaces: true,
        all_names: true,
    },
};

/// Namespaces that a denial names; the rest is counted.
const NAMESPACES_SHOWN_MAX: usize = 10;

/// Resources without a namespace, so that a request without one does not sweep over namespaces. A resource
/// missing here is taken for a namespaced one: a namespaced Deny then also refuses its lists.
const CLUSTER_SCOPED: [(&str, &str); 24] = [
    ("", "componentstatuses"),
    ("", "namespaces"),
    ("", "nodes"),
    ("", "persistentvolumes"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "apiservices"),
    ("certificates.k8s.io", "certificatesigningrequests"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"),
    ("metrics.k8s.io", "nodes"),
    ("networking.k8s.io", "ingressclasses"),
    ("node.k8s.io", "runtimeclasses"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "resourceslices"),
    ("scheduling.k8s.io", "priorityclasses"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "storageclasses"),
];

impl<'a> Question<'a> {
    fn new(attrs: &'a RequestAttributes) -> Self {
        let target = if attrs.is_resource { resource_target(attrs) } else { Target::Url(&attrs.path) };
        let of_core = |resource: &str, subresource: &str| {
            attrs.is_resource
                && attrs.api_group.is_empty()
                && attrs.resource == resource
                && attrs.subresource == subresource
        };
        let is_about_namespaces =
            of_core("namespaces", "") && matches!(attrs.verb.as_str(), "get" | "list" | "watch");
        let reads_namespace = is_about_namespaces && attrs.verb == "get" && !attrs.name.is_empty();
        Self {
            attrs,
            ask: Ask { verb: attrs.policy_verb(), target },
            is_open: attrs.is_discovery() || attrs.is_self_review(),
            reads_namespace: reads_namespace.then_some(&attrs.name),
            is_about_namespaces,
            needs_exec: of_core("nodes", "proxy"),
        }
    }

    fn is_refused_by(&self, policy: &Policy) -> bool {
        policy.covers(&self.ask, Reading::Refusal)
            || (self.needs_exec && policy.covers(&EXEC_EVERYWHERE, Reading::Refusal))
    }

    fn granted_by(&self, policy: &Policy) -> Granted {
        // A method that means nothing on a resource is nothing that anyone could grant.
        let known = !self.ask.verb.is_empty();
        let asked = self.is_open
            || (known && policy.covers(&self.ask, Reading::Grant))
            || self.reads_namespace.is_some_and(|namespace| policy.is_narrowed_to(namespace));
        let exec = self.needs_exec && policy.covers(&EXEC_EVERYWHERE, Reading::Grant);
        Granted { asked, exec }
    }

    /// Whether the rule grants it in some namespace. Reading Namespaces comes with any grant in them.
    fn would_be_granted_by(&self, rule: &Rule) -> bool {
        self.is_about_namespaces || rule.covers_but_for_namespaces(&self.ask, Reading::Grant)
    }

    fn is_shell(&self) -> bool {
        use hawser_kube::Action;
        match self.attrs.action() {
            Action::Exec | Action::Attach | Action::PortForward | Action::EphemeralContainers => true,
            Action::PodProxy | Action::ServiceProxy | Action::NodeProxy | Action::Other => false,
        }
    }

    /// `alice to create pods/exec "web-0" in namespace "prod" on cluster eu-1`.
    fn sentence(&self, user: &str, cluster: &str) -> String {
        let attrs = self.attrs;
        let verb = if self.ask.verb.is_empty() { attrs.method.as_str() } else { self.ask.verb };
        let mut text = format!("{user} to {verb} ");
        if attrs.is_resource {
            text.push_str(&attrs.resource);
            for (before, part) in [("/", &attrs.subresource), (".", &attrs.api_group)] {
                if !part.is_empty() {
                    text.push_str(before);
                    text.push_str(part);
                }
            }
            if !attrs.name.is_empty() {
                text.push_str(&format!(" {:?}", attrs.name));
            }
            if !attrs.namespace.is_empty() {
                text.push_str(&format!(" in namespace {:?}", attrs.namespace));
            }
        } else {
            text.push_str(&attrs.path);
        }
        text.push_str(" on cluster ");
        text.push_str(cluster);
        text
    }
}

impl Granted {
    fn or(self, other: Self) -> Self {
        Self { asked: self.asked || other.asked, exec: self.exec || other.exec }
    }
}

fn resource_target(attrs: &RequestAttributes) -> Target<'_> {
    let sweeps = matches!(attrs.verb.as_str(), "list" | "watch" | "deletecollection");
    let is_namespaced = || !CLUSTER_SCOPED.contains(&(&attrs.api_group, &attrs.resource));
    Target::Resource {
        group: &attrs.api_group,
        resource: &attrs.resource,
        subresource: &attrs.subresource,
        namespace: &attrs.namespace,
        name: &attrs.name,
        all_namespaces: sweeps && attrs.namespace.is_empty() && is_namespaced(),
        all_names: sweeps && attrs.name.is_empty(),
    }
}

fn allowed_in(namespaces: &[String], question: &Question<'_>) -> String {
    let shown: Vec<&str> = namespaces.iter().take(NAMESPACES_SHOWN_MAX).map(String::as_str).collect();
    let about = question.is_about_namespaces;
    let mut text = if about { "; granted are namespaces " } else { "; allowed in namespaces " }.to_owned();
    text.push_str(&shown.join(", "));
    if namespaces.len() > NAMESPACES_SHOWN_MAX {
        text.push_str(&format!(" and {} more", namespaces.len() - NAMESPACES_SHOWN_MAX));
    }
    if question.attrs.namespace.is_empty() && !about {
        text.push_str(" (name one with -n)");
    }
    text
}
