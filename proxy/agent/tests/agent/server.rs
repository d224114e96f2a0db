//! An API server that answers as a test tells it, over HTTP/1.1; over HTTP/2, if it is to speak that, with its name.

use std::{
    cell::{Cell, RefCell},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    rc::Rc,
    sync::Arc,
};

use bytes::{Buf, Bytes, BytesMut};
use hawser_http1::{BodyDecoder, Decoded, HeadScan, Limits, RequestHead};
use hawser_identity::tls;
use hawser_kube::clock::SystemClock;
use http::HeaderMap;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::TOKEN;

/// The server, and what it has seen.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    /// Where the agent reads its token.
    pub(crate) token_file: PathBuf,
    /// The only token that is accepted.
    pub(crate) accepted: RefCell<String>,
    /// The agent may impersonate people and list nodes.
    pub(crate) bound: Cell<bool>,
    /// Protocols in its ALPN.
    pub(crate) alpn: RefCell<Vec<Vec<u8>>>,
    /// Open HTTP/1.1 connections.
    pub(crate) open: Cell<usize>,
    seen: RefCell<Vec<Seen>>,
    connections: Cell<usize>,
}

/// A request that was none of the agent's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) connection: usize,
    pub(crate) method: String,
    pub(crate) target: String,
}

/// One exchange at the server.
pub(crate) struct Visit {
    pub(crate) head: RequestHead,
    /// The connection has carried another exchange before.
    pub(crate) kept: bool,
    io: TlsStream<TcpStream>,
    buffer: BytesMut,
    decoder: BodyDecoder,
    trailers: Option<HeaderMap>,
}

/// What becomes of the connection after an exchange.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Another exchange may follow.
    Keep,
    /// It is closed as TLS wants it.
    Close,
    /// It ends without a word, as by a fault on the way.
    Cut,
}

impl Server {
    pub(crate) async fn start<S>(key: Arc<CertifiedKey>, token_file: PathBuf, script: S) -> Rc<Self>
    where
        S: AsyncFn(&mut Visit) -> Then + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = Rc::new(Self {
            addr: listener.local_addr().unwrap(),
            token_file,
            accepted: RefCell::new(TOKEN.to_owned()),
            bound: Cell::new(true),
            alpn: RefCell::new(vec![b"http/1.1".to_vec()]),
            open: Cell::new(0),
            seen: RefCell::default(),
            connections: Cell::new(0),
        });
        tokio::task::spawn_local(accept(Rc::clone(&server), listener, key, Rc::new(script)));
        Rc::clone(&server)
    }

    pub(crate) fn write_token(&self, token: &str) {
        std::fs::write(&self.token_file, token).unwrap();
    }

    /// Requests so far, the agent's own left out.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }
}

async fn accept<S>(server: Rc<Server>, listener: TcpListener, key: Arc<CertifiedKey>, script: Rc<S>)
where
    S: AsyncFn(&mut Visit) -> Then + 'static,
{
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let resolver = Arc::new(SingleCertAndKey::from(Arc::clone(&key)));
        let clock = Arc::new(SystemClock);
        let mut config = tls::https_server(resolver, tls::no_client_cert(), clock).unwrap();
        config.alpn_protocols = server.alpn.borrow().clone();
        let (server, script) = (Rc::clone(&server), Rc::clone(&script));
        tokio::task::spawn_local(async move {
            let Ok(io) = TlsAcceptor::from(Arc::new(config)).accept(tcp).await else { return };
            if io.get_ref().1.alpn_protocol() == Some(b"h2") {
                return http2(&server, io).await;
            }
            server.open.set(server.open.get() + 1);
            http1(&server, io, &*script).await;
            server.open.set(server.open.get() - 1);
        });
    }
}

/// One connection, exchange by exchange.
async fn http1<S: AsyncFn(&mut Visit) -> Then>(server: &Server, mut io: TlsStream<TcpStream>, script: &S) {
    let connection = server.connections.get();
    server.connections.set(connection + 1);
    let mut buffer = BytesMut::new();
    let mut kept = false;
    loop {
        let Some(head) = request_head(&mut io, &mut buffer).await else { return };
        let decoder = BodyDecoder::new(head.body, &Limits::default());
        let mut visit = Visit { head, kept, io, buffer, decoder, trailers: None };
        let then = answer(server, connection, &mut visit, script).await;
        match then {
            Then::Keep => drop(visit.body().await),
            Then::Close => {
                visit.io.shutdown().await.ok();
                return;
            }
            Then::Cut => return,
        }
        Visit { io, buffer, .. } = visit;
        kept = true;
    }
}

