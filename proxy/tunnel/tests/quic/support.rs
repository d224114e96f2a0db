//! Two ends of a link in one process, and a relay that plays the network between them.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hawser_tunnel::wire::{ALPN_LINK, BodyV1, RequestV1};
use hawser_tunnel::{
    Acceptor, AcceptorConfig, CidKey, Connection, DialConfig, HandoverConfig, HandoverHub, Incoming,
    LinkConfig, LinkError, RecvHalf, StreamError, TunnelStream, dial,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls_pki_types::PrivatePkcs8KeyDer;
use socket2::{Domain, Socket, Type};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) const NAME: &str = "edge.test";

/// Longer than anything that happens at once takes, on a busy machine.
pub(crate) const AT_ONCE: Duration = Duration::from_millis(500);

/// Certificates of both ends; the edge asks for one.
pub(crate) struct Tls {
    pub(crate) server: Arc<rustls::ServerConfig>,
    pub(crate) client: Arc<rustls::ClientConfig>,
}

impl Tls {
    pub(crate) fn new() -> Self {
        Self::with_client_alpn(ALPN_LINK)
    }

    pub(crate) fn with_client_alpn(client_alpn: &[u8]) -> Self {
        let ca = rcgen::CertifiedIssuer::self_signed(
            {
                let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
                params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
                params
            },
            rcgen::KeyPair::generate().unwrap(),
        )
        .unwrap();
        let issue = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            let cert = params.signed_by(&key, &ca).unwrap();
            (vec![cert.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        };
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.der().clone()).unwrap();
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());

        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&roots),
            Arc::clone(&provider),
        );
        let (chain, key) = issue(NAME);
        let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
            .with_single_cert(chain, key)
            .unwrap();
        server.alpn_protocols = vec![ALPN_LINK.to_vec()];

        let (chain, key) = issue("agent.test");
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        client.alpn_protocols = vec![client_alpn.to_vec()];
        Self { server: Arc::new(server), client: Arc::new(client) }
    }
}

pub(crate) fn hub(workers: u16) -> HandoverHub {
    HandoverHub::new(HandoverConfig {
        workers,
        generation: 1,
        process: 0,
        key: CidKey::random().unwrap(),
        ring_datagrams_max: 256,
    })
}

/// A socket that workers may share; `addr` with port 0 for the first.
pub(crate) fn shared_socket(addr: SocketAddr) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&addr.into()).unwrap();
    socket.into()
}

pub(crate) fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) fn acceptor(tls: &Tls, link: LinkConfig) -> Acceptor {
    let config = AcceptorConfig {
        socket: shared_socket(any_port()),
        worker: 0,
        tls: watch::channel(Arc::clone(&tls.server)).1,
        hub: hub(1),
        link,
    };
    Acceptor::bind(config).unwrap()
}

pub(crate) async fn dial_to(addr: SocketAddr, tls: &Tls, link: LinkConfig) -> Result<Connection, LinkError> {
    dial_from(any_port(), addr, tls, link).await
}

pub(crate) async fn dial_from(
    from: SocketAddr,
    addr: SocketAddr,
    tls: &Tls,
    link: LinkConfig,
) -> Result<Connection, LinkError> {
    dial(DialConfig {
        socket: shared_socket(from),
        addr,
        server_name: NAME.to_owned(),
        tls: Arc::clone(&tls.client),
        link,
    })
    .await
}

/// Both ends of a link.
pub(crate) struct Pair {
    pub(crate) edge: Connection,
    pub(crate) agent: Connection,
    pub(crate) incoming: Incoming,
    pub(crate) acceptor: Acceptor,
}

impl Pair {
    pub(crate) async fn new() -> Self {
        Self::with(LinkConfig::edge(), LinkConfig::agent()).await
    }

    pub(crate) async fn with(edge: LinkConfig, agent: LinkConfig) -> Self {
        let tls = Tls::new();
        let mut acceptor = acceptor(&tls, edge);
        let addr = acceptor.local_addr().unwrap();
        let (incoming, agent) = tokio::join!(acceptor.accept(), dial_to(addr, &tls, agent));
        let incoming = incoming.unwrap();
        Self { edge: incoming.connection.clone(), agent: agent.unwrap(), incoming, acceptor }
    }

    /// A stream that the edge opened, seen from both ends.
    pub(crate) async fn stream(&self) -> (TunnelStream, TunnelStream) {
        let mut edge = self.edge.open().await.unwrap();
        edge.send.write(Bytes::from_static(b"!")).await.unwrap();
        let mut agent = self.agent.accept().await.unwrap();
        assert_eq!(read_exactly(&mut agent.recv, 1).await, b"!");
        (edge, agent)
    }
}

