//! The bytes on the wire: held to the golden vectors, and safe against any others.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a step that fails fails the test")]

use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use hawser_kube::close::CloseReason;
use hawser_tunnel::wire::{
    BodyDecoder, BodyEvent, BodyV1, CHUNK_BYTES_MAX, Class, Control, DrainV1, EXTENSIONS_MAX, EnrollV1,
    EnrolledV1, Enrollment, HelloV1, LIST_MAX, MESSAGE_BYTES_MAX, Message, REFUSED, RejectedV1, ReplyV1,
    RequestV1, StatusV1, TRAILERS_BYTES_MAX, WelcomeV1, WireError, chunk_head, code_of, decode, encode,
    parse_frame, reason_of, trailers,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

// ---- golden vectors: once committed, a vector never changes ----

fn golden<M: Message + PartialEq + Debug>(name: &str, message: &M) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.bin"));
    let encoded = encode(message).unwrap();
    let committed =
        fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}; would be {encoded:02x?}"));
    assert_eq!(encoded, committed, "{name}: the wire format of a frozen message changed");
    assert_eq!(decode::<M>(&committed).unwrap(), Some((decode_one(&committed), committed.len())));
    assert_eq!(&decode_one::<M>(&committed), message);
}

fn decode_one<M: Message>(bytes: &[u8]) -> M {
    decode(bytes).unwrap().expect("a whole message").0
}

fn fields<N: AsRef<str>, V: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (N, V)>) -> HeaderMap {
    let field = |(name, value): (N, V)| {
        let name = HeaderName::try_from(name.as_ref()).unwrap();
        (name, HeaderValue::from_bytes(value.as_ref()).unwrap())
    };
    pairs.into_iter().map(field).collect()
}

fn golden_request() -> RequestV1 {
    RequestV1 {
        exchange: *b"0123456789abcdef",
        method: "POST".into(),
        target: "/api/v1/namespaces/default/pods/web/exec?command=sh&stdin=true".into(),
        headers: fields([("accept", &b"*/*"[..]), ("x-latin", b"\xe9\xff"), ("accept", b"")]),
        user: "hawser:alice@example.com".into(),
        groups: vec!["hawser:edit".into(), "system:authenticated".into()],
        extra: vec![("reason".into(), vec!["ticket 7".into(), String::new()])],
        upgrade: true,
        body: BodyV1::Length(u64::MAX),
        trailers: true,
        extensions: vec![(1, vec![1, 2, 3]), (u16::MAX, vec![])],
    }
}

fn golden_status() -> StatusV1 {
    StatusV1 {
        agent_version: "0.1.0".into(),
        kubernetes_version: "v1.36.2".into(),
        nodes: 300,
        problems: vec!["clock is off by 40 s".into()],
    }
}

fn golden_hello() -> HelloV1 {
    HelloV1 {
        cluster: "prod".into(),
        replica: "hawser-agent-5d9c".into(),
        agent_version: "0.1.0".into(),
        kubernetes_version: "v1.36.2".into(),
        nodes: 300,
        class: Class::Bulk,
        capabilities: vec!["ceiling".into()],
        problems: vec![],
        extensions: vec![(7, b"later".to_vec())],
    }
}

fn golden_enroll() -> EnrollV1 {
    EnrollV1 {
        join_token: Some(("tok-1".into(), "s3cret".into())),
        service_account_token: "header.payload.signature".into(),
        cluster_uid: "6f1f8d9e-0000-4000-8000-000000000001".into(),
        issuer: "https://kubernetes.default.svc".into(),
        jwks: r#"{"keys":[]}"#.into(),
        csr: vec![0x30, 0x82, 0x00],
        replica: "hawser-agent-5d9c".into(),
        cluster_name: "prod".into(),
    }
}

