//! `hawser agent-image`: the agent's container image, made of the running binary alone.
//!
//! One archive is both an OCI image layout (for `ctr images import` and its kin) and what `docker load` reads. The same
//! binary and name give the same bytes.

use std::{
    fs::File,
    io::{BufWriter, IsTerminal as _, Write},
    path::Path,
};

use anyhow::Context as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{cli::AgentImage, output};

mod elf;
mod name;
mod tar;

pub(crate) use name::ImageName;

/// The image that the manifest of `hawser import` names where no other is asked for.
pub(crate) fn default_tag() -> String {
    format!("{}agent:{}", name::LOCAL, env!("CARGO_PKG_VERSION"))
}

/// `hawser agent-image`.
pub(crate) fn run(options: &AgentImage) -> anyhow::Result<()> {
    let name = ImageName::parse(&options.tag).context("--tag")?;
    let to_stdout = options.output == Path::new("-");
    if to_stdout && std::io::stdout().is_terminal() {
        anyhow::bail!(
            "an image is nothing for a terminal; use `--output FILE`, or pipe it into `docker load`"
        );
    }
    let binary = std::fs::read(OWN_BINARY).with_context(|| format!("cannot read {OWN_BINARY}"))?;
    if elf::is_dynamic(&binary) {
        output::note(
            "warning: this binary is dynamically linked, and the image holds nothing else: the agent will not start from \
             it; in a clone of Hawser, `cargo xtask build` makes a static one and prints its path",
        );
    }
    let image = Image::new(&binary, &name)?;
    if to_stdout {
        image.write(&mut std::io::stdout().lock()).context("cannot write to standard output")
    } else {
        let write = || image.write(&mut BufWriter::new(File::create(&options.output)?));
        write().with_context(|| format!("cannot write {}", options.output.display()))
    }
}

/// An image that is ready to be written.
struct Image<'a> {
    layer: Layer<'a>,
    config: Vec<u8>,
    manifest: Vec<u8>,
    index: Vec<u8>,
    docker: Vec<u8>,
}

/// The one layer, an uncompressed tar: the binary stands between what comes before and after it.
struct Layer<'a> {
    before: Vec<u8>,
    binary: &'a [u8],
    after: Vec<u8>,
    digest: String,
}

impl<'a> Image<'a> {
    fn new(binary: &'a [u8], name: &ImageName) -> anyhow::Result<Self> {
        let layer = Layer::new(binary)?;
        let config = to_json(&json!({
            "architecture": architecture(),
            "os": "linux",
            "created": CREATED,
            "config": {"Entrypoint": ["/hawser"], "User": USER, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
            "history": [{"created": CREATED, "created_by": "hawser agent-image"}],
        }))?;
        let manifest = to_json(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": digest(&[&config]), "size": config.len()},
            "layers": [{"mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.len()}],
        }))?;
        let full_name = name.full();
        let index = to_json(&json!({
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [{
                "mediaType": MANIFEST_TYPE,
                "digest": digest(&[&manifest]),
                "size": manifest.len(),
                "platform": {"architecture": architecture(), "os": "linux"},
                "annotations": {
                    "io.containerd.image.name": full_name,
                    "org.opencontainers.image.ref.name": name.tag().context("--tag: NAME:TAG is needed")?,
                },
            }],
        }))?;
        let docker = to_json(&json!([{
            "Config": blob(&digest(&[&config])),
            "RepoTags": [name.to_string()],
            "Layers": [blob(&layer.digest)],
        }]))?;
        Ok(Self { layer, config, manifest, index, docker })
    }

    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        for folder in ["blobs/", "blobs/sha256/"] {
            out.write_all(&tar::folder(folder)?)?;
        }
        let mut file = |path: &str, parts: &[&[u8]]| {
            let size: usize = parts.iter().map(|part| part.len()).sum();
            out.write_all(&tar::file(path, size, 0o644)?)?;
            parts.iter().try_for_each(|part| out.write_all(part))?;
            out.write_all(tar::padding(size))
        };
        file(&blob(&self.layer.digest), &self.layer.parts())?;
        file(&blob(&digest(&[&self.config])), &[&self.config])?;
        file(&blob(&digest(&[&self.manifest])), &[&self.manifest])?;
        file("oci-layout", &[br#"{"imageLayoutVersion":"1.0.0"}"#])?;
        file("index.json", &[&self.index])?;
        file("manifest.json", &[&self.docker])?;
        out.write_all(&tar::END)?;
        out.flush()
    }
}

impl<'a> Layer<'a> {
    fn new(binary: &'a [u8]) -> std::io::Result<Self> {
        let mut before = tar::folder("etc/")?.to_vec();
        before.extend(tar::file("etc/passwd", PASSWD.len(), 0o644)?);
        before.extend(PASSWD.as_bytes());
        before.extend(tar::padding(PASSWD.len()));
        before.extend(tar::file("hawser", binary.len(), 0o755)?);
        let mut after = tar::padding(binary.len()).to_vec();
        after.extend(tar::END);
        let digest = digest(&[&before, binary, &after]);
        Ok(Self { before, binary, after, digest })
    }

    fn parts(&self) -> [&[u8]; 3] {
        [&self.before, self.binary, &self.after]
    }

    fn len(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }
}

fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    format!("sha256:{}", hawser_identity::token::hex(&hash.finalize()))
}

/// Where the blob of a digest is kept.
fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn to_json(value: &Value) -> anyhow::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

/// This machine's architecture by the name it has in images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

const OWN_BINARY: &str = "/proc/self/exe";
const USER: &str = "65532:65532";
const PASSWD: &str = "root:x:0:0:root:/:/sbin/nologin\nhawser:x:65532:65532:hawser:/:/sbin/nologin\n";
/// The same for every build: a date would make every archive another one.
const CREATED: &str = "1970-01-01T00:00:00Z";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const BINARY: &[u8] = b"not really a binary";

