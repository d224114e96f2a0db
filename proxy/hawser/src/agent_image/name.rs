//! Names of container images.

use std::fmt;

/// `[HOST[:PORT]/]PATH[:TAG][@sha256:DIGEST]`, as registries and container runtimes take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageName {
    /// Host and path.
    name: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl ImageName {
    /// Refuses what no runtime would take.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let bad = || {
            anyhow::anyhow!("{text:?} is not the name of an image, such as registry.example.com/agent:1.0")
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            Some(_) | None => (rest, None),
        };
        let right = is_name(name) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest);
        if !right {
            return Err(bad());
        }
        Ok(Self { name: name.to_owned(), tag: tag.map(str::to_owned), digest: digest.map(str::to_owned) })
    }

    /// The tag, if it has one.
    pub(crate) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The name with the host that runtimes imply, which is how they look it up.
    pub(crate) fn full(&self) -> String {
        match self.name.split_once('/') {
            Some((host, _)) if is_host(host) => self.to_string(),
            Some(_) => format!("docker.io/{self}"),
            None => format!("docker.io/library/{self}"),
        }
    }

    /// `imagePullPolicy`: no registry has what `hawser agent-image` made, and a name that moves is asked for each time.
    pub(crate) fn pull_policy(&self) -> &'static str {
        if self.name.starts_with(LOCAL) {
            "Never"
        } else if self.digest.is_none() && self.tag.as_deref().is_none_or(|tag| tag == "latest") {
            "Always"
        } else {
            "IfNotPresent"
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

fn is_name(name: &str) -> bool {
    let path = match name.split_once('/') {
        Some((host, path)) if is_host(host) => path,
        Some(_) | None => name,
    };
    name.len() <= NAME_BYTES_MAX && path.split('/').all(is_component)
}

/// The first part of a name is a host if it could not be a part of a path on Docker Hub.
fn is_host(text: &str) -> bool {
    let (host, port) = text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let distinct = host.contains('.') || port.is_some() || host == "localhost";
    distinct && host.split('.').all(label) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_component(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|byte| inner(*byte))
        && bytes.last().is_some_and(|byte| inner(*byte))
        && bytes.iter().all(|byte| inner(*byte) || b"._-".contains(byte))
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = text.as_bytes();
    bytes.len() <= TAG_BYTES_MAX
        && bytes.first().is_some_and(|byte| word(*byte))
        && bytes.iter().all(|byte| word(*byte) || b".-".contains(byte))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

/// Where images are that come from no registry.
pub(super) const LOCAL: &str = "hawser.local/";

/// As the distribution specification has it.
const NAME_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_back() {
        let digest = format!("registry.example.com:5000/a/b@sha256:{}", "0f".repeat(32));
        let longest = format!("{}:{}", "a".repeat(NAME_BYTES_MAX), "t".repeat(TAG_BYTES_MAX));
        for good in [
            "agent",
            "agent:1",
            "a/b-c_d.e:v1.2",
            "localhost/x",
            "localhost:5000/x:latest",
            &digest,
            &longest,
        ] {
            assert_eq!(ImageName::parse(good).unwrap().to_string(), good);
        }
    }

    #[test]
    fn what_no_runtime_takes_is_refused() {
        let long_name = "a".repeat(NAME_BYTES_MAX + 1);
        let long_tag = format!("a:{}", "t".repeat(TAG_BYTES_MAX + 1));
        for bad in [
            "",
            ":",
            "a:",
            "/a",
            "a/",
            "a//b",
            "A/b",
            "a b",
            "a\"",
            "a\n",
            "a:b:c",
            "a:-x",
            "-a",
            "a@sha256:12",
            "a@md5:00",
            "h.example:port/x",
            "h.example:99999/x",
            "x{image}",
            &long_name,
            &long_tag,
        ] {
            assert!(ImageName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn runtimes_imply_a_host() {
        let full = |text: &str| ImageName::parse(text).unwrap().full();
        assert_eq!(full("agent:1"), "docker.io/library/agent:1");
        assert_eq!(full("team/agent:1"), "docker.io/team/agent:1");
        assert_eq!(full("hawser.local/agent:1"), "hawser.local/agent:1");
        assert_eq!(full("localhost:5000/agent:1"), "localhost:5000/agent:1");
    }

    #[test]
    fn the_pull_policy_follows_from_the_name() {
        let policy = |text: &str| ImageName::parse(text).unwrap().pull_policy();
        assert_eq!(policy(&super::super::default_tag()), "Never");
        assert_eq!(policy("a/b:1"), "IfNotPresent");
        assert_eq!(policy(&format!("a/b@sha256:{}", "0".repeat(64))), "IfNotPresent");
        assert_eq!(policy("a/b"), "Always");
        assert_eq!(policy("a/b:latest"), "Always");
    }
}
