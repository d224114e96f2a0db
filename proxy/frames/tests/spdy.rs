//! Promise: SPDY frames that two readers could take in two ways are cut, and nothing of them is forwarded.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/play.rs"]
#[expect(dead_code, reason = "shared with the tests that read captures")]
mod play;
#[path = "support/wire.rs"]
#[expect(dead_code, reason = "shared with the WebSocket tests")]
mod wire;

use hawser_frames::Direction::{ClientToServer, ServerToClient};
use hawser_frames::{
    Asked, Direction, Event, HEADER_BLOCK_BYTES_MAX, Kind, REQUEST_ID_BYTES_MAX, RESIZE_OBJECT_BYTES_MAX,
    STREAMS_LIVE_MAX, STREAMS_RETIRED_MAX, Session, SessionSpec, Transport,
};

use play::{Played, Step, play};
use wire::{Spdy, control, data, goaway, ping, rst};

const EXEC: SessionSpec<'_> = SessionSpec {
    transport: Transport::Spdy,
    kind: Kind::Exec,
    protocol: "v4.channel.k8s.io",
    asked: Asked { stdin: true, stdout: true, stderr: true, tty: false, ports: 0 },
};
const TTY: SessionSpec<'_> = SessionSpec { asked: Asked { tty: true, ..EXEC.asked }, ..EXEC };
const FORWARD: SessionSpec<'_> =
    SessionSpec { kind: Kind::PortForward, protocol: "portforward.k8s.io", ..EXEC };
const TYPES: &[&str] = &["error", "stdin", "stdout", "stderr"];

/// After `good`, all of which goes on, `bad` is cut by `rule` with nothing of it forwarded.
#[track_caller]
fn check(spec: SessionSpec<'_>, good: &[(Direction, Vec<u8>)], bad: (Direction, Vec<u8>), rule: &str) {
    for piece in [1, usize::MAX] {
        let mut played = accept(spec, good);
        for bytes in bad.1.chunks(piece.min(bad.1.len())) {
            if played.cut.is_none() {
                played.walk(bad.0, bytes);
            }
        }
        let cut = played.cut.unwrap_or_else(|| panic!("{rule}: accepted"));
        assert_eq!((cut.direction, cut.rule), (bad.0, rule));
        assert_eq!(played.forwarded(bad.0), of(good, bad.0), "{rule}: part of the bad frame went on");
        played.walk(bad.0.other(), &[]);
        assert_eq!(played.cut, Some(cut), "a cut session stays cut");
    }
}

#[track_caller]
fn accept(spec: SessionSpec<'_>, good: &[(Direction, Vec<u8>)]) -> Played {
    let steps: Vec<_> = good.iter().map(|(direction, bytes)| Step::Data(*direction, bytes.clone())).collect();
    let played = play(spec, &steps);
    assert_eq!(played.cut, None);
    for direction in [ClientToServer, ServerToClient] {
        assert_eq!(played.forwarded(direction), of(good, direction));
    }
    played
}

fn of(steps: &[(Direction, Vec<u8>)], direction: Direction) -> Vec<u8> {
    steps.iter().filter(|step| step.0 == direction).flat_map(|step| step.1.clone()).collect()
}

trait Other {
    fn other(self) -> Self;
}

impl Other for Direction {
    fn other(self) -> Self {
        match self {
            ClientToServer => ServerToClient,
            ServerToClient => ClientToServer,
        }
    }
}

/// All streams of an exec opened and accepted.
fn opened() -> Vec<(Direction, Vec<u8>)> {
    let mut server = Spdy::new();
    let replies = [1, 3, 5, 7].into_iter().flat_map(|id| server.reply(id)).collect();
    vec![(ClientToServer, Spdy::new().exec(TYPES)), (ServerToClient, replies)]
}

fn after_opening(bytes: Vec<u8>) -> Vec<(Direction, Vec<u8>)> {
    [opened(), vec![(ClientToServer, bytes)]].concat()
}

