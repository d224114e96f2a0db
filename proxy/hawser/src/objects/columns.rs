//! What `hawser get` shows of each kind.

use hawser_kube::clock::span;
use hawser_policy::resources::{
    AccessPolicySpec, Cluster, ClusterTargets, CredentialSpec, Effect, Object, Subjects,
};
use jiff::Timestamp;

use crate::{
    data::Settings,
    kubeconfig::server::{self, Server},
};

/// Header and rows.
pub(super) struct Table {
    pub(super) header: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

/// The table of objects of one kind. Without `settings` clusters show their loopback addresses.
pub(super) fn table(objects: &[Object], settings: Option<&Settings>, now: Timestamp) -> Table {
    let mut table = Table { header: Vec::new(), rows: Vec::new() };
    for object in objects {
        let (header, row) = columns(object, settings, now).into_iter().unzip();
        table.header = header;
        table.rows.push(row);
    }
    table
}

fn columns(object: &Object, settings: Option<&Settings>, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut columns = vec![("NAME", object.name().to_owned())];
    match object {
        Object::Cluster(cluster) => columns.extend([
            ("ADDRESS", or_dash(address(cluster, settings))),
            ("PAUSED", if cluster.spec.paused { "yes" } else { "no" }.to_owned()),
        ]),
        Object::User(user) => columns.extend([
            ("DISPLAY NAME", or_dash(user.spec.display_name.clone())),
            ("EMAIL", or_dash(user.spec.email.clone())),
        ]),
        Object::Group(group) => {
            let members = group.spec.members.iter().map(|member| member.user.clone());
            columns.push(("MEMBERS", some(members.collect())));
        }
        Object::AccessRole(role) => columns.extend([
            ("RULES", role.spec.rules.len().to_string()),
            ("IMPERSONATES", some(role.spec.impersonate.groups.clone())),
        ]),
        Object::AccessPolicy(policy) => columns.extend(of_policy(&policy.spec)),
        Object::Credential(credential) => columns.extend(of_credential(&credential.spec, now)),
    }
    columns.push(("AGE", or_dash(age(object, now))));
    columns
}

fn address(cluster: &Cluster, settings: Option<&Settings>) -> Option<String> {
    match settings {
        Some(settings) => Server::of(cluster, settings, false).map(|server| server.url),
        None => server::loopback(cluster).map(str::to_owned),
    }
}

fn of_policy(spec: &AccessPolicySpec) -> [(&'static str, String); 5] {
    let effect = match spec.effect {
        Effect::Allow => "Allow",
        Effect::Deny => "Deny",
    };
    let mut roles = spec.roles.clone();
    if !spec.rules.is_empty() {
        roles.push(format!("({} of its own)", spec.rules.len()));
    }
    let roles = if roles.is_empty() { "(the cluster's RBAC)".to_owned() } else { some(roles) };
    let namespaces =
        if spec.namespaces.is_empty() { "all".to_owned() } else { some(spec.namespaces.clone()) };
    [
        ("EFFECT", effect.to_owned()),
        ("SUBJECTS", subjects(&spec.subjects)),
        ("CLUSTERS", targets(&spec.clusters)),
        ("ROLES", roles),
        ("NAMESPACES", namespaces),
    ]
}

fn subjects(subjects: &Subjects) -> String {
    let groups = subjects.groups.iter().map(|group| format!("group:{group}"));
    some(subjects.users.iter().cloned().chain(groups).collect())
}

fn targets(targets: &ClusterTargets) -> String {
    let mut shown = targets.names.clone();
    if let Some(selector) = &targets.selector {
        if selector.match_labels.is_empty() {
            return "all".to_owned();
        }
        let labels: Vec<String> =
            selector.match_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        shown.push(labels.join("+"));
    }
    some(shown)
}

fn of_credential(spec: &CredentialSpec, now: Timestamp) -> [(&'static str, String); 4] {
    let expires = match spec.expires {
        None => "never".to_owned(),
        Some(at) if at <= now => "expired".to_owned(),
        Some(at) => format!("in {}", span(at.as_second() - now.as_second())),
    };
    [
        ("USER", spec.user.clone()),
        ("CLUSTERS", spec.clusters.clone().map_or_else(|| "all".to_owned(), some)),
        ("KIND", if spec.token_sha256.is_some() { "token" } else { "cert" }.to_owned()),
        ("EXPIRES", expires),
    ]
}

/// The first few of a list.
fn some(texts: Vec<String>) -> String {
    match texts.len().checked_sub(LISTED_MAX) {
        None | Some(0) if texts.is_empty() => "-".to_owned(),
        None | Some(0) => texts.join(","),
        Some(more) => format!("{} +{more}", texts.get(..LISTED_MAX).unwrap_or_default().join(",")),
    }
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn age(object: &Object, now: Timestamp) -> Option<String> {
    let created: Timestamp = object.metadata().creation_timestamp.as_deref()?.parse().ok()?;
    Some(span((now.as_second() - created.as_second()).max(0)))
}

/// Entries of a list shown in one cell.
const LISTED_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use hawser_policy::resources::parse_yaml;

    use super::*;

    fn row(spec: &str) -> String {
        let objects = parse_yaml(spec, "test").unwrap();
        let table = table(&objects, None, "2026-11-01T00:00:00Z".parse().unwrap());
        let cells: Vec<String> =
            table.header.iter().zip(&table.rows[0]).map(|(name, cell)| format!("{name}={cell}")).collect();
        cells.join(" ")
    }

    fn of(kind: &str, metadata: &str, spec: &str) -> String {
        row(&format!(
            "{{apiVersion: access.hawser.dev/v1, kind: {kind}, metadata: {metadata}, spec: {spec}}}"
        ))
    }

    #[test]
    fn every_kind_has_its_columns() {
        let annotated = "{name: a, annotations: {hawser.dev/loopback: 127.77.0.9}, \
                         creationTimestamp: 2026-10-31T21:30:00Z}";
        assert_eq!(of("Cluster", annotated, "{paused: true}"), "NAME=a ADDRESS=127.77.0.9 PAUSED=yes AGE=2h");
        assert_eq!(of("User", "{name: a}", "{email: a@b.c}"), "NAME=a DISPLAY NAME=- EMAIL=a@b.c AGE=-");
        assert_eq!(
            of("Group", "{name: g}", "{members: [{user: a}, {user: b}, {user: c}, {user: d}, {user: e}]}"),
            "NAME=g MEMBERS=a,b,c,d +1 AGE=-"
        );
        assert_eq!(
            of(
                "AccessRole",
                "{name: r}",
                "{rules: [{nonResourceURLs: [/x], verbs: [get]}], impersonate: {groups: [g]}}"
            ),
            "NAME=r RULES=1 IMPERSONATES=g AGE=-"
        );
    }

    #[test]
    fn a_policy_says_who_where_and_what() {
        let spec = "{subjects: {users: [u], groups: [g]}, clusters: {names: [c], selector: {matchLabels: {env: prod}}}, \
                    roles: [view], rules: [{apiGroups: [''], resources: [pods], verbs: [get]}], namespaces: [n-*]}";
        assert_eq!(
            of("AccessPolicy", "{name: p}", spec),
            "NAME=p EFFECT=Allow SUBJECTS=u,group:g CLUSTERS=c,env=prod ROLES=view,(1 of its own) NAMESPACES=n-* AGE=-"
        );
        let spec = "{effect: Deny, subjects: {users: [u]}, clusters: {selector: {}}}";
        assert_eq!(
            of("AccessPolicy", "{name: p}", spec),
            "NAME=p EFFECT=Deny SUBJECTS=u CLUSTERS=all ROLES=(the cluster's RBAC) NAMESPACES=all AGE=-"
        );
    }

    #[test]
    fn a_credential_shows_no_hash() {
        let hash = "0".repeat(64);
        let shown = of(
            "Credential",
            "{name: c}",
            &format!("{{user: a, tokenSha256: '{hash}', expires: 2026-11-03T00:00:00Z}}"),
        );
        assert_eq!(shown, "NAME=c USER=a CLUSTERS=all KIND=token EXPIRES=in 2d AGE=-");
        let shown =
            of("Credential", "{name: c}", "{user: a, clusters: [x, z], expires: 2026-11-01T00:00:00Z}");
        assert_eq!(shown, "NAME=c USER=a CLUSTERS=x,z KIND=cert EXPIRES=expired AGE=-");
    }

    #[test]
    fn lists_are_short() {
        let texts = |n: usize| (0..n).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(some(texts(0)), "-");
        assert_eq!(some(texts(LISTED_MAX)), "0,1,2,3");
        assert_eq!(some(texts(LISTED_MAX + 1)), "0,1,2,3 +1");
    }
}
