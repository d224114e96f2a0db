//! What a request asks for, in the words that authorization knows: verb, group, resource, name.
//!
//! It stands right behind authentication. [`RequestAttributes::parse`] follows the API server's own
//! `RequestInfoFactory` step by step, so that the edge judges what the cluster will do, and refuses targets
//! that two parsers could read in two ways. The target itself is never changed: what is forwarded is
//! [`RequestAttributes::raw_target`].

mod path;
mod selector;

use thiserror::Error;

use crate::query::Query;

/// A request as authorization sees it. Only [`RequestAttributes::parse`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestAttributes {
    /// The HTTP method as it was sent.
    pub method: String,
    /// Whether the path names a resource of the API (`/api/v1/…`, `/apis/GROUP/VERSION/…`).
    pub is_resource: bool,
    /// The decoded path. Behind a `proxy` subresource the tail is kept as it was sent.
    pub path: String,
    /// The target exactly as it was sent, query included: what is forwarded and audited.
    pub raw_target: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; the method in lower
    /// case for a non-resource path; empty for a method that means nothing on a resource.
    pub verb: String,
    /// Empty for the core group and for non-resource paths.
    pub api_group: String,
    /// Empty for non-resource paths.
    pub api_version: String,
    /// Empty for cluster-scoped requests. For `/api/v1/namespaces/x` it is `x`.
    pub namespace: String,
    /// Plural resource, without the subresource.
    pub resource: String,
    /// Empty if the request is for the resource itself.
    pub subresource: String,
    /// Empty for collections and for `create`; for a list or watch with `fieldSelector=metadata.name=X` it is X.
    pub name: String,
    /// First `fieldSelector` of a list, watch or deletecollection.
    pub field_selector: Option<String>,
    /// First `labelSelector` of a list, watch or deletecollection.
    pub label_selector: Option<String>,
    /// Whether it is certain from the target alone that nothing will be stored. A deletion says so in its body
    /// and a subresource may act elsewhere, so for those this is false.
    pub dry_run: bool,
    /// Whether a log is followed.
    pub follow: bool,
}

/// The kinds of request that reach inside a workload, and all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// `pods/exec`
    Exec,
    /// `pods/attach`
    Attach,
    /// `pods/portforward`
    PortForward,
    /// `pods/proxy`
    PodProxy,
    /// `services/proxy`
    ServiceProxy,
    /// `nodes/proxy`: the kubelet's own API, worth as much as exec.
    NodeProxy,
    /// `pods/ephemeralcontainers`, what `kubectl debug` patches.
    EphemeralContainers,
    /// Everything else.
    Other,
}

/// Why a target is refused before anything is decided about it. No real client sends one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadTarget {
    /// Absolute form, authority form, `*` or nothing.
    #[error("the request target must be a path that begins with \"/\"")]
    NotOriginForm,
    /// A byte that must not stand where it stands.
    #[error("the request target holds the byte 0x{0:02x} where no client needs one")]
    Byte(u8),
    /// A `%` escape that is broken, needless or hides a delimiter.
    #[error("the request path holds a percent escape that no client needs")]
    Escape,
    /// `//`.
    #[error("the request path holds an empty segment")]
    EmptySegment,
    /// `.` or `..` as a segment.
    #[error("the request path holds a dot segment")]
    DotSegment,
    /// More query parameters than anyone reads alike.
    #[error("the request has more than {} query parameters", crate::query::PAIRS_MAX)]
    TooManyParameters,
    /// `/api/v1/watch` without a resource.
    #[error("the request path names no resource")]
    NoResource,
    /// `/api/v1/proxy/…`, which no API server routes any more.
    #[error("the legacy proxy prefix is not served; use the proxy subresource")]
    LegacyProxy,
}

