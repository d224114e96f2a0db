//! Tokens that browsers send as a subprotocol.

use hawser_kube::headers::sanitize_request;
use hawser_kube::upgrade::websocket_bearer;
use http::HeaderMap;

use crate::{EXEC, PROXY, map, upgrade, websocket};

const BEARER: &str = "base64url.bearer.authorization.k8s.io.aHd0XzFfYWJj";

#[test]
fn a_browser_sends_its_token_as_a_protocol_and_it_stays_here() {
    let fields = websocket("base64url.bearer.authorization.k8s.io.aHd0XzFfYWJj, v4.channel.k8s.io");
    assert_eq!(websocket_bearer(&map(&fields)), Ok(Some("hwt_1_abc".to_owned())));
    for target in [EXEC, PROXY, "/api/v1/pods?watch=1"] {
        let mut headers = map(&fields);
        let upgrade = upgrade("GET", target, &fields);
        sanitize_request(&mut headers, true).expect("legal");
        upgrade.forward_headers(&mut headers);
        assert_eq!(headers["sec-websocket-protocol"], "v4.channel.k8s.io", "{target}");
    }
    let mut headers = map(&fields[4..]);
    sanitize_request(&mut headers, true).expect("legal");
    assert!(headers.is_empty(), "not on a request that is no upgrade either");
}

#[test]
fn which_bearer_protocols_are_taken() {
    let bearer = |list: &str| websocket_bearer(&map(&[("Sec-WebSocket-Protocol", list)]));
    assert_eq!(websocket_bearer(&HeaderMap::new()), Ok(None));
    assert_eq!(bearer("v4.channel.k8s.io"), Ok(None));
    for list in [
        BEARER.to_owned(),
        format!("{BEARER}, base64url.bearer.authorization.k8s.io.eA, v4.channel.k8s.io"),
        "base64url.bearer.authorization.k8s.io., v4.channel.k8s.io".to_owned(),
        "base64url.bearer.authorization.k8s.io.a, v4.channel.k8s.io".to_owned(),
        "base64url.bearer.authorization.k8s.io._w, v4.channel.k8s.io".to_owned(), // 0xff
        format!("{BEARER}, a b"),
    ] {
        assert_eq!(bearer(&list).expect_err(&list).code, 401, "{list}");
    }
    let twice = map(&[("Sec-WebSocket-Protocol", BEARER), ("Sec-WebSocket-Protocol", "v4.channel.k8s.io")]);
    assert_eq!(websocket_bearer(&twice).expect_err("two fields").code, 401);
}
