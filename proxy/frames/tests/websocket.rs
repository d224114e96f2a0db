//! Promise: WebSocket frames that two readers could take in two ways are cut, and nothing of them is forwarded.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/play.rs"]
#[expect(dead_code, reason = "shared with the tests that read captures")]
mod play;
#[path = "support/wire.rs"]
#[expect(dead_code, reason = "shared with the SPDY tests")]
mod wire;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hawser_frames::Direction::{ClientToServer, ServerToClient};
use hawser_frames::{
    Asked, BASE64_MESSAGE_BYTES_MAX, Direction, FORWARD_PORTS_MAX, FRAME_BYTES_MAX, Kind, Session,
    SessionSpec, TUNNEL_HELD_BYTES_MAX, Transport, Unsupported,
};

use play::{Played, Step, play};
use wire::{Spdy, client, data, ping, server};

const V5: SessionSpec<'_> = SessionSpec {
    transport: Transport::WebSocket,
    kind: Kind::Exec,
    protocol: "v5.channel.k8s.io",
    asked: Asked { stdin: true, stdout: true, stderr: true, tty: true, ports: 0 },
};
const V4: SessionSpec<'_> = SessionSpec { protocol: "v4.channel.k8s.io", ..V5 };
const V4_BASE64: SessionSpec<'_> = SessionSpec { protocol: "v4.base64.channel.k8s.io", ..V5 };
const OLD_FORWARD: SessionSpec<'_> =
    SessionSpec { kind: Kind::PortForward, asked: Asked { ports: 2, ..V5.asked }, ..V4 };
const LOGS: SessionSpec<'_> = SessionSpec { kind: Kind::Logs, protocol: "binary.k8s.io", ..V5 };
const TUNNEL: SessionSpec<'_> =
    SessionSpec { kind: Kind::PortForward, protocol: "SPDY/3.1+portforward.k8s.io", ..V5 };

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// After `good`, all of which goes on, `bad` is cut by `rule` with nothing of it forwarded.
#[track_caller]
fn check(spec: SessionSpec<'_>, direction: Direction, good: &[u8], bad: &[u8], rule: &str) {
    for piece in [1, usize::MAX] {
        let mut played = accept(spec, direction, good);
        for bytes in bad.chunks(piece.min(bad.len())) {
            if played.cut.is_none() {
                played.walk(direction, bytes);
            }
        }
        let cut = played.cut.unwrap_or_else(|| panic!("{rule}: accepted"));
        assert_eq!((cut.direction, cut.rule), (direction, rule));
        assert!(played.forwarded(direction) == good, "{rule}: part of the bad frame went on");
    }
}

#[track_caller]
fn accept(spec: SessionSpec<'_>, direction: Direction, good: &[u8]) -> Played {
    let played = play(spec, &[Step::Data(direction, good.to_vec())]);
    assert_eq!(played.cut, None);
    assert!(played.forwarded(direction) == good, "held for ever");
    played
}

#[track_caller]
fn client_bad(spec: SessionSpec<'_>, bad: &[u8], rule: &str) {
    check(spec, ClientToServer, &ok(spec), bad, rule);
}

/// An empty message for stdin.
fn ok(spec: SessionSpec<'_>) -> Vec<u8> {
    if spec.protocol.contains("base64") { client(TEXT, b"0") } else { client(BINARY, b"\0") }
}

#[test]
fn frame_headers_have_one_reading() {
    for spec in [V5, V4, TUNNEL] {
        let bad = |bytes: &[u8], rule| check(spec, ClientToServer, &client(BINARY, b""), bytes, rule);
        for rsv in [0x10, 0x20, 0x40] {
            bad(&client(BINARY | rsv, b"\0x"), "reserved bit set");
        }
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            bad(&client(0x80 | opcode, b"\0x"), "reserved opcode");
        }
        bad(&server(BINARY, b"\0x"), "mask missing, or on a server frame");
        check(spec, ServerToClient, b"", &client(BINARY, b"\x01x"), "mask missing, or on a server frame");
        bad(&[BINARY, 0xfe, 0, 125], "length not in its shortest form");
        bad(&[BINARY, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], "length not in its shortest form");
        bad(&[BINARY, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 5], "frame too long");
        let above = [&[BINARY, 0xff][..], &(FRAME_BYTES_MAX + 1).to_be_bytes()].concat();
        bad(&above, "frame too long");
        for control in [CLOSE, PING, PONG] {
            bad(&[control, 0xfe], "control frame fragmented or too long");
            bad(&[control, 0xff], "control frame fragmented or too long");
            bad(&client(control & 0x7f, b""), "control frame fragmented or too long");
        }
        bad(&client(CLOSE, b"x"), "close frame of one byte");
        bad(&client(TEXT, b"\0x"), "text or binary against the protocol");
    }
    client_bad(V4_BASE64, &client(BINARY, b"0"), "text or binary against the protocol");
}

