//! Properties over all inputs: no panic, no dependence on how bytes were cut into pieces, and what is
//! written is read back the same.

use bytes::BytesMut;
use hawser_http1::{
    BodyDecoder, BodyLength, Decoded, Error, HeadScan, Limits, RequestHead, ResponseHead, parse_request,
    parse_response, write_chunk, write_last_chunk, write_request_head, write_response_head,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Small, so that the bounds are hit too.
fn small() -> Limits {
    Limits { head_bytes_max: 200, headers_max: 4, target_bytes_max: 24, chunk_line_max: 5, trailers_max: 60 }
}

/// Bytes that look like HTTP often enough to get deep into the grammar.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        b"GET ",
        b"POST ",
        b"/",
        b"/x",
        b" HTTP/1.1",
        b" HTTP/1.0",
        b"HTTP/1.1 ",
        b"200 ",
        b"204 ",
        b"OK",
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b" ",
        b"\t",
        b"Host: a",
        b"Host",
        b":",
        b": ",
        b"X: y",
        b"Content-Length: ",
        b"Content-Length: 2",
        b"Transfer-Encoding: ",
        b"chunked",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"Expect: 100-continue",
        b"0\r\n",
        b"2\r\nab\r\n",
        b"5",
        b"f",
        b";",
        b"\0",
        b"\x80",
        b"a",
    ];
    let word = prop_oneof![8 => select(words).prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 0..3)];
    let start = select(vec![
        &b""[..],
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"5\r\nhello\r\n0\r\n",
    ]);
    (start, vec(word, 0..12)).prop_map(|(start, words)| [start.to_vec(), words.concat()].concat())
}

/// Where to cut: each cut is taken modulo what is left.
fn pieces() -> impl Strategy<Value = Vec<usize>> {
    vec(0_usize..9, 1..20)
}

/// The lengths of `bytes` that a reader sees, ending with all of it.
fn lengths<'a>(bytes: &'a [u8], pieces: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    let mut have = 0;
    let growing = pieces.iter().cycle().take(4 * bytes.len()).map(move |piece| {
        have = bytes.len().min(have + piece);
        have
    });
    growing.chain([bytes.len()])
}

type Seen<H> = Result<Option<(H, usize)>, Error>;

fn request_in_pieces(bytes: &[u8], pieces: &[usize], limits: &Limits) -> Seen<RequestHead> {
    let mut scan = HeadScan::default();
    lengths(bytes, pieces).find_map(|have| scan.request(&bytes[..have], limits).transpose()).transpose()
}

fn response_in_pieces(bytes: &[u8], pieces: &[usize], limits: &Limits) -> Seen<ResponseHead> {
    let mut scan = HeadScan::default();
    lengths(bytes, pieces)
        .find_map(|have| scan.response(&bytes[..have], &Method::GET, limits).transpose())
        .transpose()
}

/// Payload and outcome. The payload before an error may be cut differently, but is a prefix: the caller
/// compares it only on success.
fn body_in_pieces(
    length: BodyLength,
    bytes: &[u8],
    pieces: &[usize],
    limits: &Limits,
) -> Result<(Vec<u8>, Option<HeaderMap>, usize), Error> {
    let mut decoder = BodyDecoder::new(length, limits);
    let mut buf = BytesMut::new();
    let (mut payload, mut have) = (Vec::new(), 0);
    for next in lengths(bytes, pieces) {
        buf.extend_from_slice(&bytes[have..next]);
        have = next;
        loop {
            match decoder.decode(&mut buf)? {
                Decoded::NeedMore => break,
                Decoded::Data(data) => payload.extend_from_slice(&data),
                Decoded::End(trailers) => return Ok((payload, trailers, have - buf.len())),
            }
        }
    }
    decoder.eof().map(|()| (payload, None, have - buf.len()))
}

/// The parts of a head that can be compared.
fn shown<H: std::fmt::Debug>(seen: &Seen<H>) -> String {
    format!("{seen:?}")
}

fn length() -> impl Strategy<Value = BodyLength> {
    prop_oneof![
        4 => Just(BodyLength::Chunked),
        1 => Just(BodyLength::None),
        1 => (0_u64..40).prop_map(BodyLength::Length),
        1 => Just(BodyLength::UntilClose),
    ]
}

fn header_map(fields: Vec<(String, Vec<u8>)>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let value = value.trim_ascii();
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a token");
        map.append(name, HeaderValue::from_bytes(value).expect("field bytes"));
    }
    map
}

