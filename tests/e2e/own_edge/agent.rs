//! An agent that does with its streams what a test wants, be it nothing at all.

use std::{
    net::SocketAddr,
    path::Path,
    rc::Rc,
    sync::{Arc, mpsc::sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use hawser_identity::{AgentKey, Authorities, tls};
use hawser_kube::{
    clock::{Clock, SystemClock},
    close::CloseReason,
};
use hawser_tunnel::{
    Connection, DialConfig, LinkConfig, TunnelStream, dial,
    wire::{ALPN_LINK, Class, Control, HelloV1},
};
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
        let (quit, asked_to_quit) = oneshot::channel();
        let (up, is_up) = sync_channel(1);
        let (keys, port) = (edge.keys(), edge.port);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(LocalSet::new().run_until(async {
                let serve = Rc::new(serve);
                let mut links = Vec::new();
                for class in classes {
                    let (connection, control) = link(&keys, port, replica, *class).await;
                    links.push(connection.clone());
                    spawn_local(accept(connection, control, Rc::clone(&serve)));
                }
                up.send(()).unwrap();
                // An error says that the agent was dropped.
                asked_to_quit.await.ok();
                for link in links {
                    link.close(CloseReason::Shutdown);
                }
                tokio::time::sleep(GOODBYE).await;
            }));
        });
        is_up.recv().expect("the agent connects");
        Self { quit: Some(quit), thread: Some(thread) }
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

async fn link(keys: &Path, port: u16, replica: &str, class: Class) -> (Connection, TunnelStream) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // The keys of the edge make up for an enrolment.
    let authorities = Authorities::load_or_create(keys, clock.wall()).unwrap();
    let key = AgentKey::generate().unwrap();
    let chain = authorities.agents.issue_agent(
        "demo",
        replica,
        &key.csr().unwrap(),
        Duration::from_secs(3600),
        clock.wall(),
    );
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
    let welcome = control.recv.recv_control().await.unwrap();
    assert!(matches!(welcome, Some(Control::Welcome(_))), "{welcome:?}");
    (connection, control)
}

/// Time for the end of a link to leave this machine.
const GOODBYE: Duration = Duration::from_millis(50);
