//! The command line. Exit codes: 0 done, 1 failed, 2 wrong usage (clap's own), 3 `status`: not everything is connected,
//! or no edge answers.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::{agent, agent_image, config, import, kubeconfig, logging, objects, output, serve, status};

/// Access to Kubernetes clusters that nobody can reach from outside.
///
/// An edge runs where people can reach it (`hawser up`); an agent in each cluster dials out to it (`hawser import`);
/// people use plain kubectl and Helm with the kubeconfig that `hawser kubeconfig` makes for them.
///
/// A first tour, on the edge's machine:
///
///   hawser up --advertise edge.example.com
///   hawser import prod-eu | kubectl apply -f -
///   hawser apply -f policies.yaml
///   hawser kubeconfig alice@example.com --group developers --output alice.kubeconfig
///   hawser status
#[derive(Parser)]
#[command(
    name = "hawser",
    version,
    verbatim_doc_comment,
    max_term_width = 110,
    after_help = EXIT_CODES
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run an edge with its embedded store; makes keys and data on the first start
    #[command(visible_alias = "edge")]
    Up(Up),
    /// Run the agent of a cluster (the import manifest starts it; not for humans)
    Agent(agent::Options),
    /// Write the agent's container image (an archive for `ctr images import` or `docker load`)
    AgentImage(AgentImage),
    /// Print the manifest that brings a cluster in: `hawser import NAME | kubectl apply -f -`
    Import(Import),
    /// Make a kubeconfig for a person: plain kubectl and Helm, no plugin
    Kubeconfig(Kubeconfig),
    /// Create or change resources from a file: all of them, in one transaction, or none
    Apply(File),
    /// Show resources
    Get(Get),
    /// Delete a resource; what it granted ends within a moment. A cluster goes with all that is remembered of it:
    /// its agents' links end at once, join tokens for its name alone are void, and any cluster may take the name
    Delete(Delete),
    /// Check a file without changing anything
    Check(Check),
    /// Show clusters and their connections
    #[command(after_help = EXIT_CODES)]
    Status(Status),
    /// Show the version
    Version(Version),
    /// Print the reference of the configuration file, as in docs/configuration.md
    #[command(hide = true)]
    ConfigReference,
    /// Print the completion script of a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Where the edge keeps its data.
#[derive(Args, Clone)]
pub(crate) struct Data {
    /// Folder with store, keys and audit log
    #[arg(long, env = "HAWSER_DATA_DIR", default_value = "/var/lib/hawser", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
}

/// How a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For scripts
    Json,
}

#[derive(Args)]
pub(crate) struct Up {
    /// Configuration file (YAML); flags have the last word. It is read again when it changes and on SIGHUP. Every key
    /// is in docs/configuration.md
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Only say whether configuration file and flags are valid; exit code 1 if not
    #[arg(long)]
    pub(crate) check: bool,
    /// Folder with store, keys and audit log [default: /var/lib/hawser]
    #[arg(long, env = "HAWSER_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address for clients (TCP) and agents (UDP) [default: [::]:8443]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Name or address under which clients and agents reach this edge. A name needs a DNS entry for it and a wildcard
    /// below it (clusters are CLUSTER.NAME). Without it, clusters have loopback addresses on this machine only
    #[arg(long, value_name = "NAME-OR-IP", value_parser = config::advertised)]
    pub(crate) advertise: Option<String>,
    /// Address of metrics and health [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) health: Option<SocketAddr>,
    /// Workers; by default one per core
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    /// What happens when the audit log cannot keep up: refuse requests, or go on and count the losses [default: refuse]
    #[arg(long, value_enum)]
    pub(crate) on_audit_full: Option<OnAuditFull>,
    /// Also write RequestReceived events
    #[arg(long)]
    pub(crate) audit_request_received: bool,
    /// How long running requests may go on after SIGTERM [default: 30s]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub(crate) drain_timeout: Option<Duration>,
    /// How logs look [default: text]
    #[arg(long, value_enum)]
    pub(crate) log: Option<Format>,
    #[command(flatten)]
    pub(crate) log_filter: logging::Filter,
}