#[test]
fn golden_exchange() {
    golden("request", &golden_request());
    let bare = RequestV1 {
        headers: HeaderMap::new(),
        groups: vec![],
        extra: vec![],
        upgrade: false,
        body: BodyV1::None,
        trailers: false,
        extensions: vec![],
        ..golden_request()
    };
    golden("request-bare", &bare);
    golden("request-unknown-length", &RequestV1 { body: BodyV1::Unknown, ..bare });
    golden("reply-dispatched", &ReplyV1::Dispatched);
    golden("reply-refused", &ReplyV1::Refused { code: 503, message: "draining".into() });
    let headers = fields([("content-type", b"application/json")]);
    golden("reply-head", &ReplyV1::Head { status: 101, headers, end: true });
    golden(
        "reply-failed",
        &ReplyV1::Failed { code: 504, message: "no answer".into(), maybe_delivered: true },
    );
}

#[test]
fn golden_control() {
    golden("hello", &golden_hello());
    golden("status", &golden_status());
    let edges = vec!["edge-1.example.com:443".into(), "[2001:db8::1]:443".into()];
    golden("welcome", &WelcomeV1 { edge_id: "edge-1".into(), edges, extensions: vec![] });
    golden("drain", &DrainV1);
}

#[test]
fn golden_enrollment() {
    golden("enroll", &golden_enroll());
    golden("enroll-again", &EnrollV1 { join_token: None, ..golden_enroll() });
    golden("enrolled", &EnrolledV1 { chain: vec![vec![0x30, 0x03]], cluster: "prod".into() });
    golden("rejected", &RejectedV1 { message: "the join token has expired".into() });
}

#[test]
fn golden_trailers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/trailers.bin");
    let block = trailers(&fields([("grpc-status", "0")])).unwrap();
    assert_eq!(block, fs::read(path).unwrap());
}

#[test]
fn reasons_keep_their_numbers() {
    let bad_stream = CloseReason::BadStream("found by the other end of the tunnel".into());
    let numbered = [
        (16, CloseReason::ClientGone),
        (17, CloseReason::Drain),
        (18, CloseReason::LinkLost),
        (19, CloseReason::AgentGone),
        (20, CloseReason::UpstreamGone),
        (21, CloseReason::Revoked),
        (22, CloseReason::Timeout),
        (23, bad_stream),
        (24, CloseReason::LimitReached),
        (25, CloseReason::Shutdown),
    ];
    for (code, reason) in numbered {
        assert_eq!(code_of(&reason), code);
        assert_eq!(reason_of(code.into()), reason);
        assert_ne!(code, REFUSED);
    }
    for unknown in [0, 1, 15, 26, u64::MAX] {
        assert_eq!(reason_of(unknown), CloseReason::LinkLost);
    }
}

// ---- everything else must be refused, without panic and without memory ----

#[test]
fn every_cut_of_a_message_asks_for_more() {
    let whole = encode(&golden_request()).unwrap();
    for cut in 0..whole.len() {
        assert_eq!(decode::<RequestV1>(&whole[..cut]), Ok(None), "first {cut} bytes");
    }
    let two = [&whole[..], &whole[..]].concat();
    assert_eq!(decode::<RequestV1>(&two).unwrap().unwrap().1, whole.len(), "only the first is taken");
}

#[test]
fn lengths_are_judged_before_anything_is_read() {
    let max = u32::try_from(MESSAGE_BYTES_MAX).unwrap();
    for (length, expected) in [
        (0, Err(WireError::TooShort { got: 0 })),
        (1, Err(WireError::TooShort { got: 1 })),
        (max, Ok(None)),
        (max + 1, Err(WireError::TooLong { got: MESSAGE_BYTES_MAX + 1, max: MESSAGE_BYTES_MAX })),
        (u32::MAX, Err(WireError::TooLong { got: u32::MAX as usize, max: MESSAGE_BYTES_MAX })),
    ] {
        assert_eq!(parse_frame(&length.to_be_bytes()).map(|frame| frame.map(drop)), expected, "{length}");
    }
}

#[test]
fn a_message_of_the_largest_size_passes_and_one_more_byte_does_not() {
    let with_body = |len| EnrollV1 { csr: vec![1; len], ..golden_enroll() };
    let overhead = encode(&with_body(1 << 20)).unwrap().len() - (1 << 20) - 4;
    let largest = MESSAGE_BYTES_MAX - overhead;
    let encoded = encode(&with_body(largest)).unwrap();
    assert_eq!(encoded.len(), MESSAGE_BYTES_MAX + 4);
    assert_eq!(decode_one::<EnrollV1>(&encoded).csr.len(), largest);
    let got = MESSAGE_BYTES_MAX + 1;
    assert_eq!(encode(&with_body(largest + 1)), Err(WireError::TooLong { got, max: MESSAGE_BYTES_MAX }));
}

