//! People and what they may do.

use std::path::PathBuf;

use crate::{Ran, ok, ok_with, run, up};

/// A person with a kubeconfig of their own.
pub struct Person {
    /// Theirs.
    pub kubeconfig: PathBuf,
    name: String,
    _folder: tempfile::TempDir,
}

impl Person {
    /// Makes a kubeconfig for them, with these flags.
    #[must_use]
    pub fn new(name: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let mut args = vec!["kubeconfig", name, "--local", "--output", kubeconfig.to_str().unwrap()];
        args.extend(more);
        let _made = ok(&mut up().hawser(&args));
        Self { kubeconfig, name: name.to_owned(), _folder: folder }
    }

    /// Runs kubectl as them.
    #[must_use]
    pub fn kubectl(&self, args: &[&str]) -> Ran {
        run(&mut up().kubectl_as(&self.kubeconfig, args))
    }

    /// Names of this person's credentials.
    #[must_use]
    pub fn credentials(&self) -> Vec<String> {
        let list = ok(&mut up().hawser(&["get", "credentials", "--output", "json"]));
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let items = list["items"].as_array().unwrap().iter();
        let own = items.filter(|item| item["spec"]["user"] == self.name.as_str());
        own.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }
}

/// A policy in force, until dropped.
pub struct Policy(&'static str);

impl Policy {
    /// Applies the whole text of one.
    #[must_use]
    pub fn apply(name: &'static str, text: &str) -> Self {
        let _applied = ok_with(&mut up().hawser(&["apply", "-f", "-"]), text);
        Self(name)
    }

    /// Applies [`allow`].
    #[must_use]
    pub fn allow(name: &'static str, spec: &str) -> Self {
        Self::apply(name, &allow(name, spec))
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        let _gone = run(&mut up().hawser(&["delete", "accesspolicy", self.0]));
    }
}

/// The text of a policy that allows.
#[must_use]
pub fn allow(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: access.hawser.dev/v1\nkind: AccessPolicy\nmetadata: {{name: {name}, namespace: hawser-system}}\n\
         spec: {{effect: Allow, {spec}}}\n"
    )
}
