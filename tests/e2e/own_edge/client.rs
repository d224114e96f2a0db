//! A client that can stop at any byte: TLS on a blocking socket, and nothing above it.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::CertificateDer};
use rustls_pki_types::pem::PemObject as _;

use super::edge::{Edge, HOST};

/// A connection to cluster `demo`.
pub(crate) struct Client(StreamOwned<ClientConnection, TcpStream>);

impl Client {
    /// Connects, and ends the handshake.
    pub(crate) fn connect(edge: &Edge, alpn: &str) -> io::Result<Self> {
        let connection = tls(edge, alpn);
        let mut stream = StreamOwned::new(connection, plain(edge)?);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(stream))
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
        self.0.flush().unwrap();
    }

    /// Says that nothing more will come from here, and goes on reading.
    pub(crate) fn finish(&mut self) {
        self.0.conn.send_close_notify();
        self.0.flush().unwrap();
        self.0.sock.shutdown(Shutdown::Write).unwrap();
    }

    /// The next bytes that come; none at the end.
    pub(crate) fn some(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 64 * 1024];
        let read = match self.0.read(&mut bytes) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("nothing came, nor the end"),
            // An end without a TLS close, or a reset.
            Err(_ended) => 0,
        };
        bytes.truncate(read);
        bytes
    }

    /// One answer whose length is announced: its status code, and all of it.
    pub(crate) fn answer(&mut self) -> (u16, String) {
        let mut text = String::new();
        loop {
            let bytes = self.some();
            assert!(!bytes.is_empty(), "the connection ended in {text:?}");
            text.push_str(&String::from_utf8(bytes).unwrap());
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                return (head[9..12].parse().unwrap(), text);
            }
        }
    }

    /// What comes, until it ends with this.
    pub(crate) fn up_to(&mut self, last: &str) -> String {
        let mut text = String::new();
        while !text.trim_end().ends_with(last) {
            let bytes = self.some();
            assert!(!bytes.is_empty(), "the connection ended in {text:?}");
            text.push_str(&String::from_utf8(bytes).unwrap());
        }
        text
    }

    /// Reads so many bytes, or up to the end; says how many there were.
    pub(crate) fn takes(&mut self, bytes_max: usize) -> usize {
        let mut taken = 0;
        while taken < bytes_max {
            let bytes = self.some().len();
            if bytes == 0 {
                break;
            }
            taken += bytes;
        }
        taken
    }

    /// Once it has ended: with a TLS close, which says that nothing is missing?
    pub(crate) fn ended_in_good_order(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]), Ok(0))
    }

    /// Sends a request with these header fields beside Host.
    pub(crate) fn ask(&mut self, line: &str, fields: &[String]) {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        self.send(format!("{line} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n"));
    }

    /// Sends it signed in, and waits for the answer.
    pub(crate) fn signed_in(&mut self, edge: &Edge) -> (u16, String) {
        self.ask("GET /api/v1/namespaces", &[bearer(edge)]);
        self.answer()
    }

    /// Waits until the edge ends the connection, and says what came before and how long it took.
    pub(crate) fn rest(&mut self) -> (String, Duration) {
        let began = now();
        let mut text = String::new();
        loop {
            let bytes = self.some();
            if bytes.is_empty() {
                return (text, now() - began);
            }
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
}

pub(crate) fn bearer(edge: &Edge) -> String {
    format!("Authorization: Bearer {}", edge.token())
}

/// TLS that trusts the edge's authority.
fn tls(edge: &Edge, alpn: &str) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    let pem = fs::read(edge.keys().join("serving-ca.pem")).unwrap();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    ClientConnection::new(Arc::new(config), HOST.try_into().unwrap()).unwrap()
}

/// A connection that has not begun its handshake.
pub(crate) fn plain(edge: &Edge) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", edge.port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

#[expect(clippy::disallowed_methods, reason = "tests live in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// How long a client waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);
