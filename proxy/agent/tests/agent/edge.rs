//! An edge that lets every agent in and opens the exchanges of a test.

use std::{net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use hawser_agent::LINK_NAME;
use hawser_identity::{AgentIdentity, Authorities, SubjectName, tls};
use hawser_kube::clock::{Clock as _, SystemClock};
use hawser_tunnel::{
    Acceptor, AcceptorConfig, BodyReader, BodyWriter, CidKey, Connection, HandoverConfig, HandoverHub,
    Incoming, LinkConfig, StreamError, TunnelStream,
    wire::{
        ALPN_ENROLL, ALPN_LINK, BodyV1, Class, Control, EnrolledV1, Enrollment, HelloV1, ReplyV1, RequestV1,
        WelcomeV1,
    },
};
use http::{HeaderMap, HeaderValue, header::ACCEPT};
use rustls::sign::SingleCertAndKey;

use super::LIFETIME;

/// The edge's end of a link in service.
pub(crate) struct Edge {
    link: Connection,
    /// What the agent said of itself.
    pub(crate) hello: HelloV1,
}

/// What came back.
pub(crate) struct Answer {
    /// How often the request was said to be on its way.
    pub(crate) dispatched: usize,
    pub(crate) reply: Result<ReplyV1, StreamError>,
    pub(crate) body: Result<Vec<u8>, StreamError>,
    pub(crate) trailers: HeaderMap,
}

pub(crate) fn acceptor(authorities: &Authorities) -> Acceptor {
    let names = [SubjectName::Dns(LINK_NAME.to_owned())];
    let key = authorities.serving.issue_serving(&names, LIFETIME, SystemClock.wall()).unwrap();
    let resolver = Arc::new(SingleCertAndKey::from(key));
    let agents = authorities.agents.bundle();
    let tls = tls::link_server(resolver, agents, &[ALPN_LINK, ALPN_ENROLL], Arc::new(SystemClock)).unwrap();
    let hub = HandoverHub::new(HandoverConfig {
        workers: 1,
        generation: 1,
        process: 0,
        key: CidKey::random().unwrap(),
        ring_datagrams_max: 256,
    });
    let socket = hawser_transport::bind_udp((Ipv4Addr::LOCALHOST, 0).into(), false).unwrap();
    Acceptor::bind(AcceptorConfig {
        socket,
        worker: 0,
        tls: tokio::sync::watch::channel(Arc::new(tls)).1,
        hub,
        link: LinkConfig::edge(),
    })
    .unwrap()
}

impl Edge {
    /// Lets an agent in and waits for its link for requests.
    pub(crate) async fn accept(acceptor: &mut Acceptor, authorities: &Authorities) -> Self {
        loop {
            let incoming = acceptor.accept().await.unwrap();
            if incoming.alpn == ALPN_ENROLL {
                enrol(incoming, authorities).await;
            } else if let Some(edge) = take(incoming).await {
                return edge;
            }
        }
    }

    /// Begins an exchange.
    pub(crate) async fn open(&self, request: &RequestV1) -> TunnelStream {
        let mut stream = self.link.open().await.unwrap();
        stream.send.send_request(request).await.unwrap();
        stream
    }

    /// One exchange, whole.
    pub(crate) async fn ask(&self, request: &RequestV1, body: &[u8]) -> Answer {
        self.ask_with(request, body, HeaderMap::new()).await
    }

    /// One exchange with trailers behind the request.
    pub(crate) async fn ask_with(&self, request: &RequestV1, body: &[u8], trailers: HeaderMap) -> Answer {
        let TunnelStream { mut send, recv } = self.open(request).await;
        let body = Bytes::copy_from_slice(body);
        let up = async {
            let mut out = BodyWriter::new(&mut send, request.trailers);
            // An agent that answers early need not take the rest.
            if !body.is_empty() && out.write(body).await.is_err() {
                return;
            }
            out.finish(&trailers).await.ok();
        };
        tokio::join!(up, answer(recv, request.trailers)).1
    }
}

/// Reads an answer to its end.
pub(crate) async fn answer(mut recv: hawser_tunnel::RecvHalf, framed: bool) -> Answer {
    let mut dispatched = 0;
    let reply = loop {
        match recv.recv_reply().await {
            Ok(ReplyV1::Dispatched) => dispatched += 1,
            reply => break reply,
        }
    };
    let mut answer = Answer { dispatched, reply, body: Ok(Vec::new()), trailers: HeaderMap::new() };
    if !matches!(answer.reply, Ok(ReplyV1::Head { end: false, .. })) {
        return answer;
    }
    let mut reader = BodyReader::new(recv, framed);
    let mut body = Vec::new();
    answer.body = loop {
        match reader.read().await {
            Ok(Some(bytes)) => body.extend_from_slice(&bytes),
            Ok(None) => break Ok(body),
            Err(error) => break Err(error),
        }
    };
    answer.trailers = reader.take_trailers();
    answer
}

impl Answer {
    /// The response's status and whole body.
    pub(crate) fn response(self) -> (u16, String) {
        match self.reply {
            Ok(ReplyV1::Head { status, .. }) => (status, String::from_utf8(self.body.unwrap()).unwrap()),
            other => panic!("no response but {other:?}"),
        }
    }

    /// The failure's code and text, and whether the request may have been delivered.
    pub(crate) fn failure(self) -> (u16, String, bool) {
        match self.reply {
            Ok(ReplyV1::Failed { code, message, maybe_delivered }) => (code, message, maybe_delivered),
            other => panic!("no failure but {other:?}"),
        }
    }

    /// A header of the response.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let Ok(ReplyV1::Head { headers, .. }) = &self.reply else {
            panic!("no response but {:?}", self.reply)
        };
        headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    }
}

