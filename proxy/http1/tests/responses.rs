//! Response heads: which body follows, and what is refused.

use hawser_http1::{BodyLength, Error, HeadScan, Limits, ResponseHead, parse_response};
use http::Method;

fn parse(head: &[u8], method: &Method) -> Result<Option<(ResponseHead, usize)>, Error> {
    let limits = Limits::default();
    let whole = parse_response(head, method, &limits);
    let mut scan = HeadScan::default();
    let pieces = (0..=head.len())
        .find_map(|have| scan.response(&head[..have], method, &limits).transpose())
        .transpose();
    let seen = |parsed: &Result<Option<(ResponseHead, usize)>, Error>| match parsed {
        Ok(Some((head, bytes))) => Ok(Some((head.status, head.body, head.keep_alive, *bytes))),
        Ok(None) => Ok(None),
        Err(error) => Err(*error),
    };
    assert_eq!(seen(&whole), seen(&pieces));
    whole
}

fn check(method: &Method, head: &str, want: Option<(u16, BodyLength, bool)>) {
    let got = parse(head.as_bytes(), method).ok().map(|complete| {
        let (parsed, bytes) = complete.expect("a whole head");
        assert_eq!(bytes, head.len());
        (parsed.status.as_u16(), parsed.body, parsed.keep_alive)
    });
    assert_eq!(got, want, "{method} {head:?}");
}

#[test]
fn the_body_by_method_and_status() {
    use BodyLength::{Chunked, Length, None as Nothing, UntilClose};
    for (method, head, want) in [
        (Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Some((200, Length(5), true))),
        (Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Some((200, Length(0), true))),
        (Method::GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Some((200, Chunked, true))),
        (Method::GET, "HTTP/1.1 200 OK\r\n\r\n", Some((200, UntilClose, false))),
        (Method::GET, "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", Some((200, UntilClose, false))),
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
            Some((200, Length(5), false)),
        ),
        (Method::GET, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", Some((200, Length(5), false))),
        (
            Method::GET,
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive\r\n\r\n",
            Some((200, Length(5), true)),
        ),
        (Method::GET, "HTTP/1.0 200 OK\r\n\r\n", Some((200, UntilClose, false))),
        (Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Some((200, Nothing, true))),
        (Method::HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Some((200, Nothing, true))),
        (Method::HEAD, "HTTP/1.1 200 OK\r\n\r\n", Some((200, Nothing, true))),
        (Method::GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Some((304, Nothing, true))),
        (Method::DELETE, "HTTP/1.1 204 No Content\r\n\r\n", Some((204, Nothing, true))),
        (Method::DELETE, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", Some((204, Nothing, true))),
        (Method::DELETE, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", None),
        (Method::DELETE, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        (Method::PUT, "HTTP/1.1 100 Continue\r\n\r\n", Some((100, Nothing, true))),
        (Method::PUT, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", Some((103, Nothing, true))),
        (Method::PUT, "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n", None),
        (
            Method::POST,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n",
            Some((101, Nothing, true)),
        ),
        (Method::POST, "HTTP/1.1 101 x\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        (Method::GET, "HTTP/1.1 999 \r\nContent-Length: 1\r\n\r\n", Some((999, Length(1), true))),
        (Method::GET, "HTTP/1.1 200 a\tb \u{e9}\r\nContent-Length: 1\r\n\r\n", Some((200, Length(1), true))),
    ] {
        check(&method, head, want);
    }
}

#[test]
fn refused() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 304 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\rX\r\n\r\n",
        "HTTP/1.1 200 OK\r\n X: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 -20 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "HTTP/1.x 200 OK\r\n\r\n",
        " HTTP/1.1 200 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "SSH-2.0-OpenSSH_9.9\r\n\r\n",
        "HTTP/1.1 200 a\0b\r\n\r\n",
    ] {
        check(&Method::GET, head, None);
    }
    for head in ["HTTP/1.2 200 OK\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/2 200 OK\r\n\r\n"] {
        assert_eq!(parse(head.as_bytes(), &Method::GET).err(), Some(Error::Version), "{head}");
    }
}

#[test]
fn informational_heads_come_one_by_one() {
    let wire = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok";
    let mut scan = HeadScan::default();
    let (first, bytes) = scan.response(wire, &Method::POST, &Limits::default()).unwrap().unwrap();
    let (second, more) = scan.response(&wire[bytes..], &Method::POST, &Limits::default()).unwrap().unwrap();
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (100, 201));
    assert_eq!(&wire[bytes + more..], b"ok");
}

#[test]
fn the_largest_head_and_one_more() {
    let frame = "HTTP/1.1 200 OK\r\nX: \r\n\r\n".len();
    let limits = Limits { head_bytes_max: 100, ..Limits::default() };
    for (bytes, fits) in [(100, true), (101, false)] {
        let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(bytes - frame));
        let parsed = parse_response(head.as_bytes(), &Method::GET, &limits);
        assert_eq!(parsed.is_ok(), fits, "{bytes}");
        assert!(fits || matches!(parsed, Err(Error::HeadTooLarge)));
    }
}