impl RequestAttributes {
    /// Reads `method` and `target` (origin form, as sent) the way an API server does.
    ///
    /// # Errors
    /// [`BadTarget`] if the path outside an opaque proxy tail has more than one reading, or none.
    pub fn parse(method: &str, target: &str) -> Result<Self, BadTarget> {
        let split = path::split(target)?;
        let mut request = Self::non_resource(method, target, split.path);
        let Some((prefix, rest)) = split.segments.split_first() else { return Ok(request) };
        if split.segments.len() < 3 {
            return Ok(request);
        }
        let rest = match (prefix.as_str(), rest) {
            ("api", rest) => rest,
            ("apis", [group, rest @ ..]) if rest.len() >= 2 => {
                request.api_group.clone_from(group);
                rest
            }
            _ => return Ok(request),
        };
        let [version, rest @ ..] = rest else { return Ok(request) };
        request.is_resource = true;
        request.api_version.clone_from(version);

        let (by_prefix, rest) = request.take_verb(rest)?;
        request.take_names(rest);
        let query = Query::parse(split.query);
        request.refine_by_query(&query, by_prefix);
        Ok(request)
    }

    fn non_resource(method: &str, target: &str, path: String) -> Self {
        Self {
            method: method.to_owned(),
            is_resource: false,
            path,
            raw_target: target.to_owned(),
            verb: method.to_ascii_lowercase(),
            api_group: String::new(),
            api_version: String::new(),
            namespace: String::new(),
            resource: String::new(),
            subresource: String::new(),
            name: String::new(),
            field_selector: None,
            label_selector: None,
            dry_run: false,
            follow: false,
        }
    }