async fn answer<S>(server: &Server, connection: usize, visit: &mut Visit, script: &S) -> Then
where
    S: AsyncFn(&mut Visit) -> Then,
{
    let (method, target) = (visit.head.method.to_string(), visit.head.target.clone());
    let facts = facts(&target);
    if facts.is_none() {
        server.seen.borrow_mut().push(Seen { connection, method, target: target.clone() });
    }
    let authorized = visit.head.headers["authorization"] == format!("Bearer {}", server.accepted.borrow());
    if !authorized {
        drop(visit.body().await);
        visit.respond("401 Unauthorized", UNAUTHORIZED).await;
        return Then::Keep;
    }
    match facts {
        Some(_) if !server.bound.get() && target == NODES => {
            visit.respond("403 Forbidden", FORBIDDEN).await;
            Then::Keep
        }
        Some(_) if !server.bound.get() && target == REVIEWS => {
            visit.respond("201 Created", r#"{"status":{"allowed":false}}"#).await;
            Then::Keep
        }
        Some(facts) => {
            visit.respond("200 OK", facts).await;
            Then::Keep
        }
        None => script(visit).await,
    }
}

impl Visit {
    /// The next piece of the request's body.
    pub(crate) async fn piece(&mut self) -> Option<Bytes> {
        loop {
            match self.decoder.decode(&mut self.buffer).unwrap() {
                Decoded::Data(bytes) => return Some(bytes),
                Decoded::End(trailers) => {
                    self.trailers = self.trailers.take().or(trailers);
                    return None;
                }
                Decoded::NeedMore => {
                    assert_ne!(
                        self.io.read_buf(&mut self.buffer).await.unwrap(),
                        0,
                        "the request is cut short"
                    );
                }
            }
        }
    }

    /// The rest of the request's body.
    pub(crate) async fn body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(bytes) = self.piece().await {
            body.extend_from_slice(&bytes);
        }
        body
    }

    /// What followed the body.
    pub(crate) fn trailers(&mut self) -> HeaderMap {
        self.trailers.take().unwrap_or_default()
    }

    /// Sends bytes as they are; says whether the agent still takes them.
    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.io.write_all(bytes.as_ref()).await.is_ok() && self.io.flush().await.is_ok()
    }

    /// A response with a length.
    pub(crate) async fn respond(&mut self, status: &str, body: &str) {
        let length = body.len();
        self.say(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}")).await;
    }

    /// Waits until the agent has closed the connection.
    pub(crate) async fn closed(&mut self) {
        while !matches!(self.io.read_buf(&mut self.buffer).await, Ok(0) | Err(_)) {}
    }
}

async fn request_head(io: &mut TlsStream<TcpStream>, buffer: &mut BytesMut) -> Option<RequestHead> {
    let mut scan = HeadScan::default();
    loop {
        if let Some((head, bytes)) = scan.request(buffer, &Limits::default()).unwrap() {
            buffer.advance(bytes);
            return Some(head);
        }
        if !matches!(io.read_buf(buffer).await, Ok(1..)) {
            return None;
        }
    }
}

/// A connection that ends behind the first request that is none of the agent's own.
async fn http2(server: &Server, io: TlsStream<TcpStream>) {
    let mut connection = h2::server::handshake(io).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let target = request.uri().path_and_query().unwrap().to_string();
        let facts = facts(&target);
        if facts.is_none() {
            let method = request.method().to_string();
            server.seen.borrow_mut().push(Seen { connection: usize::MAX, method, target });
            connection.graceful_shutdown();
        }
        let body = Bytes::from_static(facts.unwrap_or("HTTP/2").as_bytes());
        respond.send_response(http::Response::new(()), false).unwrap().send_data(body, true).unwrap();
    }
}

/// Answers to the agent's own questions.
fn facts(target: &str) -> Option<&'static str> {
    match target {
        "/version" => Some(r#"{"gitVersion":"v1.37.2"}"#),
        NODES => Some(r#"{"items":[{}],"metadata":{}}"#),
        "/api/v1/namespaces/kube-system" => Some(r#"{"metadata":{"uid":"uid"}}"#),
        "/.well-known/openid-configuration" => Some(r#"{"issuer":"https://issuer"}"#),
        "/openid/v1/jwks" => Some(r#"{"keys":[]}"#),
        REVIEWS => Some(r#"{"status":{"allowed":true}}"#),
        _ => None,
    }
}

const NODES: &str = "/api/v1/nodes?limit=1";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const FORBIDDEN: &str =
    r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"nodes is forbidden","code":403}"#;
/// As kube-apiserver says it.
pub(crate) const UNAUTHORIZED: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#;