#[test]
fn lists_are_bounded_both_ways() {
    let groups = |len| RequestV1 { groups: vec![String::new(); len], ..golden_request() };
    let headers =
        |len| RequestV1 { headers: fields(std::iter::repeat_n(("x", b""), len)), ..golden_request() };
    let extra = |len| RequestV1 { extra: vec![(String::new(), vec![]); len], ..golden_request() };
    let values = |len| RequestV1 { extra: vec![("k".into(), vec![String::new(); len])], ..golden_request() };
    let extensions = |len| RequestV1 { extensions: vec![(1, vec![]); len], ..golden_request() };
    let lists: [(&dyn Fn(usize) -> RequestV1, usize); 5] = [
        (&groups, LIST_MAX),
        (&headers, LIST_MAX),
        (&extra, LIST_MAX),
        (&values, LIST_MAX),
        (&extensions, EXTENSIONS_MAX),
    ];
    for (at, (with, max)) in lists.iter().enumerate() {
        let longest = with(*max);
        assert_eq!(decode_one::<RequestV1>(&encode(&longest).unwrap()), longest, "list {at}");
        let refused = encode(&with(max + 1));
        assert_eq!(refused, Err(WireError::Malformed { kind: RequestV1::KIND }), "list {at}");
    }
}

#[test]
fn a_list_that_claims_more_than_there_is_costs_nothing() {
    // An `EnrolledV1` whose chain claims 2^60 entries, and one whose first entry claims 2^60 bytes.
    for claim in [
        &[0xff_u8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f][..],
        &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f],
    ] {
        let refused = decode::<EnrolledV1>(&framed(EnrolledV1::KIND, claim));
        assert_eq!(refused, Err(WireError::Malformed { kind: EnrolledV1::KIND }));
    }
    // One entry too many, all of them there.
    let mut too_many = vec![0x81, 0x20]; // 4097
    too_many.extend(vec![0; LIST_MAX + 1]);
    let refused = decode::<EnrolledV1>(&framed(EnrolledV1::KIND, &too_many));
    assert_eq!(refused, Err(WireError::Malformed { kind: EnrolledV1::KIND }));
}

#[test]
fn what_is_no_header_field_is_no_message() {
    // A `ReplyV1::Head` with status 200 and one field.
    let head = |name: &[u8], value: &[u8]| {
        let sizes = [name, value].map(|text| u8::try_from(text.len()).unwrap());
        let contents = [&[2, 0xc8, 1, 1, sizes[0]], name, &[sizes[1]], value, &[0]].concat();
        decode::<ReplyV1>(&framed(ReplyV1::KIND, &contents))
    };
    let good = ReplyV1::Head { status: 200, headers: fields([("x", "v")]), end: false };
    assert_eq!(head(b"x", b"v").unwrap().unwrap().0, good);
    assert_eq!(head(b"X", b"v").unwrap().unwrap().0, good);
    for (name, value) in [
        (&b""[..], &b"v"[..]),
        (b"a b", b"v"),
        (b"a:", b"v"),
        (b":path", b"v"),
        ("\u{e9}".as_bytes(), b"v"),
        (b"\xff", b"v"),
        (b"x", b"v\r\nevil: v"),
        (b"x", b"v\n"),
        (b"x", b"\0"),
        (b"x", b"\x7f"),
    ] {
        assert_eq!(
            head(name, value),
            Err(WireError::Malformed { kind: ReplyV1::KIND }),
            "{name:?} {value:?}"
        );
    }
}

#[test]
fn bytes_behind_a_frozen_message_are_refused() {
    let refused = decode::<DrainV1>(&framed(DrainV1::KIND, &[0]));
    assert_eq!(refused, Err(WireError::Malformed { kind: DrainV1::KIND }));
}