    /// The verb from the method, or from the old `/watch/` prefix (then also true), and what follows.
    fn take_verb<'a>(&mut self, rest: &'a [String]) -> Result<(bool, &'a [String]), BadTarget> {
        match rest.first().map(String::as_str) {
            Some("proxy") => return Err(BadTarget::LegacyProxy),
            Some("watch") if rest.len() < 2 => return Err(BadTarget::NoResource),
            Some("watch") => {
                "watch".clone_into(&mut self.verb);
                return Ok((true, &rest[1..]));
            }
            _ => {}
        }
        self.verb = match self.method.as_str() {
            "POST" => "create",
            "GET" | "HEAD" => "get",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => "",
        }
        .to_owned();
        Ok((false, rest))
    }

    /// Namespace, resource, name and subresource; what follows them is not authorization's.
    fn take_names(&mut self, parts: &[String]) {
        let mut parts = parts;
        if let [first, namespace, inside @ ..] = parts
            && first == "namespaces"
        {
            self.namespace.clone_from(namespace);
            if inside.first().is_some_and(|part| !NAMESPACE_SUBRESOURCES.contains(&part.as_str())) {
                parts = inside;
            }
        }
        let mut parts = parts.iter();
        for field in [&mut self.resource, &mut self.name, &mut self.subresource] {
            if let Some(part) = parts.next() {
                field.clone_from(part);
            }
        }
    }

    /// What only the query tells: list or watch, one object or many, whether anything will be stored.
    fn refine_by_query(&mut self, query: &Query, by_prefix: bool) {
        if self.name.is_empty() && self.verb == "get" {
            let verb = if query.bool("watch") { "watch" } else { "list" };
            verb.clone_into(&mut self.verb);
            if let Some(name) = name_of_selector(query) {
                self.name = name;
            }
        } else if self.name.is_empty() && self.verb == "delete" {
            "deletecollection".clone_into(&mut self.verb);
        }
        if !by_prefix && matches!(self.verb.as_str(), "list" | "watch" | "deletecollection") {
            self.field_selector = query.first("fieldSelector").map(str::to_owned);
            self.label_selector = query.first("labelSelector").map(str::to_owned);
        }
        self.dry_run = matches!(self.verb.as_str(), "create" | "update" | "patch")
            && matches!(self.subresource.as_str(), "" | "status" | "scale")
            && query.first("dryRun").is_some()
            && query.all("dryRun").all(|value| value == "All");
        self.follow = self.subresource == "log" && query.bool("follow");
    }

    /// Which way into a workload this is, if any.
    #[must_use]
    pub fn action(&self) -> Action {
        if !self.is_resource || !self.api_group.is_empty() {
            return Action::Other;
        }
        match (self.resource.as_str(), self.subresource.as_str()) {
            ("pods", "exec") => Action::Exec,
            ("pods", "attach") => Action::Attach,
            ("pods", "portforward") => Action::PortForward,
            ("pods", "proxy") => Action::PodProxy,
            ("services", "proxy") => Action::ServiceProxy,
            ("nodes", "proxy") => Action::NodeProxy,
            ("pods", "ephemeralcontainers") => Action::EphemeralContainers,
            _ => Action::Other,
        }
    }

    /// The verb that policies are asked about. What acts inside a workload is `create` whatever the method:
    /// the same exec is a GET over WebSocket and a POST over SPDY.
    #[must_use]
    pub fn policy_verb(&self) -> &str {
        if self.is_resource && ACTING_SUBRESOURCES.contains(&self.subresource.as_str()) {
            "create"
        } else {
            &self.verb
        }
    }

    /// Whether the answer is a stream of events.
    #[must_use]
    pub fn is_watch(&self) -> bool {
        self.is_resource && self.verb == "watch"
    }

    /// Whether the API server sets no deadline: watches, profiles and what streams through a subresource
    /// (kube-apiserver's long-running check).
    #[must_use]
    pub fn is_long_running(&self) -> bool {
        if !self.is_resource {
            return self.path.starts_with("/debug/pprof/");
        }
        self.verb == "watch" || STREAMING_SUBRESOURCES.contains(&self.subresource.as_str())
    }

    /// Whether it is a `proxy` subresource, of whatever resource.
    #[must_use]
    pub fn is_proxy(&self) -> bool {
        self.is_resource && self.subresource == "proxy"
    }

    /// Whether it may move much data for long and so belongs on the connection kept for that.
    #[must_use]
    pub fn is_bulk(&self) -> bool {
        self.is_resource && STREAMING_SUBRESOURCES.contains(&self.subresource.as_str())
    }

    /// Whether it may be sent a second time: a GET or HEAD that changes nothing.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD")
            && !(self.is_resource && ACTING_SUBRESOURCES.contains(&self.subresource.as_str()))
    }

    /// Whether it is one of the reads that every client makes before the first real request: versions,
    /// discovery, schemas and health.
    #[must_use]
    pub fn is_discovery(&self) -> bool {
        !self.is_resource
            && matches!(self.method.as_str(), "GET" | "HEAD")
            && DISCOVERY.iter().any(|root| {
                self.path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }

    /// Whether a client asks about itself: `kubectl auth can-i` and `kubectl auth whoami`.
    #[must_use]
    pub fn is_self_review(&self) -> bool {
        self.is_resource
            && self.verb == "create"
            && self.namespace.is_empty()
            && self.name.is_empty()
            && matches!(
                (self.api_group.as_str(), self.resource.as_str()),
                ("authorization.k8s.io", "selfsubjectaccessreviews" | "selfsubjectrulesreviews")
                    | ("authentication.k8s.io", "selfsubjectreviews")
            )
    }
}

/// The object a list or watch is confined to. As in the API server, options that do not decode name nothing.
/// The label selector is not decoded: the API server answers 400 to a bad one, whatever the name.
fn name_of_selector(query: &Query) -> Option<String> {
    let decodes = ["limit", "timeoutSeconds"].iter().all(|key| query.is_integer_or_absent(key));
    query.first("fieldSelector").filter(|_| decodes).and_then(selector::required_name)
}

/// Subresources of a namespace itself; any other third segment is a resource inside it.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

/// Subresources that do something inside a workload even when they are read.
const ACTING_SUBRESOURCES: [&str; 5] = ["exec", "attach", "portforward", "proxy", "ephemeralcontainers"];

/// Subresources without a deadline in kube-apiserver.
const STREAMING_SUBRESOURCES: [&str; 5] = ["attach", "exec", "proxy", "log", "portforward"];

/// Roots that the cluster role `system:discovery` and the health checks open.
const DISCOVERY: [&str; 7] = ["/api", "/apis", "/healthz", "/livez", "/openapi", "/readyz", "/version"];
