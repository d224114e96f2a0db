//! Request heads that other parsers have read in two ways, and honest ones that look unusual. Each goes in
//! whole and in pieces of one byte, and must have the same outcome.

use hawser_http1::{BodyLength, Error, HeadScan, Limits, RequestHead, parse_request};

enum Want {
    /// Refused with this status code.
    Refused(u16),
    /// Taken, with this body.
    Taken(BodyLength),
}
use Want::{Refused, Taken};

const NONE: Want = Taken(BodyLength::None);
const CHUNKED: Want = Taken(BodyLength::Chunked);

fn check(cases: &[(&str, &[u8], Want)]) {
    for (name, head, want) in cases {
        check_one(name, head, want);
    }
}

fn check_one(name: &str, head: &[u8], want: &Want) {
    let limits = Limits::default();
    let whole = outcome(parse_request(head, &limits));
    let pieces = outcome(one_byte_at_a_time(head, &limits));
    match want {
        Refused(code) => {
            assert_eq!(whole.map_err(Error::status_code), Err(*code), "{name}");
        }
        Taken(body) => assert_eq!(whole, Ok(Some((*body, head.len()))), "{name}"),
    }
    assert_eq!(whole, pieces, "{name}: in pieces");
}

fn outcome(
    parsed: Result<Option<(RequestHead, usize)>, Error>,
) -> Result<Option<(BodyLength, usize)>, Error> {
    parsed.map(|complete| complete.map(|(head, bytes)| (head.body, bytes)))
}

/// Also asks twice at each length: a piece of 0 bytes changes nothing.
fn one_byte_at_a_time(head: &[u8], limits: &Limits) -> Result<Option<(RequestHead, usize)>, Error> {
    let mut scan = HeadScan::default();
    for have in 0..=head.len() {
        let first = scan.request(&head[..have], limits);
        let again = scan.request(&head[..have], limits);
        assert_eq!(outcome(first), outcome(again.clone()));
        if let Some(complete) = again? {
            return Ok(Some(complete));
        }
    }
    Ok(None)
}

/// A POST with these field lines after `Host`.
fn with(fields: &str) -> Vec<u8> {
    format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").into_bytes()
}

fn check_fields(cases: &[(&str, Want)]) {
    for (fields, want) in cases {
        check_one(fields, &with(fields), want);
    }
}

#[test]
fn content_length_in_every_spelling() {
    check_fields(&[
        ("Content-Length: 0", Taken(BodyLength::Length(0))),
        ("Content-Length: 5", Taken(BodyLength::Length(5))),
        ("content-LENGTH:5", Taken(BodyLength::Length(5))),
        ("Content-Length: \t 5 \t", Taken(BodyLength::Length(5))),
        ("Content-Length: 9223372036854775807", Taken(BodyLength::Length(i64::MAX as u64))),
        ("Content-Length: 9223372036854775808", Refused(400)),
        ("Content-Length: 18446744073709551616", Refused(400)),
        ("Content-Length: 99999999999999999999999999", Refused(400)),
        ("Content-Length:", Refused(400)),
        ("Content-Length: -1", Refused(400)),
        ("Content-Length: +5", Refused(400)),
        ("Content-Length: 0x5", Refused(400)),
        ("Content-Length: 5.0", Refused(400)),
        ("Content-Length: 5e1", Refused(400)),
        ("Content-Length: 05", Refused(400)),
        ("Content-Length: 00", Refused(400)),
        ("Content-Length: 5 5", Refused(400)),
        ("Content-Length: 5,5", Refused(400)),
        ("Content-Length: 5, 6", Refused(400)),
        ("Content-Length: \"5\"", Refused(400)),
        ("Content-Length: 5;x", Refused(400)),
        ("Content-Length: \u{665}", Refused(400)),
        ("Content-Length: 5\r\nContent-Length: 5", Refused(400)),
        ("Content-Length: 5\r\nContent-Length: 6", Refused(400)),
        ("Content-Length: 5\r\nX: y\r\ncontent-length: 0", Refused(400)),
        ("Content-Length : 5", Refused(400)),
        ("Content-Length\t: 5", Refused(400)),
        ("Content Length: 5", Refused(400)),
        ("Content-Length\0: 5", Refused(400)),
        ("Content-Length: 5\x0b", Refused(400)),
        ("Content-Length: 5\0", Refused(400)),
    ]);
}

