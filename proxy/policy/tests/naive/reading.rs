//! What the model says, word by word and without any hurry.

use std::collections::BTreeSet;

use hawser_kube::RequestAttributes;
use hawser_policy::Cause;
use hawser_policy::resources::{
    AccessPolicy, AccessRole, BUILT_IN_ROLES, Cluster, Effect, Group, LabelSelector, Object, Rule,
};

use crate::fleet::{Fleet, Request};

/// Policies and groups, or which step refused.
pub(crate) type Answer = Result<(Vec<String>, Vec<String>), Cause>;

/// One question to the resources as they are written.
pub(crate) struct Naive<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) request: &'a Request,
    pub(crate) attrs: &'a RequestAttributes,
}

impl Naive<'_> {
    pub(crate) fn answer(&self) -> Answer {
        let credential = self.find(|object| {
            let Object::Credential(it) = object else { return None };
            (it.metadata.name == self.request.credential).then_some(it)
        });
        let credential = credential.ok_or(Cause::Credential)?;
        let in_time = credential.spec.expires.is_none_or(|expires| self.request.now < expires);
        let here = |names: &Vec<String>| names.iter().any(|name| name == self.request.cluster);
        if credential.spec.user != self.request.user
            || !in_time
            || !credential.spec.clusters.as_ref().is_none_or(here)
        {
            return Err(Cause::Credential);
        }
        let cluster = self.find(|object| {
            let Object::Cluster(it) = object else { return None };
            (it.metadata.name == self.request.cluster).then_some(it)
        });
        let cluster = cluster.filter(|cluster| !cluster.spec.paused).ok_or(Cause::Cluster)?;

        let here: Vec<&AccessPolicy> = self
            .all(|object| if let Object::AccessPolicy(it) = object { Some(it) } else { None })
            .into_iter()
            .filter(|policy| self.names_user(policy) && names_cluster(policy, cluster))
            .collect();
        if here.iter().any(|policy| policy.spec.effect == Effect::Deny && self.denies(policy)) {
            return Err(Cause::Denied);
        }
        let allows: Vec<&&AccessPolicy> = here
            .iter()
            .filter(|policy| policy.spec.effect == Effect::Allow && self.says_anything(policy))
            .collect();
        let asked: Vec<_> = allows.iter().filter(|policy| self.allows(policy)).collect();
        let node_proxy = self.is("", "nodes", "proxy");
        let exec: Vec<_> =
            allows.iter().filter(|policy| node_proxy && self.allows_exec_everywhere(policy)).collect();
        if asked.is_empty() || (node_proxy && exec.is_empty()) {
            return Err(Cause::NotGranted);
        }
        let mut names = BTreeSet::new();
        let mut groups = BTreeSet::new();
        for policy in asked.into_iter().chain(exec) {
            names.insert(format!("hawser-system/{}", policy.metadata.name));
            groups.extend(policy.spec.impersonate.groups.iter().cloned());
            for role in &policy.spec.roles {
                if BUILT_IN_ROLES.contains(&role.as_str()) {
                    groups.insert(format!("hawser:{role}"));
                } else if let Some(role) = self.role(role) {
                    groups.extend(role.spec.impersonate.groups.iter().cloned());
                }
            }
        }
        Ok((names.into_iter().collect(), groups.into_iter().collect()))
    }

    fn find<'s, T>(&'s self, pick: impl Fn(&'s Object) -> Option<&'s T>) -> Option<&'s T> {
        self.fleet.objects.iter().find_map(pick)
    }

    fn all<'s, T>(&'s self, pick: impl Fn(&'s Object) -> Option<&'s T>) -> Vec<&'s T> {
        self.fleet.objects.iter().filter_map(pick).collect()
    }

    fn role(&self, name: &str) -> Option<&AccessRole> {
        self.find(|object| {
            let Object::AccessRole(it) = object else { return None };
            (it.metadata.name == name).then_some(it)
        })
    }

    fn names_user(&self, policy: &AccessPolicy) -> bool {
        let subjects = &policy.spec.subjects;
        let member = |group: &Group| group.spec.members.iter().any(|member| member.user == self.request.user);
        let in_group = |reference: &String| {
            let name = reference.trim_start_matches("hawser-system/");
            let group = self.find(|object| {
                let Object::Group(it) = object else { return None };
                (it.metadata.name == name).then_some(it)
            });
            group.is_some_and(member)
        };
        subjects.users.iter().any(|user| user == self.request.user) || subjects.groups.iter().any(in_group)
    }

    /// It can grant something at all.
    fn says_anything(&self, policy: &AccessPolicy) -> bool {
        let spec = &policy.spec;
        let with_rules = |name: &String| {
            BUILT_IN_ROLES.contains(&name.as_str())
                || self.role(name).is_some_and(|role| !role.spec.rules.is_empty())
        };
        spec.roles.is_empty() && spec.rules.is_empty()
            || !spec.rules.is_empty()
            || spec.roles.iter().any(with_rules)
    }

    fn verb(&self) -> &str {
        let acting = ["exec", "attach", "portforward", "ephemeralcontainers", "proxy"];
        if self.attrs.is_resource && acting.contains(&&*self.attrs.subresource) {
            "create"
        } else {
            &self.attrs.verb
        }
    }

    fn is(&self, group: &str, resource: &str, subresource: &str) -> bool {
        let attrs = self.attrs;
        attrs.is_resource
            && (&*attrs.api_group, &*attrs.resource, &*attrs.subresource) == (group, resource, subresource)
    }

    fn allows(&self, policy: &AccessPolicy) -> bool {
        let attrs = self.attrs;
        let reads = matches!(&*attrs.method, "GET" | "HEAD");
        let roots = ["/version", "/api", "/apis", "/openapi", "/livez", "/readyz", "/healthz"];
        let below = |root: &&str| attrs.path == **root || attrs.path.starts_with(&format!("{root}/"));
        let discovery = !attrs.is_resource && reads && roots.iter().any(below);
        let about_self = attrs.verb == "create"
            && (self.is("authorization.k8s.io", "selfsubjectaccessreviews", "")
                || self.is("authorization.k8s.io", "selfsubjectrulesreviews", "")
                || self.is("authentication.k8s.io", "selfsubjectreviews", ""));
        if discovery || about_self {
            return true;
        }
        let namespace_read = self.is("", "namespaces", "") && attrs.verb == "get" && !attrs.name.is_empty();
        if namespace_read && self.is_narrowed_to(policy, &attrs.name) {
            return true;
        }
        if self.verb().is_empty() {
            return false;
        }
        let inside = |namespaces: &[String]| is_inside(namespaces, &attrs.namespace);
        if policy.spec.roles.is_empty() && policy.spec.rules.is_empty() {
            return if attrs.is_resource {
                inside(&policy.spec.namespaces)
            } else {
                policy.spec.namespaces.is_empty()
            };
        }
        let by_rule = |rule: &Rule| {
            self.rule_says(rule)
                && if attrs.is_resource {
                    (rule.resource_names.is_empty() || rule.resource_names.contains(&attrs.name))
                        && inside(&rule.namespaces)
                        && inside(&policy.spec.namespaces)
                } else {
                    policy.spec.namespaces.is_empty()
                }
        };
        let by_built_in = |role: &String| {
            self.built_in_says(role)
                && if attrs.is_resource {
                    inside(&policy.spec.namespaces)
                } else {
                    policy.spec.namespaces.is_empty()
                }
        };
        self.rules(policy).into_iter().any(by_rule) || policy.spec.roles.iter().any(by_built_in)
    }

    fn denies(&self, policy: &AccessPolicy) -> bool {
        let attrs = self.attrs;
        let outer = &policy.spec.namespaces;
        let known = |role: &String| BUILT_IN_ROLES.contains(&role.as_str()) || self.role(role).is_some();
        let everything = policy.spec.roles.is_empty() && policy.spec.rules.is_empty()
            || !policy.spec.roles.iter().all(known);
        let sweeping = ["list", "watch", "deletecollection"].contains(&&*attrs.verb);
        let without_namespace =
            ["nodes", "namespaces"].contains(&&*attrs.resource) && attrs.api_group.is_empty();
        let over_namespaces = sweeping && attrs.namespace.is_empty() && !without_namespace;
        let touches = |namespaces: &[String]| over_namespaces || is_inside(namespaces, &attrs.namespace);
        let here = if attrs.is_resource { touches(outer) } else { outer.is_empty() };
        if everything {
            // Whatever stands in the way of exec anywhere stands in the way of the kubelet's API.
            return here || self.is("", "nodes", "proxy");
        }
        let by_rule = |rule: &Rule| {
            let names = &rule.resource_names;
            here && self.rule_says(rule)
                && (!attrs.is_resource
                    || touches(&rule.namespaces)
                        && (names.is_empty()
                            || names.contains(&attrs.name)
                            || sweeping && attrs.name.is_empty()))
        };
        let exec = |rule: &Rule| self.is("", "nodes", "proxy") && says_exec(rule);
        let exec_role = |role: &String| self.is("", "nodes", "proxy") && role == "shell";
        self.rules(policy).into_iter().any(|rule| by_rule(rule) || exec(rule))
            || policy.spec.roles.iter().any(|role| here && self.built_in_says(role) || exec_role(role))
    }

    fn allows_exec_everywhere(&self, policy: &AccessPolicy) -> bool {
        let spec = &policy.spec;
        let wide =
            |rule: &Rule| rule.namespaces.is_empty() && rule.resource_names.is_empty() && says_exec(rule);
        spec.namespaces.is_empty()
            && (spec.roles.is_empty() && spec.rules.is_empty()
                || spec.roles.iter().any(|role| role == "shell")
                || self.rules(policy).into_iter().any(wide))
    }

    /// A grant narrowed to namespaces, one of which is this.
    fn is_narrowed_to(&self, policy: &AccessPolicy, namespace: &str) -> bool {
        let spec = &policy.spec;
        let outer = &spec.namespaces;
        let own = |rule: &Rule| {
            rule.non_resource_urls.is_empty()
                && is_inside(&rule.namespaces, namespace)
                && !(rule.namespaces.is_empty() && outer.is_empty())
        };
        let built_in = spec.roles.iter().any(|role| BUILT_IN_ROLES.contains(&role.as_str()));
        let whole = built_in || spec.roles.is_empty() && spec.rules.is_empty();
        is_inside(outer, namespace) && (!outer.is_empty() && whole || self.rules(policy).into_iter().any(own))
    }

    fn rules<'s>(&'s self, policy: &'s AccessPolicy) -> Vec<&'s Rule> {
        let of_roles = policy.spec.roles.iter().filter_map(|name| self.role(name));
        policy.spec.rules.iter().chain(of_roles.flat_map(|role| &role.spec.rules)).collect()
    }

    /// Verb and target, whatever the namespace and the name.
    fn rule_says(&self, rule: &Rule) -> bool {
        let has = |words: &[String], word: &str| words.iter().any(|it| it == "*" || it == word);
        let attrs = self.attrs;
        if !has(&rule.verbs, self.verb()) || attrs.is_resource != rule.non_resource_urls.is_empty() {
            return false;
        }
        if !attrs.is_resource {
            return rule.non_resource_urls.iter().any(|url| like(url, &attrs.path));
        }
        let full = match attrs.subresource.as_str() {
            "" => attrs.resource.clone(),
            subresource => format!("{}/{subresource}", attrs.resource),
        };
        let of_any = format!("*/{}", attrs.subresource);
        let named = |it: &String| it == "*" || *it == full || !attrs.subresource.is_empty() && *it == of_any;
        has(&rule.api_groups, &attrs.api_group) && rule.resources.iter().any(named)
    }

    fn built_in_says(&self, role: &str) -> bool {
        let attrs = self.attrs;
        let verb = self.verb();
        let reads = ["get", "list", "watch"].contains(&verb);
        let writes = ["create", "update", "patch", "delete", "deletecollection"].contains(&verb);
        let full = format!("{}/{}", attrs.resource, attrs.subresource);
        let into_pods =
            ["pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers"].contains(&&*full);
        match role {
            "view" => attrs.is_resource && reads && full != "secrets/",
            "edit" => attrs.is_resource && (reads || writes) && !into_pods && full != "serviceaccounts/token",
            "admin" => attrs.is_resource && (reads || writes) && !into_pods,
            "cluster-admin" => !into_pods || !attrs.is_resource,
            "shell" => {
                attrs.is_resource
                    && attrs.api_group.is_empty()
                    && (verb == "create" && into_pods || verb == "get" && full == "pods/")
            }
            _ => false,
        }
    }
}