#[test]
fn kinds_are_told_apart() {
    let reply = encode(&ReplyV1::Dispatched).unwrap();
    assert_eq!(decode::<RequestV1>(&reply), Err(WireError::Unexpected { got: 2, expected: 1 }));
    let unknown = framed(999, &[1, 2, 3]);
    assert_eq!(Control::from_frame(&parse_frame(&unknown).unwrap().unwrap()), Ok(None));
    let rejected = Enrollment::Rejected(RejectedV1 { message: "no".into() });
    let encoded = rejected.encode().unwrap();
    assert_eq!(Enrollment::from_frame(&parse_frame(&encoded).unwrap().unwrap()), Ok(rejected));
    let elsewhere = Enrollment::from_frame(&parse_frame(&reply).unwrap().unwrap());
    assert!(matches!(elsewhere, Err(WireError::Unexpected { got: 2, .. })));
}

#[test]
fn secrets_are_not_printed() {
    let printed = format!("{:?}", golden_enroll());
    assert!(printed.contains("tok-1"), "{printed}");
    for secret in ["s3cret", "signature"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

fn framed(kind: u16, contents: &[u8]) -> Vec<u8> {
    let length = u32::try_from(contents.len() + 2).unwrap().to_be_bytes();
    [&length, &kind.to_be_bytes()[..], contents].concat()
}

// ---- framed bodies ----

fn decode_body(decoder: &mut BodyDecoder, input: &[u8], piece: usize) -> Result<Vec<BodyEvent>, WireError> {
    let mut events = Vec::new();
    for piece in input.chunks(piece) {
        let mut piece = Bytes::copy_from_slice(piece);
        while let Some(event) = decoder.decode(&mut piece)? {
            events.push(event);
        }
        assert!(piece.is_empty());
    }
    Ok(events)
}

#[test]
fn a_framed_body_may_come_in_any_pieces() {
    let fields = fields([("checksum", b"abc")]);
    let body: Vec<u8> =
        [&chunk_head(5).unwrap()[..], b"hello", &chunk_head(1).unwrap(), b"!", &trailers(&fields).unwrap()]
            .concat();
    for piece in 1..=body.len() {
        let mut decoder = BodyDecoder::default();
        let mut data = Vec::new();
        let mut end = None;
        for event in decode_body(&mut decoder, &body, piece).unwrap() {
            match event {
                BodyEvent::Data(bytes) => data.extend_from_slice(&bytes),
                BodyEvent::End(fields) => end = Some(fields),
            }
        }
        assert_eq!((&data[..], end.as_ref()), (&b"hello!"[..], Some(&fields)), "pieces of {piece}");
        assert!(decoder.is_complete());
    }
}

#[test]
fn broken_framing_is_refused() {
    let head = |value: u32| value.to_be_bytes().to_vec();
    let trailers_of = |len: usize| head(1 << 31 | u32::try_from(len).unwrap());
    let after_the_end = [&trailers(&HeaderMap::new()).unwrap()[..], b"x"].concat();
    for (input, why) in [
        (head(0), "chunk length out of range"),
        (head(u32::try_from(CHUNK_BYTES_MAX + 1).unwrap()), "chunk length out of range"),
        (trailers_of(0), "trailers length out of range"),
        (trailers_of(TRAILERS_BYTES_MAX + 1), "trailers length out of range"),
        ([trailers_of(1), vec![1]].concat(), "malformed trailers"),
        ([trailers_of(2), vec![0, 0]].concat(), "malformed trailers"),
        (after_the_end, "bytes after the trailers"),
    ] {
        let refused = decode_body(&mut BodyDecoder::default(), &input, usize::MAX);
        assert_eq!(refused, Err(WireError::Body(why)), "{input:?}");
    }
    assert!(chunk_head(CHUNK_BYTES_MAX).is_ok());
    for len in [0, CHUNK_BYTES_MAX + 1, usize::MAX] {
        assert!(chunk_head(len).is_err());
    }
    let long = |len| trailers(&fields([("k", vec![b'v'; len])]));
    let overhead = long(60_000).unwrap().len() - 4 - 60_000;
    assert!(long(TRAILERS_BYTES_MAX - overhead).is_ok());
    assert_eq!(long(TRAILERS_BYTES_MAX - overhead + 1), Err(WireError::Body("trailers too long")));
}

// ---- properties ----

fn any_fields() -> impl Strategy<Value = HeaderMap> {
    let value = vec(prop_oneof![b' '..=b'~', 0x80..=0xff_u8], 0..40);
    vec(("[a-z0-9!#$%&'*+.^_`|~-]{1,20}", value), 0..10).prop_map(fields)
}

fn requests() -> impl Strategy<Value = RequestV1> {
    let body = prop_oneof![Just(BodyV1::None), Just(BodyV1::Unknown), any::<u64>().prop_map(BodyV1::Length)];
    let who = (
        any::<String>(),
        vec(any::<String>(), 0..5),
        vec((any::<String>(), vec(any::<String>(), 0..3)), 0..3),
    );
    let rest = (any::<bool>(), body, any::<bool>(), vec((any::<u16>(), vec(any::<u8>(), 0..9)), 0..3));
    (any::<[u8; 16]>(), any::<String>(), any::<String>(), any_fields(), who, rest).prop_map(
        |(
            exchange,
            method,
            target,
            headers,
            (user, groups, extra),
            (upgrade, body, trailers, extensions),
        )| {
            RequestV1 {
                exchange,
                method,
                target,
                headers,
                user,
                groups,
                extra,
                upgrade,
                body,
                trailers,
                extensions,
            }
        },
    )
}

fn replies() -> impl Strategy<Value = ReplyV1> {
    prop_oneof![
        Just(ReplyV1::Dispatched),
        (any::<u16>(), any::<String>()).prop_map(|(code, message)| ReplyV1::Refused { code, message }),
        (any::<u16>(), any_fields(), any::<bool>()).prop_map(|(status, headers, end)| ReplyV1::Head {
            status,
            headers,
            end
        }),
        (any::<u16>(), any::<String>(), any::<bool>()).prop_map(|(code, message, maybe_delivered)| {
            ReplyV1::Failed { code, message, maybe_delivered }
        }),
    ]
}

proptest! {
    #[test]
    fn requests_come_back_as_they_were(request in requests()) {
        let encoded = encode(&request).unwrap();
        prop_assert_eq!(decode(&encoded).unwrap(), Some((request, encoded.len())));
    }

    #[test]
    fn replies_come_back_as_they_were(reply in replies()) {
        let encoded = encode(&reply).unwrap();
        prop_assert_eq!(decode(&encoded).unwrap(), Some((reply, encoded.len())));
    }

    #[test]
    fn garbage_is_refused_or_understood_but_never_more(kind in 0_u16..40, contents in vec(any::<u8>(), 0..300)) {
        let input = framed(kind, &contents);
        let frame = parse_frame(&input).unwrap().unwrap();
        prop_assert_eq!((frame.kind, frame.consumed), (kind, input.len()));
        // None of these may panic; what they accept must be canonical enough to be written again.
        if let Ok(Some((request, _))) = decode::<RequestV1>(&input) {
            prop_assert!(encode(&request).is_ok());
        }
        if let Ok(Some((reply, _))) = decode::<ReplyV1>(&input) {
            prop_assert!(encode(&reply).is_ok());
        }
        if let Ok(Some(control)) = Control::from_frame(&frame) {
            prop_assert!(control.encode().is_ok());
        }
        if let Ok(enrollment) = Enrollment::from_frame(&frame) {
            prop_assert!(enrollment.encode().is_ok());
        }
        prop_assert!(!matches!(decode::<EnrollV1>(&input), Ok(None)));
    }

    #[test]
    fn a_flipped_bit_never_panics(at in 0_usize..4000, bit in 0_u8..8) {
        let mut encoded = encode(&golden_request()).unwrap().to_vec();
        let at = at % encoded.len();
        encoded[at] ^= 1 << bit;
        let outcome = decode::<RequestV1>(&encoded);
        if at >= 6 {
            prop_assert!(!matches!(outcome, Ok(None)), "the frame is whole");
        }
    }

    #[test]
    fn raw_bytes_never_panic(input in vec(any::<u8>(), 0..64), piece in 1_usize..64) {
        let frame = parse_frame(&input);
        if let Ok(Some(frame)) = frame {
            prop_assert!(frame.consumed <= input.len());
        }
        decode_body(&mut BodyDecoder::default(), &input, piece).ok();
    }
}
