//! What changes while an edge runs: the configuration file and the keys, on SIGHUP or when a file has changed. Each is
//! taken whole or not at all; what is refused leaves everything as it was, and the log says why.

use std::{
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use hawser_edge::{Config, Shared};
use hawser_identity::Authorities;
use rustls::ServerConfig;
use tokio::{signal::unix::Signal, sync::watch};

use crate::{cli::Up, config::EdgeConfig, data::DataDir, serve::link_tls};

/// Keeps a running edge's configuration and keys current.
pub(crate) struct Reload {
    flags: Up,
    /// In force.
    config: EdgeConfig,
    file: Watched,
    data: DataDir,
    keys: Watched,
    shared: Arc<Shared>,
    /// TLS of agents' links.
    link: watch::Sender<Arc<ServerConfig>>,
    /// Tells whoever issues certificates to do it anew.
    renew: watch::Sender<()>,
    renewed: Instant,
}

impl Reload {
    /// The keeper, and what tells that certificates are to be issued anew.
    pub(crate) fn new(
        flags: Up,
        config: EdgeConfig,
        file: Watched,
        data: DataDir,
        shared: Arc<Shared>,
        link: watch::Sender<Arc<ServerConfig>>,
    ) -> (Self, watch::Receiver<()>) {
        let (renew, told) = watch::channel(());
        let (keys, renewed) = (Watched::new(data.key_files()), shared.clock.now());
        (Self { flags, config, file, data, keys, shared, link, renew, renewed }, told)
    }

    /// Never ends.
    pub(crate) async fn follow(mut self, mut hangup: Signal) {
        loop {
            tokio::select! {
                Some(()) = hangup.recv() => {
                    self.file.mark();
                    self.keys.mark();
                    self.read_config();
                    self.read_keys();
                }
                () = tokio::time::sleep(LOOK_EVERY) => {
                    if self.file.changed() {
                        self.read_config();
                    }
                    if self.keys.changed() {
                        self.read_keys();
                    }
                    if self.shared.clock.now().duration_since(self.renewed) >= RENEW_EVERY {
                        self.renew();
                    }
                }
            }
        }
    }

    fn read_config(&mut self) {
        let next = match EdgeConfig::read(&self.flags) {
            Ok(next) => next,
            Err(faults) => {
                for fault in faults.0 {
                    tracing::error!(%fault, "configuration refused; the one before stays in force");
                }
                return;
            }
        };
        for (before, after) in self.config.entries().into_iter().zip(next.entries()) {
            let (key, from, to) = (&after.key, &before.value, &after.value);
            if from == to {
                continue;
            }
            if after.live {
                tracing::info!(key, %from, %to, "configuration changed, for new connections");
            } else {
                tracing::warn!(key, %from, %to, "this change takes a restart of the edge");
            }
        }
        self.config.take_live(next);
        let in_force = self.shared.config.current();
        self.shared.config.publish(Config {
            agent_certificate: self.config.agent_certificate,
            audit_request_received: self.config.audit.request_received,
            drain_timeout: self.config.drain_timeout,
            limits: self.config.limits.clone(),
            ..Config::clone(&in_force)
        });
        tracing::info!("configuration read");
    }

    fn read_keys(&mut self) {
        match self.usable_keys() {
            Ok((authorities, link)) => {
                self.shared.keys.publish(authorities);
                self.show(link);
                tracing::info!("keys read; certificates are issued anew");
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "keys refused; those before stay in force");
            }
        }
    }

    /// All of the keys, and the proof that the one that signs for the edge still can.
    fn usable_keys(&self) -> anyhow::Result<(Arc<Authorities>, Arc<ServerConfig>)> {
        let (authorities, now) = (self.data.authorities_again()?, self.shared.clock.wall());
        for (name, authority) in [("clients", &authorities.clients), ("agents", &authorities.agents)] {
            let ends = authority.ends();
            anyhow::ensure!(ends > now, "the {name} authority ended at {ends}: write one that has not");
        }
        let link = link_tls(&authorities, &self.shared.clock)?;
        Ok((authorities, link))
    }

    /// New certificates by the keys in force, long before the old ones end.
    fn renew(&mut self) {
        match link_tls(&self.shared.keys.current(), &self.shared.clock) {
            Ok(link) => self.show(link),
            Err(error) => tracing::error!(%error, "certificates cannot be renewed"),
        }
    }

    fn show(&mut self, link: Arc<ServerConfig>) {
        self.link.send_replace(link);
        self.renew.send_replace(());
        self.renewed = self.shared.clock.now();
    }
}

/// Files whose changes are looked for.
pub(crate) struct Watched {
    paths: Vec<PathBuf>,
    read: Stamps,
    seen: Stamps,
}

/// Of each file: device, inode, length, time of change; `None` where there is none.
type Stamps = Vec<Option<(u64, u64, u64, i64, i64)>>;

impl Watched {
    /// Looks at the files as they are; to be called before they are read.
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        let now = stamps(&paths);
        Self { paths, read: now.clone(), seen: now }
    }

    /// The files are about to be read.
    fn mark(&mut self) {
        self.seen = stamps(&self.paths);
        self.read.clone_from(&self.seen);
    }

    /// Have the files changed since they were read, and are they left alone by now? One that is just being written could
    /// be half of what was meant, and valid.
    fn changed(&mut self) -> bool {
        let now = stamps(&self.paths);
        let settled = now == self.seen && now != self.read;
        self.seen = now;
        if settled {
            self.read.clone_from(&self.seen);
        }
        settled
    }
}

fn stamps(paths: &[PathBuf]) -> Stamps {
    let stamp = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
    };
    paths.iter().map(stamp).collect()
}

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often certificates that the edge shows are issued anew.
const RENEW_EVERY: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.yaml");
        let mut watched = Watched::new(vec![path.clone()]);
        assert!(!watched.changed(), "nothing there, as before");
        std::fs::write(&path, "log: ").unwrap();
        assert!(!watched.changed(), "perhaps still being written");
        std::fs::write(&path, "log: text").unwrap();
        assert!(!watched.changed());
        assert!(watched.changed());
        assert!(!watched.changed(), "once");
        std::fs::remove_file(&path).unwrap();
        assert!(!watched.changed());
        assert!(watched.changed(), "gone is a change too");
        std::fs::write(&path, "log: json").unwrap();
        watched.mark();
        assert!(!watched.changed() && !watched.changed(), "read at a signal");
    }
}