    fn written(binary: &[u8]) -> Vec<u8> {
        let image = Image::new(binary, &ImageName::parse(&default_tag()).unwrap()).unwrap();
        let mut out = Vec::new();
        image.write(&mut out).unwrap();
        out
    }

    /// What `tar` makes of an archive.
    fn unpacked(archive: &[u8], dir: &Path) {
        let file = dir.join("archive.tar");
        std::fs::write(&file, archive).unwrap();
        let status = Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(dir).status().unwrap();
        assert!(status.success());
    }

    fn json(path: &Path) -> Value {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn the_archive_is_an_image_layout_around_the_binary() {
        let dir = tempfile::tempdir().unwrap();
        unpacked(&written(BINARY), dir.path());
        let described = |it: &Value| {
            let name = it["digest"].as_str().unwrap();
            let path = dir.path().join(blob(name));
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(
                (digest(&[&bytes]).as_str(), bytes.len() as u64),
                (name, it["size"].as_u64().unwrap())
            );
            path
        };
        assert_eq!(json(&dir.path().join("oci-layout"))["imageLayoutVersion"], "1.0.0");
        let index = json(&dir.path().join("index.json"));
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], default_tag());
        let manifest = json(&described(&index["manifests"][0]));
        let config = json(&described(&manifest["config"]));
        let layer = described(&manifest["layers"][0]);
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        assert_eq!(config["config"]["Entrypoint"], json!(["/hawser"]));

        let docker = json(&dir.path().join("manifest.json"));
        assert_eq!(docker[0]["RepoTags"], json!([default_tag()]));
        assert_eq!(dir.path().join(docker[0]["Layers"][0].as_str().unwrap()), layer);

        let root = tempfile::tempdir().unwrap();
        unpacked(&std::fs::read(layer).unwrap(), root.path());
        assert_eq!(std::fs::read(root.path().join("hawser")).unwrap(), BINARY);
        assert_eq!(std::fs::read_to_string(root.path().join("etc/passwd")).unwrap(), PASSWD);
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(root.path().join("hawser")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }

    #[test]
    fn the_same_binary_gives_the_same_bytes() {
        for size in [0, 1, 511, 512, 513] {
            let binary = vec![7; size];
            let archive = written(&binary);
            assert_eq!(archive, written(&binary));
            assert_eq!(archive.len() % tar::BLOCK, 0);
        }
    }

    #[test]
    fn an_archive_needs_a_tag() {
        assert!(Image::new(BINARY, &ImageName::parse("a/b").unwrap()).is_err());
    }
}
