//! `hawser kubeconfig`: a static kubeconfig for plain kubectl and Helm.
//!
//! It carries an identity and no authority: the Credential it names is looked up at every request, and what the person
//! may do is what policies say at that moment. The secret exists in the printed text only.

use std::{collections::BTreeSet, fmt, path::PathBuf, time::Duration};

use anyhow::Context as _;
use hawser_identity::{Authorities, OpaqueToken, token};
use hawser_kube::{
    clock::{Clock as _, SystemClock},
    kubeconfig::{Kubeconfig, KubeconfigCluster, KubeconfigCredential},
};
use hawser_policy::resources::{
    Cluster, Credential, CredentialSpec, Group, GroupSpec, Member, Object, User, UserSpec,
};
use hawser_store::{Change, Key, Store, StoreError};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    cli::{Format, Kubeconfig as Options},
    data::{DataDir, PrivateFile, Settings},
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
    let cannot_write = |path: &PathBuf| format!("cannot write {}", path.display());
    let file = match &options.output {
        Some(path) => Some((PrivateFile::create(path).with_context(|| cannot_write(path))?, path)),
        None => None,
    };
    let made = edge.make(&options, SystemClock.wall()).await?;
    made.notes.iter().for_each(output::note);
    let Some((file, path)) = file else {
        output::raw(&made.text);
        output::note(made.credential);
        return Ok(());
    };
    if let Err(error) = file.write(&made.text) {
        // Nobody has it, so nobody needs it.
        edge.store.delete(&Key::new("Credential", "", &made.credential.id), None).await?;
        return Err(error).with_context(|| cannot_write(path));
    }
    match options.format {
        Format::Text => output::note(format_args!("wrote {}: {}", path.display(), made.credential)),
        Format::Json => output::line(serde_json::to_string_pretty(&Written {
            made: &made.credential,
            file: path.display().to_string(),
        })?),
    }
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
    credential: MadeCredential,
    notes: Vec<String>,
}

/// The credential in a kubeconfig, as it can be looked up and withdrawn.
#[derive(Serialize)]
struct MadeCredential {
    #[serde(rename = "credential")]
    id: String,
    user: String,
    expires: Timestamp,
}

impl fmt::Display for MadeCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "credential {}, good until {}", self.id, self.expires)
    }
}

/// `--format json`.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    made: &'a MadeCredential,
    file: String,
}

impl<A: std::ops::Deref<Target = Authorities>> Edge<A> {
    /// Judges everything, and then writes everything, in one transaction.
    async fn make(&self, options: &Options, now: Timestamp) -> anyhow::Result<Made> {
        for _ in 0..ATTEMPTS_MAX {
            let (made, changes) = self.prepare(options, now).await?;
            match self.store.transact(changes).await {
                Ok(_) => return Ok(made),
                // Others have made or changed it meanwhile.
                Err(
                    StoreError::AlreadyExists { .. }
                    | StoreError::Conflict { .. }
                    | StoreError::NotFound { .. },
                ) => {}
                Err(error) => return Err(error.into()),
            }
        }
        anyhow::bail!("the user or a group is being changed all the time; try again")
    }

    /// The kubeconfig, and what must be written for it to be worth something.
    async fn prepare(&self, options: &Options, now: Timestamp) -> anyhow::Result<(Made, Vec<Change>)> {
        let user = &options.user;
        let clusters = self.clusters(&options.cluster).await?;
        let servers = self.servers(&clusters, options.local)?;
        let mut changes = Vec::new();
        let person = objects::checked(Object::User(User::named(user, UserSpec::default())))?;
        if objects::find(&self.store, &Key::new("User", "", user)).await?.is_none() {
            changes.push(Change::Create(person.to_value()));
        }
        let groups = group_keys(&options.group)?;
        for group in &groups {
            changes.extend(joining(&self.store, group, user).await?);
        }
        let grants = Grants::of(&self.store, user, &groups).await?;
        let (credential, secret, change) = self.credential(options, now)?;
        changes.push(change);

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
        Ok((Made { text: file.to_yaml(), credential, notes }, changes))
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

    /// A new Credential, its secret, and the change that stores it.
    fn credential(
        &self,
        options: &Options,
        now: Timestamp,
    ) -> anyhow::Result<(MadeCredential, KubeconfigCredential, Change)> {
        let id = random_id();
        let (secret, token_sha256) = self.secret(options, &id, now)?;
        let (user, expires) = (options.user.clone(), end(now, options.expires)?);
        let spec = CredentialSpec {
            user: user.clone(),
            clusters: (!options.cluster.is_empty()).then(|| options.cluster.clone()),
            expires: Some(expires),
            token_sha256,
        };
        let credential = objects::checked(Object::Credential(Credential::named(&id, spec)))?;
        Ok((MadeCredential { id, user, expires }, secret, Change::Create(credential.to_value())))
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

/// The groups named, each once.
fn group_keys(named: &[String]) -> anyhow::Result<BTreeSet<Key>> {
    let kind = Kind::parse("Group")?;
    Ok(named.iter().map(|group| kind.key(group)).collect())
}

/// The change that makes the user a member of a group, if they are none.
async fn joining(store: &Store, group: &Key, user: &str) -> anyhow::Result<Option<Change>> {
    let member = Member { user: user.to_owned() };
    let Some(stored) = objects::find(store, group).await? else {
        let made = Object::Group(Group::in_system(group.name.clone(), GroupSpec { members: vec![member] }));
        return Ok(Some(Change::Create(objects::checked(made)?.to_value())));
    };
    let Object::Group(mut found) = objects::typed(stored)? else {
        anyhow::bail!("{group} in the store is not a group");
    };
    if found.spec.members.contains(&member) {
        return Ok(None);
    }
    found.spec.members.push(member);
    Ok(Some(Change::Update(Object::Group(found).to_value())))
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
