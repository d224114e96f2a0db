//! A fleet of 10,000 users, 100 clusters and 1,000 policies compiles and decides.

#![expect(clippy::print_stdout, reason = "the share allowed shows that the fleet is not idle")]

use hawser_kube::RequestAttributes;
use hawser_policy::resources::{
    AccessPolicySpec, Cluster, ClusterSpec, ClusterTargets, CredentialSpec, Effect, GroupSpec, Impersonate,
    LabelSelector, Member, Object, Resource, Subjects,
};
use hawser_policy::{Subject, compile};
use jiff::Timestamp;

const USERS: usize = 10_000;
const CLUSTERS: usize = 100;
const POLICIES: usize = 1_000;
const TEAMS: usize = 300;

fn user(at: usize) -> String {
    format!("user-{at}@example.com")
}

/// Every user is in three teams; a policy is for two teams on every tenth cluster, now and then for a user.
fn fleet() -> Vec<Object> {
    let mut objects = Vec::new();
    for at in 0..CLUSTERS {
        let mut cluster: Cluster = Resource::named(format!("c{at}"), ClusterSpec::default());
        cluster.metadata.labels.insert("shard".to_owned(), (at % 10).to_string());
        objects.push(Object::Cluster(cluster));
    }
    for at in 0..USERS {
        let spec = CredentialSpec { user: user(at), ..CredentialSpec::default() };
        objects.push(Object::Credential(Resource::named(format!("cred-{at}"), spec)));
    }
    for team in 0..TEAMS {
        let is_member = |at: &usize| [at % TEAMS, (at / 7) % TEAMS, (at / 31) % TEAMS].contains(&team);
        let members = (0..USERS).filter(is_member).map(|at| Member { user: user(at) }).collect();
        objects.push(Object::Group(Resource::in_system(format!("team-{team}"), GroupSpec { members })));
    }
    for at in 0..POLICIES {
        let shard = LabelSelector { match_labels: [("shard".to_owned(), (at % 10).to_string())].into() };
        let spec = AccessPolicySpec {
            effect: if at % 50 == 49 { Effect::Deny } else { Effect::Allow },
            subjects: Subjects {
                users: if at % 20 == 0 { vec![user(at)] } else { Vec::new() },
                groups: vec![format!("team-{}", at % TEAMS), format!("team-{}", (at * 7) % TEAMS)],
            },
            clusters: ClusterTargets { names: Vec::new(), selector: Some(shard) },
            roles: vec![["view", "edit", "admin"][at % 3].to_owned()],
            impersonate: Impersonate {
                groups: if at % 50 == 49 { Vec::new() } else { vec![format!("t{}", at % 40)] },
            },
            namespaces: vec![format!("team-{}-*", at % TEAMS)],
            ..AccessPolicySpec::default()
        };
        objects.push(Object::AccessPolicy(Resource::in_system(format!("p{at}"), spec)));
    }
    objects
}

#[test]
fn a_large_fleet_compiles_and_decides() {
    let objects = fleet();
    let table = compile(&objects, 1);
    assert!(table.warnings().is_empty(), "{:?}", table.warnings());
    let mut allowed = 0_usize;
    for at in 0..USERS {
        let target = format!("/api/v1/namespaces/team-{}-dev/pods", at % TEAMS);
        let attrs = RequestAttributes::parse("GET", &target).expect("target");
        let subject = Subject { user: user(at).into(), credential: format!("cred-{at}").into() };
        for cluster in (0..CLUSTERS).step_by(7) {
            let decision = table.authorize(&subject, &format!("c{cluster}"), &attrs, Timestamp::UNIX_EPOCH);
            allowed += usize::from(decision.is_ok());
        }
    }
    println!("{allowed} of {} allowed", USERS * CLUSTERS.div_ceil(7));
    assert!(allowed > 10_000, "{allowed}");
}
