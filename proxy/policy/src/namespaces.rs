//! Which namespaces of a cluster something is narrowed to.

use std::sync::Arc;

/// `None`-like when nothing is narrowed; otherwise patterns, any of which may match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespaces(Option<Arc<[Pattern]>>);

/// One pattern, split by how it is matched.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// No `*`.
    Exact(Arc<str>),
    /// One `*`, at the end: the text before it.
    Prefix(Arc<str>),
    /// Everything else, as written.
    Glob(Arc<str>),
}

impl Namespaces {
    /// An empty list narrows nothing.
    pub(crate) fn new(patterns: &[String]) -> Self {
        Self((!patterns.is_empty()).then(|| patterns.iter().map(|text| Pattern::new(text)).collect()))
    }

    pub(crate) fn are_narrowed(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a request in `namespace` is inside. The empty namespace (cluster-wide) is inside only where
    /// nothing is narrowed: `*` is every namespace, not all of them at once.
    pub(crate) fn contain(&self, namespace: &str) -> bool {
        let Some(patterns) = &self.0 else { return true };
        !namespace.is_empty() && patterns.iter().any(|pattern| pattern.matches(namespace))
    }

    /// What is inside both, as texts for a person; `None` where neither narrows anything.
    pub(crate) fn shown_with(&self, other: &Self) -> Option<Vec<String>> {
        let (one, two) = match (&self.0, &other.0) {
            (None, None) => return None,
            (Some(only), None) | (None, Some(only)) => {
                return Some(only.iter().map(Pattern::shown).collect());
            }
            (Some(one), Some(two)) => (one, two),
        };
        let pairs = one.iter().flat_map(|a| two.iter().map(move |b| (a.shown(), b.shown())));
        Some(pairs.filter_map(|(a, b)| narrower(a, b)).collect())
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        match text.strip_suffix('*') {
            None if !text.contains('*') => Self::Exact(text.into()),
            Some(prefix) if !prefix.contains('*') => Self::Prefix(prefix.into()),
            Some(_) | None => Self::Glob(text.into()),
        }
    }

    fn matches(&self, namespace: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *namespace,
            Self::Prefix(prefix) => namespace.starts_with(&**prefix),
            Self::Glob(pattern) => glob(pattern.as_bytes(), namespace.as_bytes()),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Exact(text) | Self::Glob(text) => text.to_string(),
            Self::Prefix(text) => format!("{text}*"),
        }
    }
}

/// The one of two patterns that lies inside the other; none where they only overlap or not even that.
fn narrower(a: String, b: String) -> Option<String> {
    if glob(b.as_bytes(), a.as_bytes()) { Some(a) } else { glob(a.as_bytes(), b.as_bytes()).then_some(b) }
}

/// `*` stands for any run of bytes. Linear in practice: only the last `*` is ever tried again.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, from));
            at += 1;
        } else if pattern.get(at) == text.get(from) {
            at += 1;
            from += 1;
        } else if let Some((star_at, star_from)) = star {
            star = Some((star_at, star_from + 1));
            at = star_at + 1;
            from = star_from + 1;
        } else {
            return false;
        }
    }
    pattern.iter().skip(at).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, namespace: &str, inside: bool) {
        let namespaces = Namespaces::new(&[pattern.to_owned()]);
        assert_eq!(namespaces.contain(namespace), inside, "{pattern} {namespace}");
    }

    #[test]
    fn patterns_match_as_a_shell_would() {
        check("payments", "payments", true);
        check("payments", "payments-dev", false);
        check("payments-*", "payments-dev", true);
        check("payments-*", "payments-", true);
        check("payments-*", "payments", false);
        check("*", "anything", true);
        check("*", "", false);
        check("*-dev", "payments-dev", true);
        check("*-dev", "payments-dev-2", false);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "a-c", false);
        check("**", "x", true);
        check("*-dev*", "x-devel", true);
    }

    #[test]
    fn an_empty_list_narrows_nothing() {
        assert!(Namespaces::new(&[]).contain(""));
        assert!(Namespaces::new(&[]).contain("x"));
    }

    #[test]
    fn the_narrower_of_two_patterns_is_shown() {
        let of = |patterns: &[&str]| {
            Namespaces::new(&patterns.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(of(&[]).shown_with(&of(&[])), None);
        assert_eq!(of(&["a", "b-*"]).shown_with(&of(&[])), Some(vec!["a".to_owned(), "b-*".to_owned()]));
        assert_eq!(of(&["a-*"]).shown_with(&of(&["a-x", "b"])), Some(vec!["a-x".to_owned()]));
        assert_eq!(of(&["a-*"]).shown_with(&of(&["a-b-*"])), Some(vec!["a-b-*".to_owned()]));
    }
}
