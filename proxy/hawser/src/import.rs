//! `hawser import`: the manifest that brings a cluster in with one `kubectl apply`.
//!
//! The join token in it is the only secret; it is good for one cluster, or with `--reusable` for all whose name fits.
//! Every value is checked against what its place in the YAML can hold before it is put there.

use std::{io::IsTerminal as _, sync::Arc};

use anyhow::Context as _;
use hawser_edge::{Enrolment, Keys, Refusals, ensure_cluster};
use hawser_kube::clock::{Clock as _, SystemClock};
use hawser_policy::resources::{Cluster, ClusterSpec, Object};
use jiff::{SignedDuration, Timestamp};

use crate::{
    agent_image::ImageName,
    cli::Import,
    data::{DataDir, Settings},
    objects, output,
};

/// `hawser import`.
pub(crate) async fn run(options: Import) -> anyhow::Result<()> {
    check_name(&options.cluster, options.reusable)?;
    let image = ImageName::parse(&options.image).context("--image")?;
    let data = DataDir::existing(&options.data.data_dir)?;
    let (store, settings) = (data.store()?, data.settings()?);
    let keys = Keys::new(data.authorities()?);
    let mut spec = ClusterSpec::default();
    if !options.reusable
        && let Object::Cluster(cluster) = objects::typed(ensure_cluster(&store, &options.cluster).await?)?
    {
        spec = cluster.spec;
    }
    let enrolment = Enrolment { store, keys, clock: Arc::new(SystemClock), refusals: Refusals::default() };
    let expires = expiry(SystemClock.wall(), &options)?;
    let edges = vec![settings.agent_address()];
    let token = enrolment.invite(&options.cluster, options.reusable, options.replace, expires, edges).await?;
    let pattern = is_pattern(&options.cluster);
    let manifest = Manifest {
        token: &token,
        image: &image,
        // No cluster has this name, so an agent that nobody named says so, before it asks for anything.
        cluster: if pattern { "" } else { &options.cluster },
        user_prefix: spec.user_prefix(),
        cluster_admin: options.grant.is_some(),
    };
    output::raw(&manifest.render()?);
    for hint in hints(&options, &settings, std::io::stdout().is_terminal()) {
        output::note(format_args!("# {hint}"));
    }
    Ok(())
}

/// What is put into `agent.yaml`.
struct Manifest<'a> {
    token: &'a str,
    image: &'a ImageName,
    cluster: &'a str,
    user_prefix: &'a str,
    cluster_admin: bool,
}

impl Manifest<'_> {
    fn render(&self) -> anyhow::Result<String> {
        let grants = || GRANTS.iter().filter(|grant| self.cluster_admin || grant.role != CLUSTER_ADMIN);
        let groups: Vec<String> = grants().map(|grant| format!("\"{}\"", grant.group)).collect();
        let bindings: String = grants().map(Grant::binding).collect();
        let image = self.image.to_string();
        for (what, value) in [
            ("join token", self.token),
            ("--image", &image),
            ("cluster's name", self.cluster),
            ("cluster's userPrefix", self.user_prefix),
        ] {
            anyhow::ensure!(
                is_plain(value),
                "{what} {value:?} cannot stand in the manifest: only letters, digits and -._:/@ can"
            );
        }
        Ok(TEMPLATE
            .replace("{token}", self.token)
            .replace("{image}", &image)
            .replace("{pull_policy}", self.image.pull_policy())
            .replace("{cluster}", self.cluster)
            .replace("{user_prefix}", self.user_prefix)
            .replace("{groups}", &groups.join(", "))
            .replace("{bindings}", &bindings))
    }
}

/// A group that policies give, and what it may do in the cluster.
struct Grant {
    group: &'static str,
    role: &'static str,
}

impl Grant {
    fn binding(&self) -> String {
        let Self { group, role } = self;
        let name = group.replace(':', "-");
        format!(
            "---\n\
             apiVersion: rbac.authorization.k8s.io/v1\n\
             kind: ClusterRoleBinding\n\
             metadata:\n  name: {name}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}\n\
             subjects:\n  - {{apiGroup: rbac.authorization.k8s.io, kind: Group, name: \"{group}\"}}\n"
        )
    }
}

fn check_name(name: &str, reusable: bool) -> anyhow::Result<()> {
    // A pattern is right if a name can come of it.
    let example = if reusable { name.replace('*', "x") } else { name.to_owned() };
    match objects::checked(Object::Cluster(Cluster::named(example, ClusterSpec::default()))) {
        Ok(_) => Ok(()),
        Err(_) if is_pattern(name) && !reusable => {
            anyhow::bail!(
                "{name:?} is a pattern; a token for all clusters whose name fits is made with --reusable"
            )
        }
        Err(error) => Err(error.context(format!("{name:?} cannot name a cluster"))),
    }
}