/// A request as an edge sends it.
pub(crate) fn request(method: &str, target: &str, body: BodyV1) -> RequestV1 {
    RequestV1 {
        exchange: [7; 16],
        method: method.to_owned(),
        target: target.to_owned(),
        headers: HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]),
        user: "hawser:alice@example.com".to_owned(),
        groups: vec!["hawser:edit".to_owned()],
        extra: Vec::new(),
        upgrade: false,
        body,
        trailers: target.contains("/proxy"),
        extensions: Vec::new(),
    }
}

/// A GET as an edge sends it.
pub(crate) fn get(target: &str) -> RequestV1 {
    request("GET", target, BodyV1::None)
}

async fn enrol(incoming: Incoming, authorities: &Authorities) {
    let mut stream = incoming.connection.accept().await.unwrap();
    let enroll = stream.recv.recv_enroll().await.unwrap();
    let agents = &authorities.agents;
    let who = AgentIdentity { cluster: "demo".to_owned(), replica: enroll.replica, pin: "uid.1".to_owned() };
    let issued = agents.issue_agent(&who, &enroll.csr, LIFETIME, SystemClock.wall()).unwrap();
    let enrolled = EnrolledV1 { chain: vec![issued.to_vec()], cluster: "demo".to_owned() };
    stream.send.send_enrollment(&Enrollment::Enrolled(enrolled)).await.unwrap();
    stream.send.finish();
    stream.send.stopped().await;
}

/// Takes a link into service; returns its end if it is the one for requests.
async fn take(incoming: Incoming) -> Option<Edge> {
    let mut stream = incoming.connection.accept().await.unwrap();
    let Some(Control::Hello(hello)) = stream.recv.recv_control().await.unwrap() else { panic!("no hello") };
    let welcome = WelcomeV1 { edge_id: "edge".to_owned(), edges: Vec::new(), extensions: Vec::new() };
    stream.send.send_control(&Control::Welcome(welcome)).await.unwrap();
    let link = incoming.connection.clone();
    tokio::task::spawn_local(async move {
        while let Ok(Some(_status)) = stream.recv.recv_control().await {}
        drop((stream, incoming));
    });
    (hello.class == Class::General).then_some(Edge { link, hello })
}
