//! The resize stream: JSON objects one after the other, as client-go sends them and the container runtime reads them.
//!
//! Read with the runtime's eyes (Go's `encoding/json`): field names in any case, unknown fields ignored, the last of
//! a repeated field wins, and after the first object that does not decode nothing more is acted on.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::Violation;

/// Bytes of one resize object; a real one has about 25.
pub const RESIZE_OBJECT_BYTES_MAX: usize = 4096;
/// Nesting of a resize object; a real one has one level.
pub const RESIZE_DEPTH_MAX: usize = 32;

/// Finds the objects in the stream of bytes.
#[derive(Debug, Default)]
pub(crate) struct ResizeReader {
    object: Vec<u8>,
    depth: usize,
    in_string: bool,
    escaped: bool,
    unreadable: bool,
}

/// A terminal size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: u16,
    pub(crate) height: u16,
}

impl ResizeReader {
    /// Reads one byte; a size when it completes an object that decodes.
    pub(crate) fn push(&mut self, byte: u8) -> Result<Option<Size>, Violation> {
        if self.unreadable || (self.depth == 0 && byte.is_ascii_whitespace()) {
            return Ok(None);
        }
        if self.depth == 0 && byte != b'{' {
            self.unreadable = true;
            return Ok(None);
        }
        if self.object.len() == RESIZE_OBJECT_BYTES_MAX {
            return Err(Violation("resize object too long"));
        }
        self.object.push(byte);
        self.follow_nesting(byte)?;
        Ok(if self.depth == 0 { self.decode() } else { None })
    }

    fn follow_nesting(&mut self, byte: u8) -> Result<(), Violation> {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            b'{' | b'[' if !self.in_string => {
                self.depth += 1;
                if self.depth > RESIZE_DEPTH_MAX {
                    return Err(Violation("resize object nested too deep"));
                }
            }
            b'}' | b']' if !self.in_string => self.depth -= 1,
            _ => {}
        }
        Ok(())
    }

    fn decode(&mut self) -> Option<Size> {
        let size = serde_json::from_slice(&self.object).ok();
        self.object.clear();
        self.unreadable = size.is_none();
        size
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SizeVisitor)
    }
}

struct SizeVisitor;

impl<'de> Visitor<'de> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with Width and Height")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Size, A::Error> {
        let mut size = Size::default();
        while let Some(key) = map.next_key::<String>()? {
            if key.eq_ignore_ascii_case("width") {
                size.width = map.next_value::<Option<u16>>()?.unwrap_or(size.width);
            } else if key.eq_ignore_ascii_case("height") {
                size.height = map.next_value::<Option<u16>>()?.unwrap_or(size.height);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], expected: &[(u16, u16)]) {
        let mut reader = ResizeReader::default();
        let sizes: Vec<_> = text
            .iter()
            .filter_map(|byte| reader.push(*byte).unwrap())
            .map(|size| (size.width, size.height))
            .collect();
        assert_eq!(sizes, expected, "{}", String::from_utf8_lossy(text));
    }

    #[test]
    fn objects_are_read_as_the_runtime_reads_them() {
        check(b"{\"Width\":80,\"Height\":24}\n", &[(80, 24)]);
        check(b"{\"Width\":81,\"Height\":25}{\"Width\":80,\"Height\":24}", &[(81, 25), (80, 24)]);
        check(b"{\"width\":80,\"HEIGHT\":24,\"x\":{\"y\":[\"}\\\"\"]}}", &[(80, 24)]);
        check(b"{\"Width\":1,\"Width\":2}", &[(2, 0)]);
        check(b"{\"Width\":null,\"Height\":3}", &[(0, 3)]);
    }

    #[test]
    fn what_does_not_decode_ends_the_reading() {
        for bad in ["7", "{\"Width\":70000}", "{\"Width\":-1}", "{\"Width\":\"8\"}", "{]", "{} }", "null"] {
            let text = format!("{bad}{{\"Width\":80,\"Height\":24}}");
            let first = if bad.starts_with("{}") { vec![(0, 0)] } else { vec![] };
            check(text.as_bytes(), &first);
        }
    }

    #[test]
    fn one_object_is_bounded() {
        let mut reader = ResizeReader::default();
        let mut text = vec![b' '; RESIZE_OBJECT_BYTES_MAX];
        text[0] = b'{';
        assert!(text.iter().all(|byte| reader.push(*byte) == Ok(None)));
        assert_eq!(reader.push(b' '), Err(Violation("resize object too long")));

        text[RESIZE_OBJECT_BYTES_MAX - 1] = b'}';
        check(&text, &[(0, 0)]);

        let mut reader = ResizeReader::default();
        assert!((0..RESIZE_DEPTH_MAX).all(|_| reader.push(b'{') == Ok(None)));
        assert_eq!(reader.push(b'['), Err(Violation("resize object nested too deep")));
    }
}