#[test]
fn transfer_encoding_in_every_spelling() {
    check_fields(&[
        ("Transfer-Encoding: chunked", CHUNKED),
        ("transfer-encoding:CHUNKED", CHUNKED),
        ("Transfer-Encoding:\tchunked\t", CHUNKED),
        ("Transfer-Encoding: identity", Refused(501)),
        ("Transfer-Encoding: gzip", Refused(501)),
        ("Transfer-Encoding: gzip, chunked", Refused(501)),
        ("Transfer-Encoding: chunked, gzip", Refused(501)),
        ("Transfer-Encoding: chunked, chunked", Refused(501)),
        ("Transfer-Encoding: chunked,", Refused(501)),
        ("Transfer-Encoding: , chunked", Refused(501)),
        ("Transfer-Encoding: chunked;q=1", Refused(501)),
        ("Transfer-Encoding: \"chunked\"", Refused(501)),
        ("Transfer-Encoding: xchunked", Refused(501)),
        ("Transfer-Encoding: chunke", Refused(501)),
        ("Transfer-Encoding: cow", Refused(501)),
        ("Transfer-Encoding:", Refused(501)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Refused(501)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", Refused(501)),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", Refused(501)),
        ("Transfer-Encoding: \x0bchunked", Refused(400)),
        ("Transfer-Encoding: chunked\0", Refused(400)),
        ("Transfer-Encoding: chunk\u{e9}d", Refused(501)),
        ("Transfer-Encoding : chunked", Refused(400)),
        ("Transfer-Encoding\t: chunked", Refused(400)),
        (" Transfer-Encoding: chunked", Refused(400)),
        ("\tTransfer-Encoding: chunked", Refused(400)),
        ("X: y\r\n Transfer-Encoding: chunked", Refused(400)),
        ("Transfer-Encoding:\r\n chunked", Refused(400)),
        ("Transfer-Encoding: chun\r\n ked", Refused(400)),
        ("Transfer-Encoding\r\n : chunked", Refused(400)),
        ("Transfer-Encoding\r\n: chunked", Refused(400)),
        ("X: y\nTransfer-Encoding: chunked", Refused(400)),
        ("X: y\rTransfer-Encoding: chunked", Refused(400)),
        ("\x01Transfer-Encoding: chunked", Refused(400)),
        ("\"Transfer-Encoding\": chunked", Refused(400)),
        ("Transfer-Encod\u{131}ng: chunked", Refused(400)),
        ("Transfer-Encoding chunked", Refused(400)),
    ]);
}