pub(crate) async fn read_exactly(recv: &mut RecvHalf, len: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < len {
        all.extend_from_slice(&recv.read().await.unwrap().expect("more bytes"));
    }
    assert_eq!(all.len(), len, "nothing beyond");
    all
}

pub(crate) async fn read_all(recv: &mut RecvHalf) -> Result<Vec<u8>, StreamError> {
    let mut all = Vec::new();
    while let Some(bytes) = recv.read().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

/// Sends everything back, until the far side is done.
pub(crate) async fn echo(mut stream: TunnelStream) -> Result<(), StreamError> {
    while let Some(bytes) = stream.recv.read().await? {
        stream.send.write(bytes).await?;
    }
    stream.send.finish();
    Ok(())
}

/// An agent that echoes every stream.
pub(crate) fn echo_all(agent: Connection) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut streams = JoinSet::new();
        while let Ok(stream) = agent.accept().await {
            streams.spawn(echo(stream));
        }
    });
    tasks
}

/// One header field.
pub(crate) fn fields(name: &'static str, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
}

pub(crate) fn request() -> RequestV1 {
    RequestV1 {
        exchange: [7; 16],
        method: "POST".to_owned(),
        target: "/api/v1/namespaces/default/pods?dryRun=All".to_owned(),
        headers: fields("content-type", "application/json"),
        user: "hawser:alice@example.com".to_owned(),
        groups: vec!["hawser:edit".to_owned()],
        extra: vec![],
        upgrade: false,
        body: BodyV1::Length(5),
        trailers: false,
        extensions: vec![],
    }
}

/// The network between an agent and an edge: a NAT that can forget its mapping, and can fall silent.
pub(crate) struct Relay {
    pub(crate) addr: SocketAddr,
    network: Arc<Network>,
    _tasks: JoinSet<()>,
}

struct Network {
    edge: SocketAddr,
    inside: tokio::net::UdpSocket,
    /// Stands for the source port the edge sees.
    outside: watch::Sender<Arc<tokio::net::UdpSocket>>,
    agent: watch::Sender<SocketAddr>,
    to_edge: AtomicBool,
    answers_left: AtomicUsize,
}

impl Relay {
    pub(crate) async fn to(edge: SocketAddr) -> Self {
        let inside = tokio::net::UdpSocket::bind(any_port()).await.unwrap();
        let addr = inside.local_addr().unwrap();
        let network = Arc::new(Network {
            edge,
            inside,
            outside: watch::Sender::new(mapping(edge).await),
            agent: watch::Sender::new(addr),
            to_edge: AtomicBool::new(true),
            answers_left: AtomicUsize::new(usize::MAX),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(carry_to_edge(Arc::clone(&network)));
        tasks.spawn(carry_to_agent(Arc::clone(&network)));
        Self { addr, network, _tasks: tasks }
    }

    /// From here on the agent's packets reach the edge from another port.
    pub(crate) async fn rebind(&self) {
        self.network.outside.send_replace(mapping(self.network.edge).await);
    }

    /// From here on nothing gets through.
    pub(crate) fn fall_silent(&self) {
        self.network.to_edge.store(false, Ordering::Relaxed);
        self.swallow_answers_after(0);
    }

    /// The agent hears so many more packets of the edge; the edge goes on hearing the agent.
    pub(crate) fn swallow_answers_after(&self, packets: usize) {
        self.network.answers_left.store(packets, Ordering::Relaxed);
    }
}

async fn mapping(edge: SocketAddr) -> Arc<tokio::net::UdpSocket> {
    let socket = tokio::net::UdpSocket::bind(any_port()).await.unwrap();
    socket.connect(edge).await.unwrap();
    Arc::new(socket)
}

async fn carry_to_edge(network: Arc<Network>) {
    let mut buf = vec![0; 65536];
    loop {
        let (len, from) = network.inside.recv_from(&mut buf).await.unwrap();
        network.agent.send_replace(from);
        let outside = Arc::clone(&network.outside.borrow());
        if network.to_edge.load(Ordering::Relaxed) {
            outside.send(&buf[..len]).await.ok(); // as in any network, packets may be lost
        }
    }
}

async fn carry_to_agent(network: Arc<Network>) {
    let mut buf = vec![0; 65536];
    let mut outside = network.outside.subscribe();
    loop {
        let socket = Arc::clone(&outside.borrow_and_update());
        let len = tokio::select! {
            received = socket.recv(&mut buf) => received.unwrap_or(0),
            _ = outside.changed() => continue,
        };
        let agent = *network.agent.borrow();
        let left = |left: usize| left.checked_sub(1);
        if network.answers_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok() {
            network.inside.send_to(&buf[..len], agent).await.ok();
        }
    }
}