#[test]
fn control_frames_are_judged_from_their_header() {
    let bad = |bytes: Vec<u8>, rule| check(EXEC, &opened(), (ClientToServer, bytes), rule);
    let version_2 = [&[0x80, 2], &ping(1)[2..]].concat();
    bad(version_2, "SPDY version is not 3");
    for length in [0_u8, 3, 5, 20] {
        bad(vec![0x80, 3, 0, 6, 0, 0, 0, length], "control frame length");
    }
    for length in [0_u8, 7, 9, 28] {
        bad(vec![0x80, 3, 0, 3, 0, 0, 0, length], "control frame length");
        bad(vec![0x80, 3, 0, 7, 0, 0, 0, length], "control frame length");
    }
    bad(vec![0x80, 3, 0, 1, 0, 0, 0, 9], "control frame length");
    for kind in [3, 6, 7] {
        bad(vec![0x80, 3, 0, kind, 1, 0, 0, 8], "control frame flags");
    }
    bad(vec![0x80, 3, 0, 1, 2, 0, 0, 30], "control frame flags");
    bad(vec![0x80, 3, 0, 1, 3, 0, 0, 30], "control frame flags");
    for kind in [0, 4, 5, 8, 9, 10, 11, 255] {
        bad(vec![0x80, 3, 0, kind, 0, 0, 0, 8], "control frame of a type that nobody sends");
        check(
            EXEC,
            &opened(),
            (ServerToClient, vec![0x80, 3, 0, kind, 0, 0, 0, 8]),
            "control frame of a type that nobody sends",
        );
    }
    bad(vec![0x80, 3, 0, 2, 0, 0, 0, 12], "client replies to a stream");
    check(EXEC, &opened(), (ServerToClient, vec![0x80, 3, 0, 1, 0, 0, 0, 30]), "server opens a stream");
}

#[test]
fn a_header_block_has_a_bound() {
    let header = |body: usize| {
        let [_, length @ ..] = u32::try_from(body).unwrap().to_be_bytes();
        [&[0x80, 3, 0, 1, 0][..], &length].concat()
    };
    check(EXEC, &[], (ClientToServer, header(11 + HEADER_BLOCK_BYTES_MAX)), "control frame length");
    let mut session = Session::new(EXEC).unwrap();
    let walked = session.walk(
        ClientToServer,
        &header(10 + HEADER_BLOCK_BYTES_MAX),
        &mut bytes::BytesMut::new(),
        &mut |_| {},
    );
    assert_eq!(walked, Ok(()));
    check(
        EXEC,
        &[],
        (ClientToServer, control(1, 0, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0])),
        "header block empty or too long",
    );
}

#[test]
fn streams_are_opened_in_one_way() {
    let bad = |bytes: Vec<u8>, rule| check(EXEC, &[], (ClientToServer, bytes), rule);
    let stdin = &[("streamtype", "stdin")];
    for id in [0, 2, 0x8000_0001, u32::MAX] {
        bad(Spdy::new().syn(id, stdin), "stream id not odd and rising");
    }
    bad(Spdy::new().syn_with(1, 0, [0, 0, 0, 1, 0, 0], stdin), "SYN_STREAM fields");
    bad(Spdy::new().syn_with(1, 0, [0, 0, 0, 0, 1, 0], stdin), "SYN_STREAM fields");
    bad(Spdy::new().syn_with(1, 0, [0, 0, 0, 0, 0, 1], stdin), "SYN_STREAM fields");
    bad(Spdy::new().syn_with(1, 1, [0; 6], stdin), "stdin opened with FIN");
    bad(Spdy::new().syn(1, &[("streamtype", "shadow")]), "stream type unknown");
    bad(Spdy::new().syn(1, &[("x", "stdin")]), "stream type unknown");
    bad(Spdy::new().syn(1, &[("streamtype", "resize")]), "stream not asked for in the request");

    for priority in 0..8 {
        let mut writer = Spdy::new();
        let stdout = [("streamtype", "stdout"), ("x-extra", "1")];
        let syn = writer.syn_with(7, 1, [0, 0, 0, 0, priority << 5, 0], &stdout);
        accept(EXEC, &[(ClientToServer, syn.clone())]);
        for id in [1, 5, 7] {
            let lower = (ClientToServer, writer.syn(id, stdin));
            check(EXEC, &[(ClientToServer, syn.clone())], lower, "stream id not odd and rising");
            writer = Spdy::new();
            writer.syn(7, &stdout);
        }
    }
    let mut writer = Spdy::new();
    let first = (ClientToServer, writer.exec(&["stdin"]));
    check(EXEC, &[first], (ClientToServer, writer.syn(3, stdin)), "stream type opened twice");

    let mut writer = Spdy::new();
    let good = (ClientToServer, writer.exec(TYPES));
    let fifth = (ClientToServer, writer.syn(9, stdin));
    check(EXEC, &[good], fifth, "header block after every stream is open");
}

#[test]
fn what_was_not_asked_for_cannot_be_opened() {
    let nothing = SessionSpec { asked: Asked::default(), ..EXEC };
    for of in ["stdin", "stdout", "stderr", "resize"] {
        let syn = (ClientToServer, Spdy::new().syn(1, &[("streamtype", of)]));
        check(nothing, &[], syn, "stream not asked for in the request");
    }
    let stderr = (ClientToServer, Spdy::new().syn(1, &[("streamtype", "stderr")]));
    check(TTY, &[], stderr, "stream not asked for in the request");
    accept(TTY, &[(ClientToServer, Spdy::new().exec(&["error", "stdin", "stdout", "resize"]))]);
}