/// Fields without a meaning of their own, some of them repeated, values with obs-text and inner whitespace.
fn fields() -> impl Strategy<Value = HeaderMap> {
    let byte = prop_oneof![Just(b'\t'), 0x20_u8..=0x7e, 0x80_u8..=0xff];
    vec(("x-[a-c]{1,2}", vec(byte, 0..12)), 0..8).prop_map(header_map)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..80), length in length()) {
        for limits in [small(), Limits::default()] {
            drop(parse_request(&bytes, &limits));
            drop(parse_response(&bytes, &Method::GET, &limits));
            drop(body_in_pieces(length, &bytes, &[1], &limits));
        }
    }

    #[test]
    fn heads_do_not_depend_on_the_pieces(bytes in wire(), pieces in pieces()) {
        for limits in [small(), Limits::default()] {
            let request = parse_request(&bytes, &limits);
            prop_assert_eq!(shown(&request), shown(&request_in_pieces(&bytes, &pieces, &limits)));
            let response = parse_response(&bytes, &Method::GET, &limits);
            prop_assert_eq!(shown(&response), shown(&response_in_pieces(&bytes, &pieces, &limits)));
        }
    }

    /// The pre-scan takes a subset of what `httparse` takes, and both see the same fields.
    #[test]
    fn the_two_parsers_never_disagree(bytes in wire()) {
        let disagree = Some(Error::Malformed("head has two readings"));
        prop_assert_ne!(parse_request(&bytes, &Limits::default()).err(), disagree);
        prop_assert_ne!(parse_response(&bytes, &Method::GET, &Limits::default()).err(), disagree);
        let body = body_in_pieces(BodyLength::Chunked, &bytes, &[9], &Limits::default());
        prop_assert_ne!(body.err(), disagree);
    }

    #[test]
    fn bodies_do_not_depend_on_the_pieces(bytes in wire(), length in length(), pieces in pieces()) {
        for limits in [small(), Limits::default()] {
            let whole = body_in_pieces(length, &bytes, &[bytes.len()], &limits);
            prop_assert_eq!(whole, body_in_pieces(length, &bytes, &pieces, &limits));
        }
    }

    /// What is taken, written anew and read again is the same message with the same framing.
    #[test]
    fn a_request_that_is_taken_survives_forwarding(bytes in wire()) {
        let limits = Limits::default();
        if let Ok(Some((head, _))) = parse_request(&bytes, &limits) {
            let mut out = BytesMut::new();
            write_request_head(&mut out, &head.method, &head.target, &head.headers).unwrap();
            match parse_request(&out, &limits) {
                Ok(Some((again, bytes))) => {
                    prop_assert_eq!(bytes, out.len());
                    prop_assert_eq!(again.method, head.method);
                    prop_assert_eq!(again.target, head.target);
                    prop_assert_eq!(again.headers, head.headers);
                    prop_assert_eq!(again.body, head.body);
                }
                // Forwarded as HTTP/1.1, where a Host is needed.
                refused => prop_assert!(head.http10, "{:?}", refused),
            }
        }
    }

    #[test]
    fn requests_round_trip(
        method in select(vec![Method::GET, Method::POST, Method::PATCH, Method::DELETE]),
        target in "/[!\"$-~]{0,60}",
        mut headers in fields(),
        body in prop_oneof![
            Just(BodyLength::None), Just(BodyLength::Chunked), (0_u64..1 << 62).prop_map(BodyLength::Length)
        ],
        pieces in pieces(),
    ) {
        headers.insert("host", HeaderValue::from_static("a"));
        body.set_framing(&mut headers);
        let mut out = BytesMut::new();
        write_request_head(&mut out, &method, &target, &headers).unwrap();
        let (head, bytes) = request_in_pieces(&out, &pieces, &Limits::default()).unwrap().unwrap();
        prop_assert_eq!(bytes, out.len());
        prop_assert_eq!((head.method, head.target, head.body), (method, target, body));
        prop_assert_eq!(head.headers, headers);
    }

    #[test]
    fn responses_round_trip(
        status in 200_u16..=999,
        mut headers in fields(),
        length in length(),
        pieces in pieces(),
    ) {
        prop_assume!(status != 204 && status != 304);
        length.set_framing(&mut headers);
        let mut out = BytesMut::new();
        write_response_head(&mut out, StatusCode::from_u16(status).unwrap(), &headers);
        let (head, bytes) = response_in_pieces(&out, &pieces, &Limits::default()).unwrap().unwrap();
        prop_assert_eq!(bytes, out.len());
        prop_assert_eq!(head.status.as_u16(), status);
        prop_assert_eq!(head.headers, headers);
        let want = if length == BodyLength::None { BodyLength::UntilClose } else { length };
        prop_assert_eq!(head.body, want);
    }

    #[test]
    fn chunked_bodies_round_trip(
        chunks in vec(vec(any::<u8>(), 0..300), 0..6),
        trailers in fields(),
        behind in vec(any::<u8>(), 0..20),
        pieces in pieces(),
    ) {
        let mut out = BytesMut::new();
        for chunk in &chunks {
            write_chunk(&mut out, chunk);
        }
        let trailers = (!trailers.is_empty()).then_some(trailers);
        write_last_chunk(&mut out, trailers.as_ref());
        let end = out.len();
        out.extend_from_slice(&behind);
        let (payload, seen, taken) =
            body_in_pieces(BodyLength::Chunked, &out, &pieces, &Limits::default()).unwrap();
        prop_assert_eq!(payload, chunks.concat());
        prop_assert_eq!(seen, trailers);
        prop_assert_eq!(taken, end);
    }
}