#[test]
fn the_longest_frame_streams() {
    let mut played = accept(V5, ClientToServer, b"");
    let head = [&[BINARY, 0xff][..], &FRAME_BYTES_MAX.to_be_bytes(), &[0; 4]].concat();
    played.walk(ClientToServer, &head);
    assert!(played.cut.is_none() && played.forwarded.is_empty());
    played.walk(ClientToServer, b"\0");
    assert!(played.forwarded.is_empty(), "the channel alone is nothing yet");
    played.walk(ClientToServer, b"x");
    assert_eq!(played.forwarded(ClientToServer).len(), head.len() + 2);
}

#[test]
fn pings_pass_and_are_not_data() {
    let frames =
        [client(PING, &[b'p'; 125]), client(PONG, b""), client(BINARY, b"\0x"), client(PING, b"")].concat();
    let played = accept(V5, ClientToServer, &frames);
    assert_eq!(played.record.data.len(), 1);
    assert_eq!(played.record.marks.len(), 3);
}

#[test]
fn after_the_close_frame_there_is_nothing() {
    let close = client(CLOSE, &1000_u16.to_be_bytes());
    for spec in [V5, V4, V4_BASE64, LOGS, TUNNEL] {
        check(spec, ClientToServer, &close, &[PING], "bytes after the close frame");
        check(spec, ServerToClient, &server(CLOSE, b""), &server(PING, b""), "bytes after the close frame");
    }
    assert_eq!(accept(V5, ClientToServer, &close).record.marks[0].1, "close Some(1000)");
}

#[test]
fn channel_messages_are_single_frames() {
    for (spec, direction) in [(V5, ClientToServer), (V4, ClientToServer), (LOGS, ClientToServer)] {
        check(spec, direction, b"", &client(0x02, b"\0x"), "fragmented message");
        check(spec, direction, b"", &client(0x80, b"\0x"), "fragmented message");
        check(spec, direction, b"", &client(0x00, b"\0x"), "fragmented message");
    }
    for spec in [V5, V4, LOGS] {
        check(spec, ServerToClient, b"", &server(0x02, b"\x01x"), "fragmented message");
    }
}

#[test]
fn channels_of_exec() {
    for spec in [V5, V4] {
        for channel in [1, 2, 3, 5, 9, 48, 254] {
            client_bad(spec, &client(BINARY, &[channel, b'x']), "channel unknown");
            client_bad(spec, &client(BINARY, &[channel]), "channel unknown");
        }
        for channel in [0, 4, 5, 255] {
            check(spec, ServerToClient, b"", &server(BINARY, &[channel, b'x']), "channel unknown");
        }
        let empty = [client(BINARY, b""), client(BINARY, b"\0"), client(BINARY, b"\x04")].concat();
        assert!(accept(spec, ClientToServer, &empty).record.data.is_empty());
        let output = [server(BINARY, b"\x01"), server(BINARY, b"\x01o"), server(BINARY, b"\x02e")].concat();
        assert_eq!(accept(spec, ServerToClient, &output).record.data.len(), 2);
    }
}

#[test]
fn channels_not_asked_for_carry_nothing() {
    let nothing = SessionSpec { asked: Asked::default(), ..V5 };
    let rule = "channel not asked for in the request";
    check(nothing, ClientToServer, &client(BINARY, b"\0"), &client(BINARY, b"\0x"), rule);
    for channel in [b"\x01x", b"\x02x"] {
        check(nothing, ServerToClient, &server(BINARY, b"\x01"), &server(BINARY, channel), rule);
    }
    accept(nothing, ServerToClient, &server(BINARY, b"\x03{}"));
}

