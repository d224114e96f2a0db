//! `hawser kubeconfig`: a static kubeconfig for plain kubectl and Helm.
//!
//! It carries an identity and no authority: the Credential it names is looked up at every request, and what the person
//! may do is what policies say at that moment. The secret exists in the printed text only.

use std::time::Duration;

use anyhow::Context as _;
use hawser_identity::{Authorities, OpaqueToken, token};
use hawser_kube::{
    clock::{Clock as _, SystemClock},
    kubeconfig::{Kubeconfig, KubeconfigCluster, KubeconfigCredential},
};
use hawser_policy::resources::{
    Cluster, Credential, CredentialSpec, Group, GroupSpec, Member, Object, User, UserSpec,
};
use hawser_store::{Key, Store, StoreError};
use jiff::{SignedDuration, Timestamp};

use crate::{
    cli::Kubeconfig as Options,
    data::{DataDir, Settings, write_private},
    objects::{self, Kind},
    output,
};

mod grants;
pub(crate) mod server;

use grants::Grants;
use server::Server;

/// `hawser kubeconfig`.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let data = DataDir::existing(&options.data.data_dir)?;
    let edge = Edge { store: data.store()?, authorities: data.authorities()?, settings: data.settings()? };
    let made = edge.make(&options, SystemClock.wall()).await?;
    made.notes.iter().for_each(output::note);
    let Some(path) = &options.output else {
        output::raw(&made.text);
        return Ok(());
    };
    if let Err(error) = write_private(path, &made.text) {
        // Nobody has it, so nobody needs it.
        edge.store.delete(&Key::new("Credential", "", &made.credential), None).await?;
        return Err(error).with_context(|| format!("cannot write {}", path.display()));
    }
    output::note(format_args!("wrote {} (credential {})", path.display(), made.credential));
    Ok(())
}

/// What a kubeconfig is made from.
struct Edge<A> {
    store: Store,
    authorities: A,
    settings: Settings,
}

/// A kubeconfig, and what the user should know beside it.
struct Made {
    text: String,
    /// Id of the credential in it.
    credential: String,
    notes: Vec<String>,
}

