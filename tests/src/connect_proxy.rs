//! A forward proxy that clients reach the edge through: `CONNECT`, and nothing else.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// A running one; it ends with the test's process.
pub struct ConnectProxy {
    port: u16,
    credentials: Option<(&'static str, &'static str)>,
    tunnels: Arc<AtomicUsize>,
}

impl ConnectProxy {
    /// Starts it; with `credentials` (a name with its password, and the same as `Basic` encodes it) it lets nobody else through.
    #[must_use]
    pub fn start(credentials: Option<(&'static str, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let tunnels = Arc::new(AtomicUsize::new(0));
        let wanted = credentials.map(|(_, encoded)| format!("Basic {encoded}"));
        let counter = Arc::clone(&tunnels);
        thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                let (wanted, counter) = (wanted.clone(), Arc::clone(&counter));
                // Clients come and go as they like.
                thread::spawn(move || serve(client, wanted.as_deref(), &counter).is_ok());
            }
        });
        Self { port, credentials, tunnels }
    }

    /// Its URL, with the credentials that it wants.
    #[must_use]
    pub fn url(&self) -> String {
        let user = self.credentials.map(|(plain, _)| format!("{plain}@")).unwrap_or_default();
        format!("http://{user}127.0.0.1:{}", self.port)
    }

    /// Its URL without credentials.
    #[must_use]
    pub fn bare_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many connections went through.
    #[must_use]
    pub fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::Relaxed)
    }
}

fn serve(client: TcpStream, wanted: Option<&str>, tunnels: &AtomicUsize) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (mut client, mut head) = (client, Vec::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let authorized = wanted.is_none_or(|wanted| {
        head.iter().any(|line| {
            line.split_once(": ").is_some_and(|(name, value)| {
                name.eq_ignore_ascii_case("proxy-authorization") && value == wanted
            })
        })
    });
    let target = head.first().and_then(|line| line.strip_prefix("CONNECT ")?.split(' ').next());
    let Some(target) = target.filter(|_| authorized) else {
        return client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
    };
    let server = TcpStream::connect(target)?;
    tunnels.fetch_add(1, Ordering::Relaxed);
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let mut up = server.try_clone()?;
    // What came right behind the head is in the reader.
    thread::spawn(move || {
        let copied = io::copy(&mut reader, &mut up);
        up.shutdown(Shutdown::Write).and(copied).is_ok()
    });
    io::copy(&mut { server }, &mut client)?;
    client.shutdown(Shutdown::Both)
}