#[test]
fn the_close_signal_of_v5() {
    let close = client(BINARY, &[255, 0]);
    assert_eq!(accept(V5, ClientToServer, &close).record.marks[0].1, "fin stdin");
    check(V5, ClientToServer, &close, &client(BINARY, b"\0x"), "data after the channel was closed");
    check(V5, ClientToServer, &close, &client(BINARY, b"\0"), "data after the channel was closed");
    check(V5, ClientToServer, &close, &close, "channel closed twice");
    accept(V5, ClientToServer, &[close, client(BINARY, &[255, 4])].concat());
    for channel in [1, 2, 3, 5, 255] {
        client_bad(V5, &client(BINARY, &[255, channel]), "close signal for an unknown channel");
    }
    client_bad(V5, &client(BINARY, &[255]), "close signal length");
    client_bad(V5, &client(BINARY, &[255, 0, 0]), "close signal length");
    client_bad(V4, &client(BINARY, &[255, 0]), "channel unknown");
}

#[test]
fn base64_is_decoded_before_it_goes_on() {
    let encoded = |channel: char, text: &str| format!("{channel}{}", STANDARD.encode(text)).into_bytes();
    let message = client(TEXT, &encoded('0', "id\n"));
    let mut played = accept(V4_BASE64, ClientToServer, &[client(TEXT, b""), client(TEXT, b"0")].concat());
    let before = played.forwarded(ClientToServer).len();
    for byte in &message {
        assert_eq!(played.forwarded(ClientToServer).len(), before);
        played.walk(ClientToServer, &[*byte]);
    }
    assert_eq!(played.forwarded(ClientToServer).len(), before + message.len());
    assert_eq!(played.record.data[&(ClientToServer, "stdin".into())], b"id\n");

    client_bad(V4_BASE64, &client(TEXT, b"0aWQK="), "base64 message not in whole groups");
    client_bad(V4_BASE64, &client(TEXT, b"0aW\r\nQK="), "base64 message not in whole groups");
    client_bad(V4_BASE64, &client(TEXT, b"0aW\r\nQKaa"), "base64 does not decode");
    client_bad(V4_BASE64, &client(TEXT, b"0aQ==aQ=="), "base64 does not decode");
    client_bad(V4_BASE64, &client(TEXT, b"0aW-_"), "base64 does not decode");
    client_bad(V4_BASE64, &client(TEXT, &encoded('1', "x")), "channel unknown");
    client_bad(V4_BASE64, &client(TEXT, &encoded('/', "x")), "channel unknown");
    check(V4_BASE64, ServerToClient, b"", &server(TEXT, b"1aQ="), "base64 message not in whole groups");
}

#[test]
fn a_base64_message_is_bounded() {
    let text = vec![b'A'; BASE64_MESSAGE_BYTES_MAX + 5];
    let most = [b"1", &text[..BASE64_MESSAGE_BYTES_MAX - 4]].concat();
    accept(V4_BASE64, ServerToClient, &server(TEXT, &most));
    let more = server(TEXT, &[b"1", &text[4..]].concat());
    let mut played = accept(V4_BASE64, ServerToClient, b"");
    played.walk(ServerToClient, &more[..10]);
    assert_eq!(played.cut.unwrap().rule, "base64 message too long");
}

#[test]
fn channels_of_the_old_port_forward() {
    let both = [client(BINARY, b"\0x"), client(BINARY, b"\x02y")].concat();
    let played = accept(OLD_FORWARD, ClientToServer, &both);
    assert_eq!(played.record.data[&(ClientToServer, "channel2".into())], b"y");
    for channel in [1, 3, 4, 5, 255] {
        check(OLD_FORWARD, ClientToServer, b"", &client(BINARY, &[channel, b'x']), "channel unknown");
    }
    accept(OLD_FORWARD, ServerToClient, &server(BINARY, b"\x03\x90\x1f"));
    check(OLD_FORWARD, ServerToClient, b"", &server(BINARY, b"\x04x"), "channel unknown");
}

