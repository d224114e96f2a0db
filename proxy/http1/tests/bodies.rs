//! Bodies: chunked in every spelling, truncated, and what is left for the next message.

use bytes::BytesMut;
use hawser_http1::{BodyDecoder, BodyLength, Decoded, Error, Limits, write_chunk, write_last_chunk};
use http::{HeaderMap, HeaderValue};

/// What a body came to: payload, trailers, and the bytes behind it.
#[derive(Debug, PartialEq)]
struct Body {
    payload: Vec<u8>,
    trailers: Option<HeaderMap>,
    left: Vec<u8>,
}

/// Decodes `wire` in pieces of `piece` bytes. A body that the end of `wire` cuts short is an error.
fn decode(length: BodyLength, wire: &[u8], piece: usize, limits: &Limits) -> Result<Body, Error> {
    let mut decoder = BodyDecoder::new(length, limits);
    let mut buf = BytesMut::new();
    let mut payload = Vec::new();
    for (at, part) in wire.chunks(piece).enumerate() {
        buf.extend_from_slice(part);
        loop {
            match decoder.decode(&mut buf)? {
                Decoded::NeedMore => break,
                Decoded::Data(data) => {
                    assert!(!data.is_empty());
                    payload.extend_from_slice(&data);
                }
                Decoded::End(trailers) => {
                    assert_eq!(decoder.decode(&mut buf), Ok(Decoded::End(None)));
                    assert_eq!(decoder.eof(), Ok(()));
                    let taken = (at * piece + part.len()) - buf.len();
                    return Ok(Body { payload, trailers, left: wire[taken..].to_vec() });
                }
            }
        }
        assert_eq!(decoder.decode(&mut buf), Ok(Decoded::NeedMore));
    }
    decoder.eof()?;
    Ok(Body { payload, trailers: None, left: Vec::new() })
}

fn check_with(limits: &Limits, length: BodyLength, wire: &[u8], want: Result<(&str, &str), Error>) {
    for piece in [1, 2, 3, 7, wire.len().max(1)] {
        let got = decode(length, wire, piece, limits);
        let want = want.map(|(payload, left)| (payload.as_bytes().to_vec(), left.as_bytes().to_vec()));
        let shown = String::from_utf8_lossy(wire);
        assert_eq!(got.map(|body| (body.payload, body.left)), want, "{shown:?} by {piece}");
    }
}

fn check(length: BodyLength, wire: &str, want: Result<(&str, &str), Error>) {
    check_with(&Limits::default(), length, wire.as_bytes(), want);
}

#[test]
fn lengths() {
    check(BodyLength::None, "GET /", Ok(("", "GET /")));
    check(BodyLength::Length(0), "GET /", Ok(("", "GET /")));
    check(BodyLength::Length(5), "helloGET /", Ok(("hello", "GET /")));
    check(BodyLength::Length(5), "hello", Ok(("hello", "")));
    check(BodyLength::Length(5), "hell", Err(Error::Truncated));
    check(BodyLength::Length(5), "", Err(Error::Truncated));
    check(BodyLength::UntilClose, "hello", Ok(("hello", "")));
    check(BodyLength::UntilClose, "", Ok(("", "")));
}

#[test]
fn chunks() {
    let chunked = |wire, want| check(BodyLength::Chunked, wire, want);
    chunked("0\r\n\r\n", Ok(("", "")));
    chunked("5\r\nhello\r\n0\r\n\r\nGET /", Ok(("hello", "GET /")));
    chunked("5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", Ok(("hello!", "")));
    chunked("00000005\r\nhello\r\n0000000000000000\r\n\r\n", Ok(("hello", "")));
    chunked("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", Ok(("01234567890123456789", "")));
    chunked("2\r\n\r\n\r\n0\r\n\r\n", Ok(("\r\n", "")));
    for truncated in ["", "5", "5\r", "5\r\n", "5\r\nhel", "5\r\nhello", "5\r\nhello\r", "5\r\nhello\r\n"] {
        chunked(truncated, Err(Error::Truncated));
    }
    for truncated in ["5\r\nhello\r\n0", "5\r\nhello\r\n0\r\n", "0\r\n\r", "0\r\nX: y", "0\r\nX: y\r\n"] {
        chunked(truncated, Err(Error::Truncated));
    }
}

#[test]
fn chunks_with_two_readings() {
    let refused = |wire, why| check(BodyLength::Chunked, wire, Err(Error::Chunked(why)));
    for wire in ["5;a=b\r\nhello\r\n", "5;\r\nhello\r\n", "0;x\r\n\r\n", "5;\n0\r\n\r\n"] {
        refused(wire, "chunk extension");
    }
    for wire in
        ["0x5\r\nhello\r\n", "+5\r\n", "-5\r\n", " 5\r\n", "5 \r\n", "5\t;a\r\n", "g\r\n", "5,5\r\n", "\0"]
    {
        refused(wire, "bad byte in a chunk size");
    }
    for wire in ["\n", "5\nhello\r\n", "0\n\r\n"] {
        refused(wire, "LF without CR");
    }
    for wire in ["5\r5\r\n", "0\r\r\n"] {
        refused(wire, "CR without LF");
    }
    for wire in ["\r\n", "\r\n5\r\nhello\r\n"] {
        refused(wire, "no chunk size");
    }
    for wire in ["5\r\nhelloX", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\rX", "5\r\nhello0\r\n\r\n"] {
        // The payload of the chunk itself is sound and has gone on by then.
        refused(wire, "no CRLF after a chunk");
    }
}

