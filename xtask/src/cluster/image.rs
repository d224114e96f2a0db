//! The image for test pods: this machine's busybox and curl with the libraries they load, as an
//! archive that `ctr images import` takes. The same image serves as the pods' pause container.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::command::{output, tool, which};
use crate::state::hex;

/// Name of the image with busybox and curl.
pub(crate) const TEST_IMAGE: &str = "localhost/hawser-test:1";
/// Name of the same image as the container that holds a pod's namespaces.
pub(super) const PAUSE_IMAGE: &str = "localhost/pause:1";

/// Writes the image archive (the format of `docker save`) to `path`.
pub(super) fn write(path: &Path) -> Result<()> {
    let layer = layer()?;
    let digest = hex(&Sha256::digest(&layer));
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Env": ["PATH=/bin:/usr/bin"], "Cmd": ["/bin/sleep", "2147483647"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    })
    .to_string();
    let config_name = format!("{}.json", hex(&Sha256::digest(&config)));
    let layer_name = format!("{digest}/layer.tar");
    let manifest =
        json!([{"Config": config_name, "RepoTags": [TEST_IMAGE, PAUSE_IMAGE], "Layers": [layer_name]}]);
    let mut archive = Archive::default();
    archive.file(&config_name, config.as_bytes(), 0o644)?;
    archive.file(&layer_name, &layer, 0o644)?;
    archive.file("manifest.json", manifest.to_string().as_bytes(), 0o644)?;
    fs::write(path, archive.finish()).with_context(|| format!("cannot write {}", path.display()))
}

fn layer() -> Result<Vec<u8>> {
    let busybox = which("busybox").context("busybox is not installed")?;
    let curl = which("curl").context("curl is not installed")?;
    let mut archive = Archive::default();
    for (dir, mode) in
        [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("usr/bin", 0o755), ("var", 0o755)]
    {
        archive.dir(dir, mode)?;
    }
    archive.file("bin/busybox", &fs::read(&busybox)?, 0o755)?;
    for applet in output(tool(&busybox).arg("--list"))?.split_whitespace().filter(|name| *name != "busybox") {
        archive.link(&format!("bin/{applet}"), "/bin/busybox")?;
    }
    archive.file("usr/bin/curl", &fs::read(&curl)?, 0o755)?;
    let mut libraries = BTreeSet::new();
    for program in [&busybox, &curl] {
        // A static busybox has none; `ldd` then fails.
        let listed = output(tool("ldd").arg(program)).unwrap_or_default();
        libraries.extend(listed.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned));
    }
    for library in libraries {
        archive.file(library.trim_start_matches('/'), &fs::read(&library)?, 0o755)?;
    }
    let users = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
    archive.file("etc/passwd", users, 0o644)?;
    archive.file("etc/group", b"root:x:0:\nnobody:x:65534:\n", 0o644)?;
    Ok(archive.finish())
}

/// A tar archive (POSIX ustar) in memory, the same bytes for the same content.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    dirs: BTreeSet<String>,
}

impl Archive {
    fn dir(&mut self, name: &str, mode: u32) -> Result<()> {
        self.parents(name)?;
        if self.dirs.insert(name.to_owned()) {
            self.entry(name, b'5', mode, "", &[])?;
        }
        Ok(())
    }

    fn file(&mut self, name: &str, content: &[u8], mode: u32) -> Result<()> {
        self.parents(name)?;
        self.entry(name, b'0', mode, "", content)
    }

    fn link(&mut self, name: &str, target: &str) -> Result<()> {
        self.entry(name, b'2', 0o777, target, &[])
    }

    fn parents(&mut self, name: &str) -> Result<()> {
        match name.rsplit_once('/') {
            Some((parent, _)) => self.dir(parent, 0o755),
            None => Ok(()),
        }
    }

    fn entry(&mut self, name: &str, kind: u8, mode: u32, target: &str, content: &[u8]) -> Result<()> {
        let mut header = [0_u8; BLOCK];
        put(&mut header[..100], name.as_bytes())?;
        put(&mut header[100..108], format!("{mode:07o}").as_bytes())?;
        put(&mut header[108..116], b"0000000")?; // owner and group: root
        put(&mut header[116..124], b"0000000")?;
        put(&mut header[124..136], format!("{:011o}", content.len()).as_bytes())?;
        put(&mut header[136..148], b"00000000000")?; // time: the epoch
        put(&mut header[148..156], b"        ")?; // the checksum counts itself as blanks
        header[156] = kind;
        put(&mut header[157..257], target.as_bytes())?;
        put(&mut header[257..265], b"ustar\x0000")?;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        put(&mut header[148..156], format!("{sum:06o}\0 ").as_bytes())?;
        self.bytes.write_all(&header)?;
        self.bytes.write_all(content)?;
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        Ok(())
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }
}

fn put(field: &mut [u8], value: &[u8]) -> Result<()> {
    let into = field.get_mut(..value.len()).context("too long for a tar header")?;
    into.copy_from_slice(value);
    Ok(())
}

const BLOCK: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{feed, tool};

    #[test]
    fn tar_reads_what_we_write() {
        let mut archive = Archive::default();
        archive.dir("tmp", 0o1777).unwrap();
        archive.file("a/b/hello.txt", b"hello", 0o644).unwrap();
        archive.link("a/link", "b/hello.txt").unwrap();
        let listing = feed(tool("tar").args(["-tvf", "-"]), &archive.finish()).unwrap();
        let lines: Vec<&str> = listing.lines().collect();
        assert!(lines[0].starts_with("drwxrwxrwt") && lines[0].ends_with("tmp"), "{listing}");
        assert!(lines[3].starts_with("-rw-r--r--") && lines[3].contains(" 5 "), "{listing}");
        assert!(lines[4].contains("a/link -> b/hello.txt"), "{listing}");
    }

    #[test]
    fn a_name_too_long_is_an_error() {
        assert!(Archive::default().link(&"x".repeat(101), "y").is_err());
    }
}
