//! Programs built from Go modules, cached by content: the Kubernetes components (one multi-call
//! binary), Helm, and an aggregated API server.
//!
//! The key covers sources, versions, linker flags and Go itself, so a program in the cache is never
//! stale. One build at a time: two would only slow each other down.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::command::{output, run, tool};
use crate::progress;
use crate::state::{cache, hex, lock, repository};

/// The version whose `go.mod` and `go.sum` are committed. Other versions get theirs on first use.
pub(crate) const KUBERNETES_DEFAULT: &str = "1.37.2";

/// The built components of one Kubernetes version.
pub(crate) struct Kube {
    dir: PathBuf,
    /// Without a `v`, such as `1.37.2`.
    pub(crate) version: String,
}

impl Kube {
    /// A component's program: a link to the multi-call binary under the component's name.
    pub(crate) fn program(&self, component: &str) -> PathBuf {
        self.dir.join(component)
    }
}

/// Returns the components of a Kubernetes version, built on first use.
pub(crate) fn kube(version: &str) -> Result<Kube> {
    let minor = minor_of(version)?;
    let source = if version == KUBERNETES_DEFAULT {
        repository().join("tests/cluster/kube")
    } else {
        generated_source(version, minor)?
    };
    let flags = [
        format!("-X k8s.io/component-base/version.gitVersion=v{version}"),
        "-X k8s.io/component-base/version.gitMajor=1".to_owned(),
        format!("-X k8s.io/component-base/version.gitMinor={minor}"),
        format!("-X k8s.io/client-go/pkg/version.gitVersion=v{version}"),
    ];
    let dir = build(&Build {
        name: "kube",
        version,
        source: &source,
        package: ".",
        flags: &flags.join(" "),
        minutes: "6 to 12",
    })?;
    for component in COMPONENTS {
        let link = dir.join(component);
        if !link.exists() {
            std::os::unix::fs::symlink("kube", &link)?;
        }
    }
    Ok(Kube { dir, version: version.to_owned() })
}

/// Returns the `helm` of a major version (3 or 4), built on first use.
pub(crate) fn helm(major: u32) -> Result<PathBuf> {
    let source = repository().join(format!("tests/cluster/helm{major}"));
    let module = format!("helm.sh/helm/v{major}");
    let version = required_version(&source.join("go.mod"), &module)?;
    let dir = build(&Build {
        name: if major == 3 { "helm3" } else { "helm4" },
        version: &version,
        source: &source,
        package: &format!("{module}/cmd/helm"),
        flags: &format!("-X {module}/internal/version.version=v{version}"),
        minutes: "1 to 3",
    })?;
    let link = dir.join("helm");
    if !link.exists() {
        std::os::unix::fs::symlink(if major == 3 { "helm3" } else { "helm4" }, &link)?;
    }
    Ok(link)
}

/// Returns the aggregated API server of the tests, built on first use.
pub(crate) fn metrics_api() -> Result<PathBuf> {
    let dir = build(&Build {
        name: "metrics-api",
        version: "1",
        source: &repository().join("tests/cluster/metrics"),
        package: ".",
        flags: "",
        minutes: "less than 2",
    })?;
    Ok(dir.join("metrics-api"))
}

struct Build<'a> {
    name: &'static str,
    version: &'a str,
    source: &'a Path,
    package: &'a str,
    flags: &'a str,
    minutes: &'a str,
}

/// Returns the cache folder that holds the program `name`.
fn build(what: &Build<'_>) -> Result<PathBuf> {
    let go = output(tool("go").arg("version"))?;
    let mut hash = Sha256::new();
    for part in [what.version, what.package, what.flags, &go] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    for file in ["main.go", "go.mod", "go.sum"] {
        hash.update(fs::read(what.source.join(file)).unwrap_or_default());
        hash.update([0]);
    }
    let key = &hex(&hash.finalize())[..12];
    let dir = cache()?.join(format!("{}-{}-{key}", what.name, what.version));
    let program = dir.join(what.name);
    if program.is_file() {
        return Ok(dir);
    }
    let _one_at_a_time = lock("build")?;
    if program.is_file() {
        return Ok(dir);
    }
    fs::create_dir_all(&dir)?;
    let unfinished = dir.join("unfinished");
    progress::note(format!(
        "building {} {} from Go modules: {} minutes on 2 cores, once",
        what.name, what.version, what.minutes
    ));
    progress::step(format!("build {} {}", what.name, what.version), || {
        run(tool("go")
            .current_dir(what.source)
            .args(["build", "-trimpath", "-ldflags", &format!("-s -w {}", what.flags), "-o"])
            .arg(&unfinished)
            .arg(what.package))
    })?;
    fs::rename(&unfinished, &program)?;
    Ok(dir)
}

