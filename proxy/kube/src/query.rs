//! Query strings, read exactly as the API server reads them (Go's `net/url`).
//!
//! Two readers of one query are a way round a policy, so the odd corners are kept: a pair with `;` or a broken
//! escape does not exist, the first value wins, and nearly every text is a true boolean.

/// Pairs a query may hold. Newer Go releases (`urlmaxqueryparams`, 10000) drop a *whole* query that holds more,
/// older ones read it: more than this is never sent by an honest client, and refused.
pub(crate) const PAIRS_MAX: usize = 4096;

/// A decoded query string.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes `raw` (without the `?`), keeping order and repetitions. The caller has bounded the number of
    /// pairs with [`too_long`].
    pub(crate) fn parse(raw: &str) -> Self {
        Self(raw.split('&').filter_map(pair).collect())
    }

    /// The first value of `key`.
    pub(crate) fn first(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// All values of `key`, in order.
    pub(crate) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The boolean `key`: absent is false, so are `0` and `false` in any case; everything else is true, an
    /// empty value too (apimachinery, `Convert_Slice_string_To_bool`).
    pub(crate) fn bool(&self, key: &str) -> bool {
        self.first(key).is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// Whether `key` is absent or a decimal 64-bit integer, as the API server demands of numbers.
    pub(crate) fn is_integer_or_absent(&self, key: &str) -> bool {
        self.first(key).is_none_or(|value| value.parse::<i64>().is_ok())
    }
}

/// Whether `raw` holds more than [`PAIRS_MAX`] pairs.
pub(crate) fn too_long(raw: &str) -> bool {
    raw.bytes().filter(|byte| *byte == b'&').count() >= PAIRS_MAX
}

fn pair(text: &str) -> Option<(String, String)> {
    if text.is_empty() || text.contains(';') {
        return None;
    }
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    Some((unescape(key)?, unescape(value)?))
}

/// `+` is a space, `%XX` a byte; `None` for a broken escape. Bytes that are not UTF-8 become U+FFFD, which no
/// name or keyword contains.
fn unescape(text: &str) -> Option<String> {
    if !text.contains(['%', '+']) {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            plain => plain,
        });
    }
    Some(
        String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

/// The value of one hexadecimal digit.
pub(crate) const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_as_go_reads_them() {
        let cases = [
            ("", false),
            ("watch", true),
            ("watch=", true),
            ("watch=1", true),
            ("watch=true", true),
            ("watch=yes", true),
            ("watch=0", false),
            ("watch=00", true),
            ("watch=false", false),
            ("watch=FaLsE", false),
            ("watch=+false", true),
            ("watch=false&watch=true", false),
            ("watch=true&watch=false", true),
            ("%77atch=1", true),
            ("watch=%66alse", false),
            ("watch=true;x=1", false),
            ("watch=%zz", false),
            ("watch=%zz&watch=1", true),
            ("Watch=1", false),
        ];
        for (query, expected) in cases {
            assert_eq!(Query::parse(query).bool("watch"), expected, "{query}");
        }
    }

    #[test]
    fn values_keep_order_spaces_and_emptiness() {
        let query = Query::parse("command=sh&command=&&command=echo+hi%20%26&command=a%3Db&command");
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["sh", "", "echo hi &", "a=b", ""]);
    }

    #[test]
    fn a_value_keeps_its_later_equals_signs() {
        assert_eq!(
            Query::parse("fieldSelector=metadata.name=x").first("fieldSelector"),
            Some("metadata.name=x")
        );
    }

    #[test]
    fn integers() {
        for (query, expected) in [
            ("", true),
            ("limit=500", true),
            ("limit=-1", true),
            ("limit=+1", false),
            ("limit=%2B1", true),
            ("limit=", false),
            ("limit=1e3", false),
            ("limit=9223372036854775808", false),
        ] {
            assert_eq!(Query::parse(query).is_integer_or_absent("limit"), expected, "{query}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_match_nothing() {
        assert_eq!(Query::parse("k=%ff").first("k"), Some("\u{fffd}"));
    }

    #[test]
    fn the_number_of_pairs_is_bounded() {
        assert!(!too_long(&vec!["a"; PAIRS_MAX].join("&")));
        assert!(too_long(&vec!["a"; PAIRS_MAX + 1].join("&")));
    }
}
