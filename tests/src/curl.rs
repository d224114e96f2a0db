//! curl with the administrator's client certificate, for requests that no kubectl makes.

use std::process::Command;

use crate::{Ran, ok, run, up};

/// Files and flags of curl.
pub struct Curl {
    _folder: tempfile::TempDir,
    server: String,
    args: Vec<String>,
}

impl Default for Curl {
    fn default() -> Self {
        Self::new()
    }
}

impl Curl {
    /// Takes CA, certificate and key out of the kubeconfig.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let view = |path: &str| {
            let output = format!("jsonpath={{{path}}}");
            let args = ["config", "view", "--raw", "--minify", "-o", &output];
            ok(&mut up().kubectl_as(&up().admin_kubeconfig, &args))
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
        Self { _folder: folder, server: view(".clusters[0].cluster.server"), args }
    }

    /// URL of the cluster at the edge.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// One call; the answer's code is the last line of the output.
    #[must_use]
    pub fn run(&self, path: &str, more: &[&str]) -> Ran {
        let mut command = Command::new("curl");
        command
            .args(["-sS", "--max-time", "120", "--path-as-is", "-w", "\n%{http_code}"])
            .args(&self.args)
            .args(more);
        run(command.arg(format!("{}{path}", self.server)))
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
