//! Field selectors, as far as authorization reads them: does the selector name one object?
//!
//! `kubectl wait` and many controllers watch one object by listing with `fieldSelector=metadata.name=X`; the
//! API server authorizes that as a request for X (apiserver, `requestinfo.go`; apimachinery, `fields`).

/// The value that `selector` requires `metadata.name` to have, if it parses and can be a path segment.
pub(super) fn required_name(selector: &str) -> Option<String> {
    let mut terms = split_terms(selector);
    terms.sort_unstable();
    let mut name = None;
    for term in terms.into_iter().filter(|term| !term.is_empty()) {
        let (field, equal, value) = split_term(term)?;
        let value = unescape(value)?; // one bad term spoils the selector
        if equal && field == "metadata.name" && name.is_none() {
            name = Some(value);
        }
    }
    name.filter(|name| name != "." && name != ".." && !name.contains(['/', '%']))
}

/// Commas separate terms unless a backslash stands before them.
fn split_terms(selector: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let mut start = 0;
    let mut after_backslash = false;
    for (at, c) in selector.char_indices() {
        match c {
            _ if after_backslash => after_backslash = false,
            '\\' => after_backslash = true,
            ',' => {
                terms.push(&selector[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&selector[start..]);
    terms
}

/// Field, whether the operator is an equality, raw value; the first operator counts.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    term.char_indices().find_map(|(at, _)| {
        let (field, rest) = term.split_at(at);
        [("!=", false), ("==", true), ("=", true)]
            .into_iter()
            .find_map(|(operator, equal)| rest.strip_prefix(operator).map(|value| (field, equal, value)))
    })
}

/// Backslash escapes `\`, `,` and `=` and nothing else; the last two must be escaped.
fn unescape(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                escaped @ ('\\' | ',' | '=') => out.push(escaped),
                _ => return None,
            },
            ',' | '=' => return None,
            plain => out.push(plain),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_selectors_name_an_object() {
        let cases = [
            ("metadata.name=x", Some("x")),
            ("metadata.name==x", Some("x")),
            ("metadata.name!=x", None),
            ("metadata.name", None),
            ("metadata.namespace=n,metadata.name=x", Some("x")),
            ("metadata.name=x,,", Some("x")),
            ("metadata.name=b,metadata.name=a", Some("a")),
            ("metadata.name=x,status.phase!=Running", Some("x")),
            ("metadata.name=x,broken", None),
            ("metadata.name=x,y=a=b", None),
            (r"metadata.name=a\,b", Some("a,b")),
            (r"metadata.name=a\=b", Some("a=b")),
            (r"metadata.name=a\\b", Some(r"a\b")),
            (r"metadata.name=a\b", None),
            (r"metadata.name=a\", None),
            ("metadata.name=.", None),
            ("metadata.name=..", None),
            ("metadata.name=a/b", None),
            ("metadata.name=a%b", None),
            ("metadata.name=", Some("")),
            (" metadata.name=x", None),
            ("spec.nodeName=n1", None),
            ("", None),
        ];
        for (selector, expected) in cases {
            assert_eq!(required_name(selector).as_deref(), expected, "{selector}");
        }
    }
}
