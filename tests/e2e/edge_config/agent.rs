//! An agent that takes requests and never answers them, so that what waits for an answer can be seen to end.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, mpsc::sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use hawser_identity::{AgentKey, Authorities, tls};
use hawser_kube::clock::{Clock, SystemClock};
use hawser_tunnel::{
    Connection, DialConfig, LinkConfig, TunnelStream, dial,
    wire::{ALPN_LINK, Class, Control, HelloV1},
};
use tokio::sync::oneshot;

use super::edge::Edge;

/// A connected agent of cluster `demo`; gone when dropped.
pub(crate) struct SilentAgent {
    /// Dropped, it ends the thread.
    quit: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SilentAgent {
    pub(crate) fn connect(edge: &Edge) -> Self {
        let (quit, mut asked_to_quit) = oneshot::channel();
        let (up, is_up) = sync_channel(1);
        let (keys, port) = (edge.keys(), edge.port);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (connection, control) = link(&keys, port).await;
                up.send(()).unwrap();
                let mut held = vec![control];
                loop {
                    tokio::select! {
                        Ok(stream) = connection.accept() => held.push(stream),
                        _dropped = &mut asked_to_quit => return,
                        else => return,
                    }
                }
            });
        });
        is_up.recv().expect("the agent connects");
        Self { quit: Some(quit), thread: Some(thread) }
    }
}

impl Drop for SilentAgent {
    fn drop(&mut self) {
        drop(self.quit.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

async fn link(keys: &Path, port: u16) -> (Connection, TunnelStream) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // The keys of the edge make up for an enrolment.
    let authorities = Authorities::load_or_create(keys, clock.wall()).unwrap();
    let key = AgentKey::generate().unwrap();
    let chain = authorities.agents.issue_agent(
        "demo",
        "silent",
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
        replica: "silent".to_owned(),
        agent_version: String::new(),
        kubernetes_version: String::new(),
        nodes: 0,
        class: Class::General,
        capabilities: Vec::new(),
        problems: Vec::new(),
        extensions: Vec::new(),
    };
    control.send.send_control(&Control::Hello(hello)).await.unwrap();
    let welcome = control.recv.recv_control().await.unwrap();
    assert!(matches!(welcome, Some(Control::Welcome(_))), "{welcome:?}");
    (connection, control)
}
