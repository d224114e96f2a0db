//! One compiled rule, and the question it answers.
//!
//! Matching is RBAC's (`k8s.io/component-helpers/auth/rbac/validation`): `*` for verbs, groups and
//! resources, `*/scale` for a subresource of anything, exact names, and URLs with a trailing `*`. A Deny is
//! read the other way round where RBAC is narrow: it also refuses what would sweep over its namespaces or names.

use std::sync::Arc;

use crate::namespaces::Namespaces;
use crate::resources;

/// What a request asks, as rules see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) verb: &'a str,
    pub(crate) target: Target<'a>,
}

/// On what.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    Resource {
        group: &'a str,
        resource: &'a str,
        subresource: &'a str,
        namespace: &'a str,
        name: &'a str,
        /// It reaches objects of every namespace at once.
        all_namespaces: bool,
        /// It reaches objects that it does not name.
        all_names: bool,
    },
    Url(&'a str),
}

/// Which way a rule is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It must cover all that is asked.
    Grant,
    /// It is enough that it covers some of what is asked.
    Refusal,
}

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    verbs: Words,
    over: Over,
}

#[derive(Debug)]
enum Over {
    Resources {
        groups: Words,
        resources: Box<[ResourceWord]>,
        /// Resources and subresources left out, in every API group; only built-in roles have them.
        except: &'static [&'static str],
        names: Box<[Arc<str>]>,
        namespaces: Namespaces,
    },
    Urls(Box<[UrlWord]>),
}

/// A list of words in which `*` stands for all.
#[derive(Debug)]
enum Words {
    All,
    These(Box<[Arc<str>]>),
}

#[derive(Debug)]
enum ResourceWord {
    All,
    /// `pods`, and `pods/log` with its subresource.
    Exact(Arc<str>, Arc<str>),
    /// `*/scale`
    AnyWith(Arc<str>),
}

#[derive(Debug)]
enum UrlWord {
    Exact(Arc<str>),
    Prefix(Arc<str>),
}

impl Rule {
    /// From what an administrator wrote; `word` interns.
    pub(crate) fn new(rule: &resources::Rule, word: &mut dyn FnMut(&str) -> Arc<str>) -> Self {
        let verbs = Words::new(&rule.verbs, word);
        if !rule.non_resource_urls.is_empty() {
            let urls = rule.non_resource_urls.iter().map(|url| match url.strip_suffix('*') {
                Some(prefix) => UrlWord::Prefix(word(prefix)),
                None => UrlWord::Exact(word(url)),
            });
            return Self { verbs, over: Over::Urls(urls.collect()) };
        }
        Self {
            verbs,
            over: Over::Resources {
                groups: Words::new(&rule.api_groups, word),
                resources: rule.resources.iter().map(|text| ResourceWord::new(text, word)).collect(),
                except: &[],
                names: rule.resource_names.iter().map(|name| word(name)).collect(),
                namespaces: Namespaces::new(&rule.namespaces),
            },
        }
    }

    /// Everything of every API group but `except`.
    pub(crate) fn all_resources_but(
        verbs: &[&str],
        except: &'static [&'static str],
        word: &mut dyn FnMut(&str) -> Arc<str>,
    ) -> Self {
        Self {
            verbs: Words::new(verbs, word),
            over: Over::Resources {
                groups: Words::All,
                resources: Box::new([ResourceWord::All]),
                except,
                names: Box::new([]),
                namespaces: Namespaces::new(&[]),
            },
        }
    }

    /// Whether it covers the request.
    pub(crate) fn covers(&self, ask: &Ask<'_>, reading: Reading) -> bool {
        self.covers_but_for_namespaces(ask, reading)
            && match ask.target {
                Target::Url(_) => true,
                Target::Resource { namespace, all_namespaces, .. } => {
                    let swept = reading == Reading::Refusal && all_namespaces;
                    swept || self.namespaces().is_none_or(|own| own.contain(namespace))
                }
            }
    }

    /// The same, whatever the namespace: for saying where a request would be allowed.
    pub(crate) fn covers_but_for_namespaces(&self, ask: &Ask<'_>, reading: Reading) -> bool {
        self.verbs.contain(ask.verb)
            && match (&self.over, ask.target) {
                (Over::Urls(urls), Target::Url(path)) => urls.iter().any(|url| url.matches(path)),
                (
                    Over::Resources { groups, resources, except, names, namespaces: _ },
                    Target::Resource { group, resource, subresource, name, all_names, .. },
                ) => {
                    let swept = reading == Reading::Refusal && all_names;
                    groups.contain(group)
                        && resources.iter().any(|word| word.matches(resource, subresource))
                        && !except.iter().any(|word| is_word(word, resource, subresource))
                        && (names.is_empty() || swept || names.iter().any(|known| **known == *name))
                }
                (Over::Urls(_), Target::Resource { .. }) | (Over::Resources { .. }, Target::Url(_)) => false,
            }
    }

    /// The namespaces it is narrowed to by itself; `None` for a rule about URLs.
    pub(crate) fn namespaces(&self) -> Option<&Namespaces> {
        match &self.over {
            Over::Resources { namespaces, .. } => Some(namespaces),
            Over::Urls(_) => None,
        }
    }
}

impl Words {
    fn new<S: AsRef<str>>(words: &[S], word: &mut dyn FnMut(&str) -> Arc<str>) -> Self {
        if words.iter().any(|text| text.as_ref() == "*") {
            return Self::All;
        }
        Self::These(words.iter().map(|text| word(text.as_ref())).collect())
    }

    fn contain(&self, text: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(words) => words.iter().any(|word| **word == *text),
        }
    }
}

impl ResourceWord {
    fn new(text: &str, word: &mut dyn FnMut(&str) -> Arc<str>) -> Self {
        match text.split_once('/') {
            None if text == "*" => Self::All,
            None => Self::Exact(word(text), word("")),
            Some(("*", subresource)) => Self::AnyWith(word(subresource)),
            Some((resource, subresource)) => Self::Exact(word(resource), word(subresource)),
        }
    }

    fn matches(&self, resource: &str, subresource: &str) -> bool {
        match self {
            Self::All => true,
            Self::Exact(its, sub) => **its == *resource && **sub == *subresource,
            Self::AnyWith(sub) => **sub == *subresource,
        }
    }
}

impl UrlWord {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(url) => **url == *path,
            Self::Prefix(prefix) => path.starts_with(&**prefix),
        }
    }
}

/// Whether `word` is `resource` or `resource/subresource`.
fn is_word(word: &str, resource: &str, subresource: &str) -> bool {
    match word.split_once('/') {
        None => word == resource && subresource.is_empty(),
        Some((its, sub)) => its == resource && sub == subresource,
    }
}