#[test]
fn content_length_with_transfer_encoding() {
    check_fields(&[
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", Refused(400)),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", Refused(400)),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", Refused(400)),
        ("Transfer-Encoding: identity\r\nContent-Length: 5", Refused(400)),
        ("Transfer-Encoding:\r\nContent-Length: 5", Refused(400)),
    ]);
    check(&[
        ("1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Refused(400)),
        ("1.0 with length", b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\n", Taken(BodyLength::Length(3))),
    ]);
}

#[test]
fn line_ends() {
    check(&[
        ("honest", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
        ("LF after the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", Refused(400)),
        ("LF after a header", b"GET / HTTP/1.1\r\nHost: a\n\r\n", Refused(400)),
        ("LF as the empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\n", Refused(400)),
        ("LF everywhere", b"GET / HTTP/1.1\nHost: a\n\n", Refused(400)),
        ("CR after the request line", b"GET / HTTP/1.1\rHost: a\r\n\r\n", Refused(400)),
        ("CR CR LF", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", Refused(400)),
        ("CR in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", Refused(400)),
        ("CR CR at the end", b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n", Refused(400)),
        ("empty line first", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("LF first", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("space first", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("folded first line", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", Refused(400)),
        ("line of a space", b"GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", Refused(400)),
    ]);
}

#[test]
fn request_lines() {
    check(&[
        ("two spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("two spaces before the version", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("tab", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("form feed", b"GET /\x0cHTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("space at the end", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Refused(400)),
        ("no version", b"GET /\r\nHost: a\r\n\r\n", Refused(400)),
        ("empty version", b"GET / \r\nHost: a\r\n\r\n", Refused(400)),
        ("empty target", b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("lower case", b"GET / http/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", Refused(505)),
        ("2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", Refused(505)),
        ("0.9", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", Refused(505)),
        ("1.10", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", Refused(400)),
        ("01.1", b"GET / HTTP/01.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("1,1", b"GET / HTTP/1,1\r\nHost: a\r\n\r\n", Refused(400)),
        ("HTTPS", b"GET / HTTPS/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("NUL in the method", b"G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("colon in the method", b"GET: / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("a header as method", b"X: GET / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("another method", b"PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
        ("method of 32", b"ABCDEFGHABCDEFGHABCDEFGHABCDEFGH / HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
        ("method of 33", b"ABCDEFGHABCDEFGHABCDEFGHABCDEFGHI / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(501)),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Refused(400)),
        ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refused(400)),
    ]);
}

#[test]
fn only_origin_form() {
    check(&[
        ("absolute", b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("absolute https", b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("asterisk", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("asterisk of GET", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("authority", b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("CONNECT", b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(501)),
        ("TRACE", b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(501)),
        ("no slash", b"GET api HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("query only", b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("fragment", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("non-ASCII", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("DEL", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("NUL", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("two slashes", b"GET //a HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
        ("all others", b"GET /!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~ HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
    ]);
}

#[test]
fn exactly_one_host() {
    let get = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}\r\n").into_bytes();
    for (fields, want) in [
        ("Host: prod.example.com\r\n", NONE),
        ("HOST: prod.example.com:6443\r\n", NONE),
        ("Host: 127.0.0.1:65535\r\n", NONE),
        ("Host: [::1]:6443\r\n", NONE),
        ("Host: [::ffff:10.0.0.1]\r\n", NONE),
        ("Host: a_b\r\n", NONE),
        ("", Refused(400)),
        ("Host:\r\n", Refused(400)),
        ("Host: a\r\nHost: a\r\n", Refused(400)),
        ("Host: a\r\nX: y\r\nhost: b\r\n", Refused(400)),
        ("Host : a\r\n", Refused(400)),
        ("Host: a, b\r\n", Refused(400)),
        ("Host: a b\r\n", Refused(400)),
        ("Host: a@b\r\n", Refused(400)),
        ("Host: a/b\r\n", Refused(400)),
        ("Host: a?b\r\n", Refused(400)),
        ("Host: a%2eb\r\n", Refused(400)),
        ("Host: \u{e9}\r\n", Refused(400)),
        ("Host: https://a\r\n", Refused(400)),
        ("Host: :443\r\n", Refused(400)),
        ("Host: a:\r\n", Refused(400)),
        ("Host: a:65536\r\n", Refused(400)),
        ("Host: a:+1\r\n", Refused(400)),
        ("Host: a:1:2\r\n", Refused(400)),
        ("Host: ::1\r\n", Refused(400)),
        ("Host: []\r\n", Refused(400)),
        ("Host: [::1\r\n", Refused(400)),
        ("Host: [::1]x\r\n", Refused(400)),
        ("Host: [fe80::1%25eth0]\r\n", Refused(400)),
    ] {
        check_one(fields, &get(fields), &want);
    }
    check(&[("1.0 needs none", b"GET / HTTP/1.0\r\n\r\n", NONE)]);
}

#[test]
fn names_and_values() {
    check_fields(&[
        ("X:", NONE),
        ("X: a\tb", NONE),
        ("X: \u{e9}", NONE),
        ("!#$%&'*+-.^_`|~: y", NONE),
        (": y", Refused(400)),
        ("X", Refused(400)),
        ("X(: y", Refused(400)),
        ("X/Y: y", Refused(400)),
        ("\u{e9}: y", Refused(400)),
        ("X: \x7f", Refused(400)),
        ("X: \x1b[2J", Refused(400)),
        ("Expect: 100-continue", NONE),
        ("Expect: 200-ok", Refused(417)),
        ("Expect: 100-continue, x", Refused(417)),
        ("Expect: 100-continue\r\nExpect: 100-continue", Refused(417)),
    ]);
    check(&[
        ("obs-text in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \x80\xff\r\n\r\n", NONE),
        ("obs-text in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\x80: y\r\n\r\n", Refused(400)),
    ]);
}

/// Whether a byte may stand in a place.
type Sound<'a> = &'a dyn Fn(u8) -> bool;

/// All 256 bytes in each place. The second parser has nothing left to refuse.
#[test]
fn every_byte_in_every_place() {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let target = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    let value = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    // A colon in a name ends it.
    let places: [(&str, &str, Sound<'_>); 4] = [
        ("G", "T / HTTP/1.1\r\nHost: a\r\n\r\n", &token),
        ("GET /a", "b HTTP/1.1\r\nHost: a\r\n\r\n", &target),
        ("GET / HTTP/1.1\r\nHost: a\r\nX", "Y: z\r\n\r\n", &|byte| token(byte) || byte == b':'),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: y", "z\r\n\r\n", &value),
    ];
    for (before, after, sound) in places {
        for byte in 0..=u8::MAX {
            let head = [before.as_bytes(), &[byte], after.as_bytes()].concat();
            let parsed = outcome(parse_request(&head, &Limits::default()));
            assert_eq!(parsed.is_ok(), sound(byte), "{before} {byte:#x}");
            assert_ne!(parsed, Err(Error::Malformed("head has two readings")), "{before} {byte:#x}");
        }
    }
}

#[test]
fn an_incomplete_head_is_waited_for() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for have in 0..head.len() {
        assert_eq!(outcome(parse_request(&head[..have], &Limits::default())), Ok(None), "{have} bytes");
    }
}