#[test]
fn the_largest_chunk_and_one_more() {
    let too_large = Err(Error::Chunked("chunk size is too large"));
    check(BodyLength::Chunked, "7fffffffffffffff\r\nx", Err(Error::Truncated));
    check(BodyLength::Chunked, "8000000000000000\r\nx", too_large);
    check(BodyLength::Chunked, "ffffffffffffffff\r\nx", too_large);
    check(BodyLength::Chunked, "10000000000000000\r\nx", too_large);
    check(BodyLength::Chunked, "00000000000000005\r\nx", too_large);
    check(BodyLength::Chunked, &"f".repeat(1000), too_large);
    let limits = Limits { chunk_line_max: 2, ..Limits::default() };
    check_with(&limits, BodyLength::Chunked, b"01\r\nx\r\n0\r\n\r\n", Ok(("x", "")));
    check_with(&limits, BodyLength::Chunked, b"001\r\nx\r\n0\r\n\r\n", too_large);
}

#[test]
fn trailers_come_with_the_end() {
    let wire = b"0\r\nGrpc-Status: 0\r\nX: 1\r\nX: \x802\r\n\r\nGET /";
    let body = decode(BodyLength::Chunked, wire, wire.len(), &Limits::default()).unwrap();
    let trailers = body.trailers.unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    let values: Vec<_> = trailers.get_all("x").iter().map(HeaderValue::as_bytes).collect();
    assert_eq!(values, [&b"1"[..], b"\x802"]);
    assert_eq!(body.left, b"GET /");
}

#[test]
fn trailers_that_change_what_was_acted_upon() {
    for name in [
        "Transfer-Encoding",
        "Content-Length",
        "Host",
        "Trailer",
        "TE",
        "Connection",
        "Keep-Alive",
        "Upgrade",
        "Proxy-Connection",
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        "Expect",
        "Content-Type",
        "content-encoding",
        "Content-Range",
        "Cache-Control",
        "Location",
        "Retry-After",
    ] {
        let refused = Err(Error::Chunked("a field that may not be in a trailer"));
        check(BodyLength::Chunked, &format!("0\r\nX: y\r\n{name}: chunked\r\n\r\n"), refused);
        // An h2 peer may have sent it; the encoder drops it.
        let mut trailers = HeaderMap::new();
        trailers
            .insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("1"));
        trailers.insert("x", HeaderValue::from_static("y"));
        let mut wire = BytesMut::new();
        write_last_chunk(&mut wire, Some(&trailers));
        assert_eq!(&wire[..], b"0\r\nX: y\r\n\r\n");
    }
}

#[test]
fn trailer_grammar_and_bounds() {
    let malformed = |wire, why| check(BodyLength::Chunked, wire, Err(Error::Malformed(why)));
    malformed("0\r\n X: y\r\n\r\n", "folded header line");
    malformed("0\r\nX: y\n\r\n", "LF without CR");
    malformed("0\r\n\n", "LF without CR");
    malformed("0\r\nX : y\r\n\r\n", "whitespace in a header name");
    malformed("0\r\n: y\r\n\r\n", "header without a name");
    malformed("0\r\nGET / HTTP/1.1\r\n\r\n", "whitespace in a header name");
    // 10 bytes: `X: yyy` and two line ends.
    for (limits, fits) in [
        (Limits { trailers_max: 10, ..Limits::default() }, true),
        (Limits { trailers_max: 9, ..Limits::default() }, false),
        (Limits { headers_max: 1, ..Limits::default() }, true),
        (Limits { headers_max: 0, ..Limits::default() }, false),
    ] {
        let want = if fits { Ok(("", "")) } else { Err(Error::HeadTooLarge) };
        check_with(&limits, BodyLength::Chunked, b"0\r\nX: yyy\r\n\r\n", want);
    }
}

#[test]
fn an_empty_chunk_does_not_end_a_body() {
    let mut wire = BytesMut::new();
    write_chunk(&mut wire, b"a");
    write_chunk(&mut wire, b"");
    write_chunk(&mut wire, &[b'b'; 16]);
    write_last_chunk(&mut wire, None);
    assert_eq!(&wire[..], b"1\r\na\r\n10\r\nbbbbbbbbbbbbbbbb\r\n0\r\n\r\n");
}

#[test]
fn payload_is_not_waited_for() {
    let mut decoder = BodyDecoder::new(BodyLength::Chunked, &Limits::default());
    let mut buf = BytesMut::from(&b"1000\r\nab"[..]);
    assert_eq!(decoder.decode(&mut buf), Ok(Decoded::Data("ab".into())));
    assert_eq!(decoder.decode(&mut buf), Ok(Decoded::NeedMore));
}