#[test]
fn what_was_asked_for_must_be_opened_before_output() {
    let mut server = Spdy::new();
    let good = [(ClientToServer, Spdy::new().exec(&["error", "stdout"])), (ServerToClient, server.reply(3))];
    let output = (ServerToClient, data(3, 0, b"x"));
    check(EXEC, &good, output, "output before every stream asked for is open");
}

#[test]
fn data_frames_have_one_reading() {
    let bad = |bytes: Vec<u8>, rule| check(EXEC, &opened(), (ClientToServer, bytes), rule);
    bad(data(3, 0xfe, b"x"), "data frame flags");
    bad(data(3, 2, b"x"), "data frame flags");
    for id in [0, 2, 9, 55, 0x7fff_ffff] {
        bad(data(id, 0, b"x"), "data on an unknown stream");
        bad(data(id, 1, b""), "data on an unknown stream");
    }
    for id in [1, 5, 7] {
        bad(data(id, 0, b"x"), "data against the direction of the stream");
        accept(EXEC, &after_opening(data(id, 1, b"")));
    }
    check(EXEC, &opened(), (ServerToClient, data(3, 0, b"x")), "data against the direction of the stream");

    let ended = after_opening([data(3, 0, b"x"), data(3, 1, b"y"), data(3, 1, b"")].concat());
    check(EXEC, &ended, (ClientToServer, data(3, 0, b"x")), "data after FIN");
    let reset = after_opening([rst(3), data(3, 1, b""), rst(3)].concat());
    let mut fresh = after_opening(rst(3));
    check(EXEC, &fresh, (ClientToServer, data(3, 0, b"x")), "data after RST_STREAM");
    accept(EXEC, &reset);
    check(EXEC, &opened(), (ClientToServer, rst(9)), "RST_STREAM on an unknown stream");

    fresh.push((ServerToClient, [data(5, 0, b"out"), data(3, 1, b"")].concat()));
    accept(EXEC, &fresh);
}

#[test]
fn after_goaway_the_client_writes_nothing() {
    let good = after_opening([goaway(), data(3, 1, b""), rst(5), ping(1)].concat());
    check(EXEC, &good, (ClientToServer, data(3, 0, b"x")), "data after FIN");
    let good = after_opening(goaway());
    check(EXEC, &good, (ClientToServer, data(3, 0, b"x")), "data after GOAWAY");
    let good = [(ClientToServer, goaway())];
    check(EXEC, &good, (ClientToServer, Spdy::new().exec(&["error"])), "stream opened after GOAWAY");
}

#[test]
fn the_server_replies_once_and_without_headers() {
    let client = (ClientToServer, Spdy::new().exec(&TYPES[..3]));
    let mut server = Spdy::new();
    let good = [client.clone(), (ServerToClient, server.reply(1))];
    check(EXEC, &good, (ServerToClient, server.reply(1)), "reply twice");
    check(EXEC, &good, (ServerToClient, data(3, 0, b"x")), "data before the reply");
    check(EXEC, &good, (ServerToClient, data(3, 1, b"")), "data before the reply");
    check(
        EXEC,
        std::slice::from_ref(&client),
        (ServerToClient, Spdy::new().reply(9)),
        "reply to an unknown stream",
    );
    let block = Spdy::new().block(&[("a", "b")]);
    let headers = control(2, 0, &[&1_u32.to_be_bytes()[..], &block].concat());
    check(EXEC, std::slice::from_ref(&client), (ServerToClient, headers), "reply with headers");
    let refused = [client, (ServerToClient, rst(1))];
    check(EXEC, &refused, (ServerToClient, Spdy::new().reply(1)), "reply twice");
}

#[test]
fn bytes_for_a_stream_given_up_are_recorded_as_late() {
    let late = |steps: Vec<(Direction, Vec<u8>)>, bytes: Vec<u8>| {
        let mut session = Session::new(EXEC).unwrap();
        let mut seen = None;
        for (direction, bytes) in steps.into_iter().chain([(ServerToClient, bytes)]) {
            let mut events = |event: Event<'_>| {
                if let Event::Data { late, .. } = event {
                    seen = Some(late);
                }
            };
            session.walk(direction, &bytes, &mut bytes::BytesMut::new(), &mut events).unwrap();
        }
        seen
    };
    assert_eq!(late(opened(), data(5, 0, b"x")), Some(false));
    assert_eq!(late(after_opening(rst(5)), data(5, 0, b"x")), Some(true));
    assert_eq!(late(opened(), [goaway(), data(5, 0, b"x")].concat()), Some(true));
}

