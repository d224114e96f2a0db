//! A client of HTTP/2 that sends heads of any size, which curl and kubectl do not.

use std::{net::TcpStream, path::Path, sync::Arc};

use hawser_tests::Curl;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

/// The code with which a request with these header fields is answered; certificates and server are curl's.
pub(crate) fn code(curl: &Curl, path: &str, fields: &[(String, String)]) -> u16 {
    let address = curl.server().trim_start_matches("https://");
    let mut request = http::Request::get(format!("{}{path}", curl.server()));
    for (name, value) in fields {
        request = request.header(name, value);
    }
    let request = request.body(()).unwrap();
    let name = ServerName::try_from(address.rsplit_once(':').unwrap().0.to_owned()).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let stream =
            tokio_rustls::TlsConnector::from(Arc::new(tls(curl))).connect(name, stream).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        let (answer, _body) = client.send_request(request, true).unwrap();
        tokio::select! {
            answer = answer => answer.unwrap().status().as_u16(),
            ended = connection => panic!("no answer: {ended:?}"),
        }
    })
}

fn tls(curl: &Curl) -> ClientConfig {
    let [ca, certificate, key] = curl.files();
    let chain =
        |file: &Path| CertificateDer::pem_file_iter(file).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    let mut roots = RootCertStore::empty();
    for authority in chain(&ca) {
        roots.add(authority).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let mut config = builder
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain(&certificate), key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}