/// Writes a module for a version other than the default: Kubernetes' own `go.mod` names its staging
/// modules v0.0.0, which exist only inside its repository, so each is replaced by its release.
fn generated_source(version: &str, minor: u32) -> Result<PathBuf> {
    let main = adapted_main(&fs::read_to_string(repository().join("tests/cluster/kube/main.go"))?, minor);
    let key = &hex(&Sha256::digest(main.as_bytes()))[..12];
    let dir = cache()?.join(format!("kube-source-{version}-{key}"));
    if dir.join("go.sum").is_file() {
        return Ok(dir);
    }
    let _one_at_a_time = lock("build")?;
    let work = dir.with_extension("unfinished");
    fs::create_dir_all(&work)?;
    progress::step(format!("modules of Kubernetes {version}"), || {
        let found = output(
            tool("go")
                .current_dir(&work)
                .args(["mod", "download", "-json"])
                .arg(format!("k8s.io/kubernetes@v{version}")),
        )
        .with_context(|| format!("Kubernetes {version} cannot be had as a Go module"))?;
        let found: serde_json::Value = serde_json::from_str(&found)?;
        let upstream = found["GoMod"].as_str().context("`go mod download` names no GoMod")?;
        let staged = staging_modules(&fs::read_to_string(upstream)?);
        if staged.is_empty() {
            bail!("Kubernetes {version}: no staging modules in {upstream}");
        }
        let release = format!("v0.{}", version.trim_start_matches("1."));
        let replaced: String = staged.iter().map(|name| format!("\t{name} => {name} {release}\n")).collect();
        let text = format!(
            "module hawser.test/cluster/kube\n\ngo 1.26.0\n\nrequire k8s.io/kubernetes v{version}\n\nreplace (\n{replaced})\n"
        );
        fs::write(work.join("go.mod"), text)?;
        fs::write(work.join("main.go"), &main)?;
        run(tool("go").current_dir(&work).args(["mod", "tidy"]))
    })?;
    fs::rename(&work, &dir)?;
    Ok(dir)
}

/// Up to 1.33 the kubelet's command takes no context.
fn adapted_main(main: &str, minor: u32) -> String {
    if minor > 33 {
        return main.to_owned();
    }
    main.replace("NewKubeletCommand(context.Background())", "NewKubeletCommand()")
        .replace("\t\"context\"\n", "")
}

/// The modules that Kubernetes' own go.mod replaces by folders of its repository.
fn staging_modules(go_mod: &str) -> Vec<String> {
    let replaced = go_mod.lines().filter(|line| line.contains("=> ./staging/"));
    replaced
        .filter_map(|line| line.trim_start_matches("replace ").split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The version (without `v`) at which a go.mod requires a module.
fn required_version(go_mod: &Path, module: &str) -> Result<String> {
    let text = fs::read_to_string(go_mod).with_context(|| format!("cannot read {}", go_mod.display()))?;
    let words = |line: &str| {
        let line = line.trim().trim_start_matches("require ").to_owned();
        line.strip_prefix(module)?.split_whitespace().next()?.strip_prefix('v').map(str::to_owned)
    };
    text.lines().find_map(words).with_context(|| format!("{} does not require {module}", go_mod.display()))
}

fn minor_of(version: &str) -> Result<u32> {
    let mut parts = version.split('.');
    match (parts.next(), parts.next().and_then(|minor| minor.parse().ok()), parts.next(), parts.next()) {
        (Some("1"), Some(minor), Some(patch), None) if patch.parse::<u32>().is_ok() => Ok(minor),
        _ => bail!("--kubernetes {version}: write it like {KUBERNETES_DEFAULT}"),
    }
}

/// Names under which the multi-call binary is called.
const COMPONENTS: &[&str] = &[
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_strictly() {
        assert_eq!(minor_of("1.37.2").unwrap(), 37);
        for wrong in ["", "1.37", "v1.37.2", "2.0.0", "1.x.2", "1.37.2.1", "1.37.2-rc.1"] {
            assert!(minor_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn older_kubelets_take_no_context() {
        let main = fs::read_to_string(repository().join("tests/cluster/kube/main.go")).unwrap();
        let old = adapted_main(&main, 33);
        assert!(!old.contains("context") && old.contains("NewKubeletCommand()"));
        assert_eq!(adapted_main(&main, 34), main);
    }

    #[test]
    fn staging_modules_are_found() {
        let text = "replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\texample.com/x => ../x\n)\n";
        assert_eq!(staging_modules(text), ["k8s.io/api"]);
    }

    #[test]
    fn the_committed_module_is_the_default_version() {
        let go_mod = repository().join("tests/cluster/kube/go.mod");
        assert_eq!(required_version(&go_mod, "k8s.io/kubernetes").unwrap(), KUBERNETES_DEFAULT);
    }
}
