//! Which answers open a stream.

use crate::{ACCEPT, EXEC, map, spdy, upgrade, websocket};

/// CVE-2018-1002105 (also CVE-2020-8559): an answer that is no switch must never open the connection.
#[test]
fn cve_2018_1002105_only_a_true_switch_opens_a_stream() {
    let spdy = upgrade("POST", EXEC, &spdy(&["v4.channel.k8s.io"]));
    let good = [
        ("Connection", "Upgrade"),
        ("Upgrade", "SPDY/3.1"),
        ("X-Stream-Protocol-Version", "v4.channel.k8s.io"),
    ];
    assert_eq!(spdy.check_response(101, &map(&good)), Ok("v4.channel.k8s.io".to_owned()));
    for status in [100, 102, 200, 204, 301, 302, 307, 400, 403, 404, 426, 500, 503] {
        assert!(spdy.check_response(status, &map(&good)).is_err(), "{status}");
    }
    for (at, value) in [
        (0, "close"),
        (0, "x-upgrade"),
        (0, "a b"),
        (1, "websocket"),
        (1, "SPDY/3.1, websocket"),
        (1, ""),
        (2, ""),
        (2, "v5.channel.k8s.io"),
        (2, "channel.k8s.io"),
        (2, "v4.channel.k8s.io, x"),
    ] {
        let mut fields = good;
        fields[at].1 = value;
        assert!(spdy.check_response(101, &map(&fields)).is_err(), "{fields:?}");
    }
    for at in 0..3 {
        let mut missing = good.to_vec();
        missing.remove(at);
        assert!(spdy.check_response(101, &map(&missing)).is_err(), "{missing:?}");
    }
    for twice in [good[1], good[2], ("Content-Length", "0"), ("Transfer-Encoding", "chunked")] {
        let fields = [good.as_slice(), &[twice]].concat();
        assert!(spdy.check_response(101, &map(&fields)).is_err(), "{fields:?}");
    }
}

#[test]
fn a_websocket_answer_names_one_offered_protocol_and_no_extension() {
    let exec = upgrade("GET", EXEC, &websocket("v5.channel.k8s.io, v4.channel.k8s.io"));
    let answer = |more: &[(&'static str, &'static str)]| {
        map(&[&[("Upgrade", "websocket"), ("Connection", "Upgrade")][..], more].concat())
    };
    let protocol = |name| ("Sec-WebSocket-Protocol", name);
    let v4 = protocol("v4.channel.k8s.io");
    assert_eq!(exec.check_response(101, &answer(&[ACCEPT, v4])), Ok("v4.channel.k8s.io".to_owned()));
    for more in [
        &[ACCEPT][..],
        &[v4],
        &[ACCEPT, protocol("")],
        &[ACCEPT, protocol("v3.channel.k8s.io")],
        &[ACCEPT, protocol("v5.channel.k8s.io, v4.channel.k8s.io")],
        &[ACCEPT, v4, v4],
        &[ACCEPT, ACCEPT, v4],
        &[ACCEPT, v4, ("Sec-WebSocket-Extensions", "permessage-deflate")],
        &[("Sec-WebSocket-Accept", "short"), v4],
    ] {
        assert!(exec.check_response(101, &answer(more)).is_err(), "{more:?}");
    }
    let bare = upgrade("GET", EXEC, &websocket(""));
    assert_eq!(bare.check_response(101, &answer(&[ACCEPT])), Ok(String::new()));
    assert_eq!(bare.check_response(101, &answer(&[ACCEPT, protocol("")])), Ok(String::new()));
    assert!(bare.check_response(101, &answer(&[ACCEPT, v4])).is_err());
}

#[test]
fn the_head_for_the_client_has_the_spelling_old_clients_compare() {
    let exec = upgrade("POST", EXEC, &spdy(&["v4.channel.k8s.io"]));
    let mut headers = map(&[
        ("Connection", "keep-alive, upgrade, x-hop"),
        ("Upgrade", "spdy/3.1"),
        ("X-Hop", "1"),
        ("X-Stream-Protocol-Version", "v4.channel.k8s.io"),
        ("Audit-Id", "1"),
    ]);
    assert!(exec.check_response(101, &headers).is_ok());
    exec.response_headers(&mut headers);
    assert_eq!(
        headers,
        map(&[
            ("Connection", "Upgrade"),
            ("Upgrade", "SPDY/3.1"),
            ("X-Stream-Protocol-Version", "v4.channel.k8s.io"),
            ("Audit-Id", "1"),
        ])
    );
}