/// See `--on-audit-full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnAuditFull {
    /// Answer 503 until there is room
    Refuse,
    /// Go on; losses are counted in metrics
    Count,
}

#[derive(Args)]
pub(crate) struct AgentImage {
    /// Where to write the archive; `-` for standard output
    #[arg(long, short, default_value = "-", value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Name of the image in the archive
    #[arg(long, default_value_t = agent_image::default_tag(), value_name = "NAME:TAG")]
    pub(crate) tag: String,
}

#[derive(Args)]
pub(crate) struct Import {
    /// Name of the cluster: lower-case letters, digits and `-`; becomes part of its host name
    pub(crate) cluster: String,
    #[command(flatten)]
    pub(crate) data: Data,
    /// Image of the agent
    #[arg(long, default_value_t = agent_image::default_tag(), value_name = "NAME:TAG")]
    pub(crate) image: String,
    /// How long the join token in the manifest is good for
    #[arg(long, default_value = "24h", value_parser = lifetime, value_name = "DURATION")]
    pub(crate) expires: Duration,
    /// The token is good for every cluster whose name fits CLUSTER, which may hold `*` (provisioned fleets set
    /// HAWSER_CLUSTER in the Deployment themselves)
    #[arg(long)]
    pub(crate) reusable: bool,
    /// Take the name over from another cluster
    #[arg(long)]
    pub(crate) replace: bool,
    /// Bind the group hawser:cluster-admin too, so that policies can grant everything in this cluster
    #[arg(long, value_parser = ["cluster-admin"], value_name = "ROLE")]
    pub(crate) grant: Option<String>,
}

#[derive(Args)]
pub(crate) struct Kubeconfig {
    /// The person
    pub(crate) user: String,
    #[command(flatten)]
    pub(crate) data: Data,
    /// Make the person a member of this group (may be repeated)
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Vec<String>,
    /// Only these clusters (may be repeated); by default all there are
    #[arg(long, value_name = "CLUSTER")]
    pub(crate) cluster: Vec<String>,
    /// When the credential ends by itself
    #[arg(long, default_value = "720h", value_parser = lifetime, value_name = "DURATION")]
    pub(crate) expires: Duration,
    /// A bearer token in place of a client certificate
    #[arg(long)]
    pub(crate) token: bool,
    /// Write the file (mode 0600) in place of standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// How to tell the credential's id and end when FILE is written: on standard error, or as JSON on standard output
    #[arg(long, value_enum, default_value = "text", requires = "output")]
    pub(crate) format: Format,
    /// Use the loopback addresses of this machine even if the edge is advertised
    #[arg(long)]
    pub(crate) local: bool,
}

#[derive(Args)]
pub(crate) struct File {
    /// YAML file of at most 64 MiB: any number of documents, each a resource or a `v1 List` of them (what `get` prints);
    /// `-` for standard input
    #[arg(long, short)]
    pub(crate) filename: PathBuf,
    #[command(flatten)]
    pub(crate) data: Data,
    /// How to print
    #[arg(long, short, value_enum, default_value = "text")]
    pub(crate) output: Format,
}

#[derive(Args)]
pub(crate) struct Check {
    /// YAML file as for `apply`; `-` for standard input
    #[arg(value_name = "FILE", required_unless_present = "filename")]
    pub(crate) file: Option<PathBuf>,
    /// The same, as `apply` takes it
    #[arg(long, short, value_name = "FILE", conflicts_with = "file")]
    pub(crate) filename: Option<PathBuf>,
    /// How to print
    #[arg(long, short, value_enum, default_value = "text")]
    pub(crate) output: Format,
}

