//! A whole agent between an edge and an API server that do what a test tells them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod at_most_once;
mod clocks;
mod edge;
mod facts;
mod http1;
mod server;
mod token;

use std::{path::Path, rc::Rc, sync::Arc, time::Duration};

use hawser_agent::{Config, Metrics};
use hawser_identity::{Authorities, JoinToken, SubjectName};
use hawser_kube::clock::{Clock, SystemClock};
use hawser_transport::Scope;
use hawser_tunnel::{Acceptor, LinkConfig};
use prometheus_client::registry::Registry;

use edge::Edge;
use server::{Server, Then, Visit};

/// Runs `test` beside an agent whose API server answers the agent's own questions itself and everything else as `script`
/// does.
pub(crate) fn run<S, T>(script: S, test: T)
where
    S: AsyncFn(&mut Visit) -> Then + 'static,
    T: AsyncFnOnce(Edge, Rc<Server>),
{
    beside_agent(SystemClock, script, async |mut acceptor, authorities, server| {
        test(Edge::accept(&mut acceptor, &authorities).await, server).await;
    });
}

/// As [`run`], with an edge that has let nobody in yet, and an agent by whose clock it is another time.
pub(crate) fn beside_agent<S, T>(clock: impl Clock, script: S, test: T)
where
    S: AsyncFn(&mut Visit) -> Then + 'static,
    T: AsyncFnOnce(Acceptor, Authorities, Rc<Server>),
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let whole = async {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemClock.wall();
        let authorities = Authorities::load_or_create(&folder.path().join("ca"), now).unwrap();
        let names = [SubjectName::Ip([127, 0, 0, 1].into())];
        let key = authorities.serving.issue_serving(&names, SERVER_LIFETIME, now).unwrap();
        let server = Server::start(key, folder.path().join("token"), script).await;
        let acceptor = edge::acceptor(&authorities);
        let join = JoinToken {
            edges: vec![acceptor.local_addr().unwrap().to_string()],
            ca_pem: authorities.serving.bundle().pem(),
            id: "join".to_owned(),
            secret: "secret".to_owned(),
            cluster_pattern: "*".to_owned(),
        };
        let config = config(folder.path(), join, &server);
        let metrics = Arc::new(Metrics::new(&mut Registry::default()));
        let agent = hawser_agent::run(config, Arc::new(clock), metrics, Scope::root());
        let agent = tokio::task::spawn_local(agent);
        test(acceptor, authorities, server).await;
        assert!(!agent.is_finished(), "the agent runs on");
    };
    let local = tokio::task::LocalSet::new();
    let in_time = local.run_until(async { tokio::time::timeout(LONGEST, whole).await });
    runtime.block_on(in_time).unwrap();
}

fn config(folder: &Path, join: JoinToken, server: &Server) -> Config {
    let identity_token = folder.join("identity");
    std::fs::write(&identity_token, "identity").unwrap();
    server.write_token(TOKEN);
    Config {
        cluster: "demo".to_owned(),
        replica: "agent-1".to_owned(),
        join,
        identity_token,
        apiserver_host: server.addr.ip().to_string(),
        apiserver_port: server.addr.port(),
        apiserver_ca: std::fs::read_to_string(folder.join("ca/serving-ca.pem")).unwrap(),
        apiserver_token: server.token_file.clone(),
        user_prefix: "hawser:".to_owned(),
        link: LinkConfig::agent(),
        drain_timeout: Duration::from_secs(1),
    }
}

/// What the agent's token file holds at first.
pub(crate) const TOKEN: &str = "first";
const LIFETIME: Duration = Duration::from_secs(3600);
/// Of the API server's certificate: it is good whatever the agent's clock says.
const SERVER_LIFETIME: Duration = Duration::from_secs(30 * 86_400);
/// No test takes nearly as long.
const LONGEST: Duration = Duration::from_secs(60);
