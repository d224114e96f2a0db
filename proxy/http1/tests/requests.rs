//! What an honest request becomes, and the bounds.

use hawser_http1::{BodyLength, Error, HeadScan, Limits, RequestHead, parse_request};
use http::Method;

fn parse(head: &str) -> RequestHead {
    let (parsed, bytes) =
        parse_request(head.as_bytes(), &Limits::default()).expect("sound").expect("complete");
    assert_eq!(bytes, head.len());
    parsed
}

fn status(head: &[u8], limits: &Limits) -> Option<u16> {
    parse_request(head, limits).err().map(Error::status_code)
}

#[test]
fn a_spdy_exec_of_kubectl() {
    let head = parse(
        "POST /api/v1/namespaces/n/pods/p/exec?command=sh&command=-c&command=a+b%3B&stdin=true HTTP/1.1\r\n\
         Host: prod.example.com\r\n\
         User-Agent: kubectl/v1.20.15\r\n\
         Content-Length: 0\r\n\
         Connection: Upgrade\r\n\
         Upgrade: SPDY/3.1\r\n\
         X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\
         X-Stream-Protocol-Version: v3.channel.k8s.io\r\n\
         X-Stream-Protocol-Version: v2.channel.k8s.io\r\n\
         \r\n",
    );
    assert_eq!(head.method, Method::POST);
    assert_eq!(
        head.target,
        "/api/v1/namespaces/n/pods/p/exec?command=sh&command=-c&command=a+b%3B&stdin=true"
    );
    let protocols: Vec<_> = head.headers.get_all("x-stream-protocol-version").iter().collect();
    assert_eq!(protocols, ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io"]);
    assert_eq!(head.headers["upgrade"], "SPDY/3.1");
    assert_eq!(head.body, BodyLength::Length(0));
    assert!(head.keep_alive && !head.http10 && !head.expect_continue);
}

#[test]
fn values_stay_raw_bytes() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nX: \t \x80\xff \t\r\nX:\r\nX: \xa0y\r\n\r\n";
    let (parsed, _) = parse_request(head, &Limits::default()).unwrap().unwrap();
    let values: Vec<_> = parsed.headers.get_all("x").iter().map(|value| value.as_bytes()).collect();
    assert_eq!(values, [&b"\x80\xff"[..], b"", b"\xa0y"]);
}

#[test]
fn how_the_connection_goes_on() {
    for (version, connection, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: x\r\nConnection: y ,\tCLOSE\r\n", false),
        ("1.1", "Connection: keep-alive, close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.1", "Connection: Upgrade\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", false),
    ] {
        let head = parse(&format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n"));
        assert_eq!(head.keep_alive, keep_alive, "{version} {connection}");
        assert_eq!(head.http10, version == "1.0");
    }
}

#[test]
fn expectations_matter_only_with_a_body() {
    for (version, fields, expect_continue) in [
        ("1.1", "Expect: 100-Continue\r\nContent-Length: 5\r\n", true),
        ("1.1", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", true),
        ("1.1", "Expect: 100-continue\r\n", false),
        ("1.1", "Expect: 100-continue\r\nContent-Length: 0\r\n", false),
        ("1.0", "Expect: 100-continue\r\nContent-Length: 5\r\n", false),
    ] {
        let head = parse(&format!("PUT / HTTP/{version}\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(head.expect_continue, expect_continue, "{version} {fields}");
    }
}

#[test]
fn underscores_are_reported() {
    let head =
        parse("GET / HTTP/1.1\r\nHost: a\r\nImpersonate_User: x\r\nX-Y: z\r\nContent_Length: 5\r\n\r\n");
    let mut names: Vec<_> = head.underscored().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content_length", "impersonate_user"]);
    assert_eq!(head.body, BodyLength::None);
}

#[test]
fn credentials_are_not_printed() {
    let head = parse(
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s3cret\r\nCookie: s3cret\r\n\
         Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.s3cret\r\n\r\n",
    );
    assert!(!format!("{head:?}").contains("s3cret"));
}

#[test]
fn pipelined_requests_are_left_in_the_buffer() {
    let two = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut scan = HeadScan::default();
    let (first, bytes) = scan.request(two, &Limits::default()).unwrap().unwrap();
    let (second, rest) = scan.request(&two[bytes..], &Limits::default()).unwrap().unwrap();
    assert_eq!((&*first.target, &*second.target), ("/1", "/2"));
    assert_eq!(bytes + rest, two.len());
}

#[test]
fn a_token_of_12_kib_and_a_target_of_60_kib_pass() {
    let target = format!("/api/v1/pods?labelSelector={}", "a".repeat(60 * 1024));
    let token = "t".repeat(12 * 1024);
    let head = parse(&format!("GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"));
    assert_eq!(head.target, target);
    assert_eq!(head.headers["authorization"].len(), "Bearer ".len() + token.len());
}

#[test]
fn the_longest_target_and_one_more() {
    let limits = Limits::default();
    let head =
        |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(bytes - 1)).into_bytes();
    assert_eq!(status(&head(limits.target_bytes_max), &limits), None);
    assert_eq!(status(&head(limits.target_bytes_max + 1), &limits), Some(414));
    // Refused with the first byte too many, not when the line is complete.
    assert_eq!(
        status(&head(limits.target_bytes_max + 1)[..4 + limits.target_bytes_max + 1], &limits),
        Some(414)
    );
    assert_eq!(status(b"GET /", &Limits { target_bytes_max: 0, ..limits }), Some(414));
}

#[test]
fn the_largest_head_and_one_more() {
    let limits = Limits::default();
    let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
    let head =
        |bytes: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(bytes - frame));
    assert_eq!(status(head(limits.head_bytes_max).as_bytes(), &limits), None);
    assert_eq!(status(head(limits.head_bytes_max + 1).as_bytes(), &limits), Some(431));
    let endless = head(2 * limits.head_bytes_max);
    assert_eq!(status(&endless.as_bytes()[..limits.head_bytes_max], &limits), None);
    assert_eq!(status(&endless.as_bytes()[..=limits.head_bytes_max], &limits), Some(431));
}

#[test]
fn the_most_fields_and_one_more() {
    let limits = Limits::default();
    let head = |fields: usize| {
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(fields - 1)).into_bytes()
    };
    assert_eq!(status(&head(limits.headers_max), &limits), None);
    assert_eq!(status(&head(limits.headers_max + 1), &limits), Some(431));
}

#[test]
fn limits_beyond_what_a_header_map_holds_are_no_panic() {
    let limits = Limits { headers_max: usize::MAX, ..Limits::default() };
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100_000)).into_bytes();
    assert_eq!(status(&head, &limits), Some(431));
    let name = format!("GET / HTTP/1.1\r\nHost: a\r\n{}: y\r\n\r\n", "x".repeat(1 << 16)).into_bytes();
    assert_eq!(status(&name, &limits), Some(400));
}

/// Judged again from the start at each byte this would take hours.
#[test]
fn a_large_head_in_pieces_of_one_byte_is_read_once() {
    let limits = Limits::default();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1_000_000)).into_bytes();
    let mut scan = HeadScan::default();
    let complete = (0..=head.len()).find_map(|have| scan.request(&head[..have], &limits).unwrap());
    assert_eq!(complete.unwrap().1, head.len());
}