#[derive(Args)]
pub(crate) struct Get {
    /// Cluster, User, Group, AccessRole, AccessPolicy or Credential (any case, singular or plural)
    pub(crate) kind: String,
    /// One of them
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) data: Data,
    /// How to print: a table, JSON or YAML
    #[arg(long, short, value_enum, default_value = "text")]
    pub(crate) output: objects::Output,
}

#[derive(Args)]
pub(crate) struct Delete {
    /// The kind, as for `get`
    pub(crate) kind: String,
    /// Its name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) data: Data,
    /// How to print
    #[arg(long, short, value_enum, default_value = "text")]
    pub(crate) output: Format,
}

#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) data: Data,
    /// How to print
    #[arg(long, short, value_enum, default_value = "text")]
    pub(crate) output: Format,
    /// Wait until every cluster (or those named) is connected
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub(crate) wait: Option<Duration>,
    /// Only these clusters
    pub(crate) cluster: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Version {
    /// How to print
    #[arg(long, short, value_enum, default_value = "text")]
    pub(crate) output: Format,
}

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Up(options) => serve::run(options)?,
            Command::Agent(options) => agent::run(options)?,
            Command::AgentImage(options) => agent_image::run(&options)?,
            Command::Import(options) => block_on(import::run(options))?,
            Command::Kubeconfig(options) => block_on(kubeconfig::run(options))?,
            Command::Apply(options) => block_on(objects::apply(options))?,
            Command::Get(options) => block_on(objects::get(options))?,
            Command::Delete(options) => block_on(objects::delete(options))?,
            Command::Check(options) => objects::check(&options)?,
            Command::Status(options) => return block_on(status::run(options)),
            Command::Version(options) => output::version(options.output)?,
            Command::ConfigReference => output::raw(&config::reference::render()),
            Command::Completion { shell } => {
                clap_complete::generate(shell, &mut Self::command(), "hawser", &mut std::io::stdout());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    hawser_transport::run(future).context("cannot start a runtime")?
}

/// `500ms`, `90s`, `15m`, `24h`, `30d` or combinations.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?} is not a duration; write for example 90s, 15m, 24h or 30d");
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
        let number: u64 = rest[..digits].parse().map_err(|_not_a_number| expected())?;
        let unit = |(name, size): &(&str, u64)| Some((rest[digits..].strip_prefix(name)?, *size));
        let (after, size) = DURATION_UNITS.iter().find_map(unit).ok_or_else(expected)?;
        total = number.checked_mul(size).and_then(|more| total.checked_add(more)).ok_or_else(expected)?;
        rest = after;
    }
    if text.is_empty() || total > DURATION_MS_MAX {
        Err(expected())
    } else {
        Ok(Duration::from_millis(total))
    }
}

/// As [`duration`], of something that is to be of use: credentials end on whole seconds.
fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = duration(text)?;
    if lifetime < Duration::from_secs(1) {
        return Err("it would have ended already; the shortest lifetime is 1s".to_owned());
    }
    Ok(lifetime)
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 `status`: a cluster is not connected, or no \
                          edge answers.";
/// In milliseconds; `ms` before `m`, which it begins with.
const DURATION_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// Ten years: what a certificate authority lives.
const DURATION_MS_MAX: u64 = 10 * 366 * 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn nothing_is_made_that_has_ended_already() {
        for words in [&["kubeconfig", "ana"][..], &["kubeconfig", "ana", "--token"], &["import", "prod"]] {
            let parse = |expires| Cli::try_parse_from([&["hawser"], words, &["--expires", expires]].concat());
            assert!(parse("1s").is_ok());
            for ended in ["0s", "999ms"] {
                let refused = parse(ended).err().unwrap();
                assert_eq!(refused.exit_code(), 2);
                let text = refused.to_string();
                assert!(text.contains(ended) && text.contains("the shortest lifetime is 1s"), "{text}");
            }
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("1m500ms"), Ok(Duration::from_millis(60_500)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("30d"), Ok(Duration::from_secs(30 * 86_400)));
        for bad in ["", "5", "h", "5w", "-1s", "1.5h", "99999999999999999999h", "5000d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