#[test]
fn forwarded_connections_are_named_in_one_way() {
    let bad = |headers: &[(&str, &str)], rule| {
        check(FORWARD, &[], (ClientToServer, Spdy::new().syn(1, headers)), rule);
    };
    let long = "9".repeat(REQUEST_ID_BYTES_MAX + 1);
    let (of, port, id) = (("streamtype", "data"), ("port", "8080"), ("requestid", "0"));
    bad(&[port, id], "stream type unknown");
    bad(&[("streamtype", "stdin"), port, id], "stream type unknown");
    bad(&[of, id], "port header");
    for port in ["", "0", "+8080", "008080", "65536", "80a", "123456"] {
        bad(&[of, ("port", port), id], "port header");
    }
    bad(&[of, port], "requestid header");
    bad(&[of, port, ("requestid", "")], "requestid header");
    bad(&[of, port, ("requestid", &long)], "requestid header");
    accept(FORWARD, &[(ClientToServer, Spdy::new().forward(1, &long[1..], "65535"))]);

    let mut writer = Spdy::new();
    let good = (ClientToServer, writer.forward(1, "0", "8080"));
    let again = (ClientToServer, writer.syn(5, &[of, ("port", "9090"), id]));
    check(FORWARD, std::slice::from_ref(&good), again, "requestid used twice");
    let error = (ClientToServer, data(1, 0, b"x"));
    check(FORWARD, &[good], error, "data against the direction of the stream");
}

#[test]
fn the_number_of_streams_is_bounded() {
    let mut writer = Spdy::new();
    let pairs = u32::try_from(STREAMS_LIVE_MAX / 2).unwrap();
    let all = (0..pairs).flat_map(|pair| writer.forward(4 * pair + 1, &pair.to_string(), "80")).collect();
    let more = writer.forward(4 * pairs + 1, "more", "80");
    let good = [(ClientToServer, all), (ClientToServer, rst(1))];
    check(FORWARD, &good[..1], (ClientToServer, more.clone()), "too many streams open");
    let room_for_one = more[..more.len() / 2 + 4].to_vec();
    assert!(
        play(FORWARD, &[Step::Data(ClientToServer, [good[0].1.clone(), rst(1), room_for_one].concat())])
            .cut
            .is_none()
    );
}

#[test]
fn ended_streams_are_remembered_for_a_while() {
    let mut writer = Spdy::new();
    let pairs = u32::try_from(STREAMS_RETIRED_MAX / 2).unwrap();
    let mut one = |pair: u32| {
        let id = 4 * pair + 1;
        [writer.forward(id, &pair.to_string(), "80"), rst(id), rst(id + 2)].concat()
    };
    let most: Vec<u8> = (0..pairs).flat_map(&mut one).collect();
    let more = one(pairs);
    accept(FORWARD, &[(ClientToServer, most.clone()), (ClientToServer, rst(1))]);
    let good = [(ClientToServer, [most, more].concat())];
    check(FORWARD, &good, (ClientToServer, rst(1)), "RST_STREAM on an unknown stream");
    accept(FORWARD, &[good[0].clone(), (ClientToServer, writer.forward(1_000_001, "0", "80"))]);
}

#[test]
fn a_resize_object_is_bounded() {
    let opened = (ClientToServer, Spdy::new().exec(&["error", "stdin", "stdout", "resize"]));
    let mut object = vec![b' '; RESIZE_OBJECT_BYTES_MAX + 1];
    object[0] = b'{';
    let mut played = accept(TTY, std::slice::from_ref(&opened));
    played.walk(ClientToServer, &data(7, 0, &object));
    assert_eq!(played.cut.unwrap().rule, "resize object too long");
    assert_eq!(played.forwarded(ClientToServer).len(), opened.1.len() + 8 + RESIZE_OBJECT_BYTES_MAX);
    let recorded = &played.record.data[&(ClientToServer, "resize".into())];
    assert_eq!(recorded.len(), RESIZE_OBJECT_BYTES_MAX);
}

#[test]
fn payload_is_not_held_back() {
    let mut played = accept(EXEC, &opened());
    let frame = data(3, 1, b"secret");
    let before = played.forwarded(ClientToServer).len();
    for (at, byte) in frame.iter().enumerate() {
        played.walk(ClientToServer, &[*byte]);
        let expected = if at < 8 { 0 } else { at + 1 };
        assert_eq!(played.forwarded(ClientToServer).len() - before, expected);
    }
}
