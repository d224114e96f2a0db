//! curl with a client certificate, for requests that no kubectl makes.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Ran, Way, ok, run, up};

/// Files and flags of curl.
pub struct Curl {
    folder: tempfile::TempDir,
    way: Way,
    server: String,
    args: Vec<String>,
}

impl Default for Curl {
    fn default() -> Self {
        Self::new()
    }
}

impl Curl {
    /// As the administrator.
    #[must_use]
    pub fn new() -> Self {
        Self::of(&up().admin_kubeconfig)
    }

    /// Through Hawser, with CA, certificate and key of a kubeconfig.
    #[must_use]
    pub fn of(kubeconfig: &Path) -> Self {
        Self::with(Way::Hawser, kubeconfig)
    }

    /// As the administrator, one way or the other.
    #[must_use]
    pub fn going(way: Way) -> Self {
        match way {
            Way::Direct => Self::with(way, &up().cluster().direct_kubeconfig),
            Way::Hawser => Self::with(way, &up().admin_kubeconfig),
        }
    }

    fn with(way: Way, kubeconfig: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let view = |path: &str| {
            let output = format!("jsonpath={{{path}}}");
            let args = ["config", "view", "--raw", "--minify", "--flatten", "-o", &output];
            ok(&mut up().kubectl_as(kubeconfig, &args))
        };
        let mut args = Vec::new();
        for (flag, path) in [
            ("--cacert", ".clusters[0].cluster.certificate-authority-data"),
            ("--cert", ".users[0].user.client-certificate-data"),
            ("--key", ".users[0].user.client-key-data"),
        ] {
            let file = folder.path().join(flag.trim_start_matches('-'));
            let encoded = folder.path().join("encoded");
            std::fs::write(&encoded, view(path)).unwrap();
            let decoded = Command::new("base64").arg("-d").arg(&encoded).output().unwrap().stdout;
            std::fs::write(&file, decoded).unwrap();
            args.extend([flag.to_owned(), file.to_string_lossy().into_owned()]);
        }
        Self { folder, way, server: view(".clusters[0].cluster.server"), args }
    }

    /// URL of the cluster.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The same client, asking for another URL.
    #[must_use]
    pub fn at(self, server: String) -> Self {
        Self { server, ..self }
    }

    /// Files with CA, certificate and key.
    #[must_use]
    pub fn files(&self) -> [PathBuf; 3] {
        ["cacert", "cert", "key"].map(|name| self.folder.path().join(name))
    }

    /// One call, not begun.
    #[must_use]
    pub fn command(&self, path: &str, more: &[&str]) -> Command {
        let mut command = match self.way {
            Way::Direct => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/run/netns/{}", up().cluster().netns)).arg("curl");
                command
            }
            Way::Hawser => Command::new("curl"),
        };
        self.call(&mut command, path, more);
        command
    }

    /// Adds another call, on the same connection if that can be.
    pub fn then(&self, command: &mut Command, path: &str, more: &[&str]) {
        self.call(command.arg("--next"), path, more);
    }

    fn call(&self, command: &mut Command, path: &str, more: &[&str]) {
        command.args(["-sS", "--no-buffer", "--max-time", "120", "--path-as-is"]).args(&self.args).args(more);
        command.arg(format!("{}{path}", self.server));
    }

    /// One call; the answer's code is the last line of the output.
    #[must_use]
    pub fn run(&self, path: &str, more: &[&str]) -> Ran {
        run(&mut self.command(path, &[&["-w", "\n%{http_code}"][..], more].concat()))
    }

    /// Status code of the answer.
    #[must_use]
    pub fn code(&self, path: &str, more: &[&str]) -> String {
        let ran = self.run(path, more);
        ran.stdout.rsplit('\n').next().unwrap_or_default().to_owned()
    }

    /// Status codes of many requests at once: `[1-500]` in the path counts.
    #[must_use]
    pub fn codes(&self, path: &str, more: &[&str]) -> Vec<String> {
        let mut all = vec!["-Z", "--parallel-max", "20", "-o", "/dev/null"];
        all.extend(more);
        let ran = self.run(path, &all);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }
}