#[test]
fn logs_and_watch_only_listen() {
    for spec in [LOGS, SessionSpec { kind: Kind::Watch, protocol: "junk", ..LOGS }] {
        let rule = "client sends data where it may only listen";
        check(spec, ClientToServer, &client(PING, b""), &client(BINARY, b"x"), rule);
        let lines = [server(TEXT, b""), server(TEXT, b"{}\n"), server(BINARY, b"log\n")].concat();
        assert_eq!(accept(spec, ServerToClient, &lines).record.data.len(), 1);
    }
}

#[test]
fn the_tunnel_is_one_stream_of_spdy() {
    let rule = "fragments out of order";
    check(TUNNEL, ClientToServer, &client(BINARY, b""), &client(0x80, b"x"), rule);
    check(TUNNEL, ClientToServer, &client(0x02, b""), &client(BINARY, b"x"), rule);
    let mut writer = Spdy::new();
    let spdy = [writer.forward(1, "0", "8080"), data(3, 0, b"GET"), ping(1)].concat();
    let mut fragments = Vec::new();
    for (at, byte) in spdy.iter().enumerate() {
        let last = at + 1 == spdy.len();
        fragments.extend(client(u8::from(last) << 7 | if at == 0 { 2 } else { 0 }, &[*byte]));
        fragments.extend(client(PING, b"between"));
    }
    let played = accept(TUNNEL, ClientToServer, &fragments);
    assert_eq!(played.record.data[&(ClientToServer, "data#0:8080".into())], b"GET");

    let hidden = [vec![0x80, 3, 0, 6, 0, 0, 0, 20], ping(1), data(3, 0, b"GET")].concat();
    check(TUNNEL, ClientToServer, &client(BINARY, &spdy), &client(BINARY, &hidden), "control frame length");
}

#[test]
fn what_is_held_of_a_tunnelled_frame_is_bounded() {
    let half = client(BINARY, &ping(1)[..6]);
    let ping_frame = client(PING, &[0; 100]);
    let pings = (TUNNEL_HELD_BYTES_MAX - half.len()) / ping_frame.len();
    let mut played = accept(TUNNEL, ClientToServer, b"");
    played.walk(ClientToServer, &half);
    for _ in 0..pings {
        played.walk(ClientToServer, &ping_frame);
        assert!(played.cut.is_none() && played.forwarded.is_empty() && played.record.marks.is_empty());
    }
    played.walk(ClientToServer, &ping_frame);
    assert_eq!(played.cut.unwrap().rule, "too much to hold for one frame");
}

#[test]
fn only_what_can_be_read_is_supported() {
    let transports = [Transport::Spdy, Transport::WebSocket];
    let refused = [
        (0, Kind::Exec, "v5.channel.k8s.io"),
        (0, Kind::Attach, "v3.channel.k8s.io"),
        (0, Kind::Attach, ""),
        (0, Kind::PortForward, ""),
        (0, Kind::Logs, ""),
        (0, Kind::Watch, "v4.channel.k8s.io"),
        (1, Kind::Exec, "v2.channel.k8s.io"),
        (1, Kind::Exec, "v3.channel.k8s.io"),
        (1, Kind::Exec, "v5.base64.channel.k8s.io"),
        (1, Kind::PortForward, "portforward.k8s.io"),
        (1, Kind::PortForward, "v5.channel.k8s.io"),
    ];
    for (transport, kind, protocol) in refused {
        let spec = SessionSpec { transport: transports[transport], kind, protocol, asked: OLD_FORWARD.asked };
        let error = Session::new(spec).unwrap_err();
        assert!(matches!(error, Unsupported::Protocol { .. }), "{error}");
    }
    for (ports, good) in [(0, false), (1, true), (FORWARD_PORTS_MAX, true), (FORWARD_PORTS_MAX + 1, false)] {
        let spec = SessionSpec { asked: Asked { ports, ..V5.asked }, ..OLD_FORWARD };
        assert_eq!(Session::new(spec).err(), (!good).then_some(Unsupported::Ports { got: ports }));
    }
}