fn is_pattern(name: &str) -> bool {
    name.contains('*')
}

fn expiry(now: Timestamp, options: &Import) -> anyhow::Result<Timestamp> {
    Ok(now.checked_add(SignedDuration::try_from(options.expires)?)?)
}

fn hints(options: &Import, settings: &Settings, terminal: bool) -> Vec<String> {
    let mut hints = Vec::new();
    if terminal {
        hints.push(format!(
            "to bring the cluster in: hawser import {} | kubectl --context THAT-CLUSTER apply -f -",
            options.cluster
        ));
    }
    if is_pattern(&options.cluster) {
        hints.push(format!(
            "set HAWSER_CLUSTER in the Deployment to the name of each cluster; names must fit {}",
            options.cluster
        ));
    }
    if settings.advertise.is_none() {
        hints.push(format!(
            "agents will dial {} (UDP), because the edge runs without --advertise",
            settings.agent_address()
        ));
    }
    hints
}

/// Can it stand between double quotes in YAML as it is?
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:/@".contains(&byte))
}

/// With placeholders in braces, see [`Manifest::render`].
const TEMPLATE: &str = include_str!("../../../deploy/agent.yaml");

/// The groups of the built-in roles and the ClusterRoles they are bound to.
const GRANTS: [Grant; 5] = [
    Grant { group: "hawser:view", role: "view" },
    Grant { group: "hawser:edit", role: "edit" },
    Grant { group: "hawser:admin", role: "admin" },
    Grant { group: "hawser:shell", role: "hawser-shell" },
    Grant { group: "hawser:cluster-admin", role: CLUSTER_ADMIN },
];