fn says_exec(rule: &Rule) -> bool {
    let any = |words: &[String], of: &[&str]| words.iter().any(|word| of.contains(&&**word));
    any(&rule.verbs, &["create", "*"])
        && any(&rule.api_groups, &["", "*"])
        && any(&rule.resources, &["*", "pods/exec", "*/exec"])
}

fn names_cluster(policy: &AccessPolicy, cluster: &Cluster) -> bool {
    let targets = &policy.spec.clusters;
    let has = |selector: &LabelSelector| {
        selector.match_labels.iter().all(|(key, value)| cluster.metadata.labels.get(key) == Some(value))
    };
    targets.names.contains(&cluster.metadata.name) || targets.selector.as_ref().is_some_and(has)
}

fn is_inside(patterns: &[String], namespace: &str) -> bool {
    patterns.is_empty() || !namespace.is_empty() && patterns.iter().any(|pattern| like(pattern, namespace))
}

fn like(pattern: &str, text: &str) -> bool {
    match (pattern.split_at_checked(1), text.split_at_checked(1)) {
        (None, rest) => rest.is_none(),
        (Some(("*", after)), None) => like(after, text),
        (Some(("*", after)), Some((_, rest))) => like(after, text) || like(pattern, rest),
        (Some((a, after)), Some((b, rest))) => a == b && like(after, rest),
        (Some(_), None) => false,
    }
}
