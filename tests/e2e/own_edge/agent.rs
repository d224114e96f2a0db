//! An agent that does with its streams what a test wants, be it nothing at all.

use std::{
    net::SocketAddr,
    path::Path,
    rc::Rc,
    sync::{Arc, mpsc::sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use hawser_identity::{AgentIdentity, AgentKey, Authorities, tls};
use hawser_kube::{
    clock::{Clock, SystemClock},
    close::CloseReason,
};
use hawser_store::{Options, Store};
use hawser_tunnel::{
    Connection, DialConfig, LinkConfig, TunnelStream, dial,
    wire::{ALPN_LINK, Class, Control, HelloV1},
};
use serde_json::json;
use tokio::{
    sync::oneshot,
    task::{LocalSet, spawn_local},
};

use super::edge::Edge;

/// A connected agent of cluster `demo`; gone when dropped.
pub(crate) struct Agent {
    /// Dropped, it ends the thread.
    quit: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// Connects with a link of each class; `serve` has each stream that the edge opens, and its link.
    pub(crate) fn connect<F>(
        edge: &Edge,
        replica: &'static str,
        classes: &'static [Class],
        serve: impl Fn(Connection, TunnelStream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let pin = pin(edge, "silent");
        Self::under(edge, &pin, replica, classes, serve).expect("the agent connects")
    }

    /// With a certificate that was issued under this pin; `None` when the edge does not take it.
    pub(crate) fn under<F>(
        edge: &Edge,
        pin: &str,
        replica: &'static str,
        classes: &'static [Class],
        serve: impl Fn(Connection, TunnelStream) -> F + Send + 'static,
    ) -> Option<Self>
    where
        F: Future<Output = ()> + 'static,
    {
        let (quit, asked_to_quit) = oneshot::channel();
        let (up, is_up) = sync_channel(1);
        let (keys, port, pin) = (edge.keys(), edge.port, pin.to_owned());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(LocalSet::new().run_until(async {
                let serve = Rc::new(serve);
                let mut links = Vec::new();
                for class in classes {
                    links.extend(link(&keys, port, &pin, replica, *class).await);
                }
                up.send(links.len() == classes.len()).unwrap();
                let links: Vec<_> = links
                    .into_iter()
                    .map(|(link, control)| {
                        spawn_local(accept(link.clone(), control, Rc::clone(&serve)));
                        link
                    })
                    .collect();
                // An error says that the agent was dropped.
                asked_to_quit.await.ok();
                for link in links {
                    link.close(CloseReason::Shutdown);
                }
                tokio::time::sleep(GOODBYE).await;
            }));
        });
        let agent = Self { quit: Some(quit), thread: Some(thread) };
        is_up.recv().unwrap().then_some(agent)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.quit.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Takes the streams of a link as long as it lives.
async fn accept<F>(
    link: Connection,
    _control: TunnelStream,
    serve: Rc<impl Fn(Connection, TunnelStream) -> F + 'static>,
) where
    F: Future<Output = ()> + 'static,
{
    while let Ok(stream) = link.accept().await {
        spawn_local(serve(link.clone(), stream));
    }
}

/// Pins cluster `demo` to the one with this uid, as an enrolment does; gives what certificates are issued under.
pub(crate) fn pin(edge: &Edge, uid: &str) -> String {
    let pin = json!({
        "apiVersion": "access.hawser.dev/v1",
        "kind": "ClusterPin",
        "metadata": {"name": "demo"},
        "spec": {"uid": uid, "issuer": "https://kubernetes.default.svc", "jwks": "{\"keys\":[]}"},
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = Store::open(&edge.folder.path().join("data/store.db"), Options::default()).unwrap();
    let metadata = runtime.block_on(store.apply(pin)).unwrap().value["metadata"].take();
    format!("{}.{}", metadata["uid"].as_str().unwrap(), metadata["generation"])
}

/// `None` when the edge closes the link in place of a welcome.
async fn link(
    keys: &Path,
    port: u16,
    pin: &str,
    replica: &str,
    class: Class,
) -> Option<(Connection, TunnelStream)> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // The keys of the edge make up for an enrolment.
    let authorities = Authorities::load_or_create(keys, clock.wall()).unwrap();
    let key = AgentKey::generate().unwrap();
    let who = AgentIdentity { cluster: "demo".to_owned(), replica: replica.to_owned(), pin: pin.to_owned() };
    let hour = Duration::from_secs(3600);
    let chain = authorities.agents.issue_agent(&who, &key.csr().unwrap(), hour, clock.wall());
    let key = key.certified(vec![chain.unwrap()]).unwrap();
    let trusted = authorities.serving.bundle();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let config = DialConfig {
        socket,
        addr: SocketAddr::from(([127, 0, 0, 1], port)),
        server_name: "link.hawser.internal".to_owned(),
        tls: Arc::new(tls::link_client(trusted, Some(key), &[ALPN_LINK], clock).unwrap()),
        link: LinkConfig::agent(),
    };
    let connection = dial(config).await.unwrap();
    let mut control = connection.open().await.unwrap();
    let hello = HelloV1 {
        cluster: "demo".to_owned(),
        replica: replica.to_owned(),
        agent_version: String::new(),
        kubernetes_version: String::new(),
        nodes: 0,
        class,
        capabilities: Vec::new(),
        problems: Vec::new(),
        extensions: Vec::new(),
    };
    control.send.send_control(&Control::Hello(hello)).await.unwrap();
    let welcome = control.recv.recv_control().await.ok()?;
    assert!(matches!(welcome, Some(Control::Welcome(_))), "{welcome:?}");
    Some((connection, control))
}

/// Time for the end of a link to leave this machine.
const GOODBYE: Duration = Duration::from_millis(50);
