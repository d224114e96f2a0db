//! Heads as they are written.

use bytes::BytesMut;
use hawser_http1::{BodyLength, write_request_head, write_response_head};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter().map(pair) {
        map.append(name, value);
    }
    map
}

#[test]
fn names_are_in_title_case_and_repeated_fields_in_order() {
    let mut wire = BytesMut::new();
    let fields = [("host", "a"), ("x-stream-protocol", "v4"), ("x-stream-protocol", "v3"), ("x_y.z-a", "")];
    write_request_head(&mut wire, &Method::POST, "/x?a=b", &headers(&fields)).unwrap();
    assert_eq!(
        &wire[..],
        b"POST /x?a=b HTTP/1.1\r\nHost: a\r\n\
          X-Stream-Protocol: v4\r\nX-Stream-Protocol: v3\r\nX_y.z-A: \r\n\r\n"
    );
}

#[test]
fn a_target_that_would_end_the_line_is_not_written() {
    for target in
        ["", "x", "*", "http://a/", "/ HTTP/1.1\r\nX: y", "/a b", "/\r", "/\n", "/\0", "/\u{e9}", "/#"]
    {
        let mut wire = BytesMut::new();
        assert!(
            write_request_head(&mut wire, &Method::GET, target, &HeaderMap::new()).is_err(),
            "{target:?}"
        );
        assert!(wire.is_empty());
    }
}

#[test]
fn responses() {
    for (status, line) in [
        (101, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n"),
        (404, "HTTP/1.1 404 Not Found\r\nConnection: Upgrade\r\n\r\n"),
        (799, "HTTP/1.1 799 \r\nConnection: Upgrade\r\n\r\n"),
    ] {
        let mut wire = BytesMut::new();
        let status = StatusCode::from_u16(status).unwrap();
        write_response_head(&mut wire, status, &headers(&[("connection", "Upgrade")]));
        assert_eq!(&wire[..], line.as_bytes());
    }
}

#[test]
fn framing_is_what_the_body_is() {
    for (body, want) in [
        (BodyLength::None, headers(&[])),
        (BodyLength::UntilClose, headers(&[])),
        (BodyLength::Length(7), headers(&[("content-length", "7")])),
        (BodyLength::Chunked, headers(&[("transfer-encoding", "chunked")])),
    ] {
        let mut map =
            headers(&[("content-length", "1"), ("content-length", "2"), ("transfer-encoding", "gzip")]);
        body.set_framing(&mut map);
        assert_eq!(map, want, "{body:?}");
    }
}