/// Bound on request only.
const CLUSTER_ADMIN: &str = "cluster-admin";

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, path::PathBuf, time::Duration};

    use hawser_policy::{compile, resources::parse_yaml};
    use serde_json::Value;

    use super::*;

    fn rendered(cluster_admin: bool, image: &str) -> Vec<Value> {
        let image = ImageName::parse(image).unwrap();
        let manifest = Manifest {
            token: "hwj1.abc-_9",
            image: &image,
            cluster: "prod-eu",
            user_prefix: "corp:",
            cluster_admin,
        };
        serde_saphyr::from_multiple(&manifest.render().unwrap()).unwrap()
    }

    fn named<'a>(documents: &'a [Value], kind: &str, name: &str) -> Option<&'a Value> {
        documents.iter().find(|it| it["kind"] == kind && it["metadata"]["name"] == name)
    }

    #[test]
    fn the_manifest_holds_what_the_agent_needs() {
        let documents = rendered(false, "hawser.local/agent:1");
        let kinds: Vec<&str> = documents.iter().map(|it| it["kind"].as_str().unwrap()).collect();
        assert_eq!(
            kinds,
            [
                "Namespace",
                "ServiceAccount",
                "Secret",
                "ClusterRole",
                "ClusterRoleBinding",
                "Role",
                "RoleBinding",
                "ClusterRole",
                "ClusterRoleBinding",
                "ClusterRoleBinding",
                "ClusterRoleBinding",
                "ClusterRoleBinding",
                "PodDisruptionBudget",
                "Deployment",
            ]
        );
        assert_eq!(named(&documents, "Secret", "hawser-join").unwrap()["stringData"]["token"], "hwj1.abc-_9");
        let deployment = named(&documents, "Deployment", "hawser-agent").unwrap();
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], "hawser.local/agent:1");
        assert_eq!(container["imagePullPolicy"], "Never");
        assert_eq!(container["env"][0]["value"], "prod-eu");
        assert!(!documents.iter().any(|it| it.to_string().contains("cluster-admin")));
    }

    #[test]
    fn groups_are_bound_and_may_be_impersonated() {
        for (cluster_admin, roles) in [
            (false, vec!["view", "edit", "admin", "shell"]),
            (true, vec!["view", "edit", "admin", "shell", "cluster-admin"]),
        ] {
            let documents = rendered(cluster_admin, "a/b:1");
            let groups: Vec<String> = roles.iter().map(|role| format!("hawser:{role}")).collect();
            let agent = named(&documents, "ClusterRole", "hawser-agent").unwrap();
            assert_eq!(agent["rules"][1]["resourceNames"], serde_json::json!(groups));
            for role in &roles {
                let binding = named(&documents, "ClusterRoleBinding", &format!("hawser-{role}")).unwrap();
                let bound = if *role == "shell" { "hawser-shell" } else { *role };
                assert_eq!(binding["roleRef"]["name"], bound);
                assert_eq!(binding["subjects"][0]["name"], format!("hawser:{role}"));
            }
        }
    }

    /// The groups that the built-in roles carry are those that a manifest binds.
    #[test]
    fn policies_give_groups_that_are_bound() {
        use hawser_kube::request_info::RequestAttributes;
        use hawser_policy::Subject;
        let policy = "{apiVersion: access.hawser.dev/v1, kind: AccessPolicy, metadata: {name: p}, spec: {subjects: \
                      {users: [ana]}, clusters: {names: [a]}, roles: [view, edit, admin, shell, cluster-admin]}}\n---\n\
                      {apiVersion: access.hawser.dev/v1, kind: Cluster, metadata: {name: a}}\n---\n\
                      {apiVersion: access.hawser.dev/v1, kind: Credential, metadata: {name: c}, spec: {user: ana}}";
        let table = compile(&parse_yaml(policy, "test").unwrap(), 1);
        let subject = Subject { user: "ana".into(), credential: "c".into() };
        let asked = RequestAttributes::parse("GET", "/version").unwrap();
        let permit = table.authorize(&subject, "a", &asked, SystemClock.wall()).unwrap();
        let mut given: Vec<&str> = permit.groups().iter().map(AsRef::as_ref).collect();
        let mut bound: Vec<&str> = GRANTS.iter().map(|grant| grant.group).collect();
        given.sort_unstable();
        bound.sort_unstable();
        assert_eq!(given, bound);
    }

    #[test]
    fn nothing_breaks_out_of_its_place() {
        let image = ImageName::parse("a/b:1").unwrap();
        for bad in ["x\"", "x\ny", "x y", "{image}", "x\\", "é"] {
            let token =
                Manifest { token: bad, image: &image, cluster: "a", user_prefix: "", cluster_admin: false };
            let cluster =
                Manifest { token: "t", image: &image, cluster: bad, user_prefix: "", cluster_admin: false };
            assert!(token.render().is_err() && cluster.render().is_err(), "{bad:?}");
        }
        let manifest =
            Manifest { token: "t", image: &image, cluster: "a", user_prefix: "", cluster_admin: false };
        for placeholder in
            ["{token}", "{image}", "{pull_policy}", "{cluster}", "{user_prefix}", "{groups}", "{bindings}"]
        {
            assert!(TEMPLATE.contains(placeholder) && !manifest.render().unwrap().contains(placeholder));
        }
    }

    #[test]
    fn the_agent_is_told_its_users_prefix() {
        let documents = rendered(false, "registry.example.com/hawser:1");
        let text = serde_json::to_string(&documents).unwrap();
        assert!(text.contains(r#"{"name":"HAWSER_USER_PREFIX","value":"corp:"}"#), "{text}");
    }

    #[test]
    fn names_and_patterns() {
        for (name, reusable) in
            [("prod-eu", false), ("prod-eu", true), ("*", true), ("prod-*", true), ("*-eu-*", true)]
        {
            check_name(name, reusable).unwrap();
        }
        for (name, reusable) in [
            ("", false),
            ("hawser", false),
            ("hawser-api", true),
            ("Prod", false),
            ("a.b", false),
            ("-*", true),
            ("a_*", true),
        ] {
            assert!(check_name(name, reusable).is_err(), "{name}");
        }
        assert!(check_name("prod-*", false).unwrap_err().to_string().contains("--reusable"));
    }

    #[test]
    fn hints_come_where_they_help() {
        let options = |cluster: &str| Import {
            cluster: cluster.to_owned(),
            data: crate::cli::Data { data_dir: PathBuf::from("unused") },
            image: "a:1".to_owned(),
            expires: Duration::ZERO,
            reusable: false,
            replace: false,
            grant: None,
        };
        let settings = |advertise: Option<&str>| Settings {
            pid: 1,
            port: 8443,
            advertise: advertise.map(str::to_owned),
            health: SocketAddr::from(([127, 0, 0, 1], 1)),
        };
        let name = Some("edge.example.com");
        assert!(hints(&options("a"), &settings(name), false).is_empty());
        assert!(hints(&options("a"), &settings(name), true)[0].contains("kubectl"));
        assert!(hints(&options("a-*"), &settings(name), false)[0].contains("HAWSER_CLUSTER"));
        assert!(hints(&options("a"), &settings(None), false)[0].contains("--advertise"));
    }
}