impl<A: std::ops::Deref<Target = Authorities>> Edge<A> {
    async fn make(&self, options: &Options, now: Timestamp) -> anyhow::Result<Made> {
        let user = &options.user;
        let person = objects::checked(Object::User(User::named(user, UserSpec::default())))?;
        let clusters = self.clusters(&options.cluster).await?;
        let servers = self.servers(&clusters, options.local)?;
        for group in &options.group {
            objects::checked(group_of(group, user))?;
        }
        match self.store.create(person.to_value()).await {
            Ok(_) | Err(StoreError::AlreadyExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        for group in &options.group {
            join(&self.store, group, user).await?;
        }
        let grants = Grants::of(&self.store, user).await?;
        let (credential, secret) = self.credential(options, now).await?;

        let names = context_names(&clusters);
        let ca_pem = self.authorities.serving.bundle().pem();
        let context = |((cluster, server), name): ((&Cluster, Server), String)| KubeconfigCluster {
            name,
            server: server.url,
            ca_pem: ca_pem.clone(),
            tls_server_name: server.tls_name,
            namespace: grants.only_namespace(cluster),
        };
        let contexts: Vec<_> = clusters.iter().zip(servers).zip(names).map(context).collect();
        let notes = self.notes(&contexts, &clusters, &grants, options);
        let current = contexts.first().map(|context| context.name.clone());
        let file = Kubeconfig { clusters: contexts, user: user.clone(), credential: secret, current };
        Ok(Made { text: file.to_yaml(), credential, notes })
    }

    /// The clusters asked for, in that order; all there are if none is named.
    async fn clusters(&self, asked: &[String]) -> anyhow::Result<Vec<Cluster>> {
        let is_cluster = |object| if let Object::Cluster(cluster) = object { Some(cluster) } else { None };
        let all: Vec<Cluster> =
            objects::list(&self.store, "Cluster").await?.into_iter().filter_map(is_cluster).collect();
        if all.is_empty() {
            anyhow::bail!(
                "there is no cluster yet; bring one in with `hawser import NAME | kubectl apply -f -`"
            );
        }
        if asked.is_empty() {
            return Ok(all);
        }
        let mut chosen: Vec<Cluster> = Vec::new();
        for name in asked {
            let Some(cluster) = all.iter().find(|cluster| cluster.metadata.name == *name) else {
                let names: Vec<&str> = all.iter().map(|cluster| cluster.metadata.name.as_str()).collect();
                anyhow::bail!("there is no cluster {name}; there are {}", names.join(", "));
            };
            if !chosen.iter().any(|earlier| earlier.metadata.name == *name) {
                chosen.push(cluster.clone());
            }
        }
        Ok(chosen)
    }

    fn servers(&self, clusters: &[Cluster], local: bool) -> anyhow::Result<Vec<Server>> {
        let server = |cluster: &Cluster| {
            Server::of(cluster, &self.settings, local).with_context(|| {
                let name = &cluster.metadata.name;
                format!("cluster {name} has no loopback address; delete it and bring it in again")
            })
        };
        clusters.iter().map(server).collect()
    }

    /// A new Credential, stored, and its secret.
    async fn credential(
        &self,
        options: &Options,
        now: Timestamp,
    ) -> anyhow::Result<(String, KubeconfigCredential)> {
        let clusters = (!options.cluster.is_empty()).then(|| options.cluster.clone());
        for _ in 0..ATTEMPTS_MAX {
            let id = random_id();
            let (secret, token_sha256) = self.secret(options, &id, now)?;
            let spec = CredentialSpec {
                user: options.user.clone(),
                clusters: clusters.clone(),
                expires: Some(end(now, options.expires)?),
                token_sha256,
            };
            let credential = objects::checked(Object::Credential(Credential::named(&id, spec)))?;
            match self.store.create(credential.to_value()).await {
                Ok(_) => return Ok((id, secret)),
                Err(StoreError::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        anyhow::bail!("found no free credential name")
    }

    fn secret(
        &self,
        options: &Options,
        id: &str,
        now: Timestamp,
    ) -> anyhow::Result<(KubeconfigCredential, Option<String>)> {
        if options.token {
            let OpaqueToken { text, sha256 } = OpaqueToken::mint(id)?;
            return Ok((KubeconfigCredential::Token(text), Some(token::hex(&sha256))));
        }
        let pem = self.authorities.clients.issue_client(&options.user, id, options.expires, now)?;
        Ok((KubeconfigCredential::Certificate { cert_pem: pem.cert_pem, key_pem: pem.key_pem }, None))
    }

    fn notes(
        &self,
        contexts: &[KubeconfigCluster],
        clusters: &[Cluster],
        grants: &Grants,
        options: &Options,
    ) -> Vec<String> {
        let mut notes = Vec::new();
        if contexts.len() > 1 && !options.local && self.settings.address().is_some() {
            notes.push(
                "note: all clusters have the same URL, because the edge is advertised by address; kubectl mixes up what \
                 it remembers of their APIs. Advertise a DNS name, or make one kubeconfig per cluster and give each \
                 kubectl a --cache-dir of its own"
                    .to_owned(),
            );
        }
        if !clusters.iter().any(|cluster| grants.reach(cluster)) {
            notes.push(format!(
                "note: no policy grants {} anything here yet; until one does, requests are denied",
                options.user
            ));
        }
        notes
    }
}

/// Makes the user a member, however often others change the group meanwhile.
async fn join(store: &Store, group: &str, user: &str) -> anyhow::Result<()> {
    let key = Kind::parse("Group")?.key(group);
    for _ in 0..ATTEMPTS_MAX {
        let written = match objects::find(store, &key).await? {
            None => store.create(group_of(group, user).to_value()).await,
            Some(stored) => {
                let Object::Group(mut found) = objects::typed(stored)? else {
                    anyhow::bail!("{key} in the store is not a group");
                };
                if found.spec.members.iter().any(|member| member.user == user) {
                    return Ok(());
                }
                found.spec.members.push(Member { user: user.to_owned() });
                store.update(Object::Group(found).to_value()).await
            }
        };
        match written {
            Ok(_) => return Ok(()),
            Err(
                StoreError::AlreadyExists { .. } | StoreError::Conflict { .. } | StoreError::NotFound { .. },
            ) => {}
            Err(error) => return Err(error.into()),
        }
    }
    anyhow::bail!("group {group} is being changed all the time; try again")
}

/// The group with this one member.
fn group_of(group: &str, user: &str) -> Object {
    let plain = Kind::parse("Group").map_or_else(|_| group.to_owned(), |kind| kind.key(group).name);
    Object::Group(Group::in_system(plain, GroupSpec { members: vec![Member { user: user.to_owned() }] }))
}

/// The name of each cluster's context: its `contextName`, unless another cluster goes by that.
fn context_names(clusters: &[Cluster]) -> Vec<String> {
    let goes_by = |cluster: &Cluster, name: &str| {
        cluster.metadata.name == name || cluster.spec.context_name.as_deref() == Some(name)
    };
    let name = |cluster: &Cluster| {
        let own = &cluster.metadata.name;
        let others = |name: &str| clusters.iter().any(|it| it.metadata.name != *own && goes_by(it, name));
        let wanted = cluster.spec.context_name.as_ref().filter(|name| !others(name));
        wanted.unwrap_or(own).clone()
    };
    clusters.iter().map(name).collect()
}

/// Whole seconds, as people read them in `hawser get credentials`.
fn end(now: Timestamp, lifetime: Duration) -> anyhow::Result<Timestamp> {
    let end = now.checked_add(SignedDuration::try_from(lifetime)?)?;
    Ok(Timestamp::from_second(end.as_second())?)
}

fn random_id() -> String {
    let mut id = uuid::Uuid::new_v4().simple().to_string();
    id.truncate(ID_CHARS);
    format!("c-{id}")
}

/// How often something is tried again that others got in the way of.
const ATTEMPTS_MAX: usize = 32;

/// Random hex digits in a credential's name.
const ID_CHARS: usize = 12;

#[cfg(test)]
mod tests;
