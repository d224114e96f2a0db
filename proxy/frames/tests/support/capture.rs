//! Reads a capture file: what was asked, what must come out, and the bytes in the order they came.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use hawser_frames::{Asked, Direction, Kind, SessionSpec, Transport};
use serde::Deserialize;

use super::play::Step;

pub(crate) struct Capture {
    pub(crate) name: String,
    pub(crate) must: Must,
    pub(crate) expect: Expect,
    pub(crate) steps: Vec<Step>,
    transport: Transport,
    kind: Kind,
    protocol: String,
    asked: Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Must {
    Accept,
    Cut,
    Either,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Expect {
    pub(crate) c2s: BTreeMap<String, Payload>,
    pub(crate) s2c: BTreeMap<String, Payload>,
    pub(crate) status: Option<String>,
    pub(crate) resizes: Vec<(u16, u16)>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Payload {
    pub(crate) bytes: usize,
    pub(crate) sha256: String,
}

#[derive(Deserialize)]
struct About {
    name: String,
    recorder_must: Must,
    kind: String,
    upgrade: String,
    protocol: String,
    #[serde(default)]
    expect: Option<Expect>,
}

#[derive(Deserialize)]
struct Line {
    dir: String,
    ev: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    b64: String,
}

impl Capture {
    pub(crate) fn all() -> Vec<Self> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension != "md"));
        paths.sort();
        paths.iter().map(|path| Self::load(path)).collect()
    }

    pub(crate) fn spec(&self) -> SessionSpec<'_> {
        let (transport, kind, asked) = (self.transport, self.kind, self.asked);
        SessionSpec { transport, kind, protocol: &self.protocol, asked }
    }

    pub(crate) fn named(name: &str) -> Self {
        let path = folder().join(format!("{name}.jsonl"));
        Self::load(&path)
    }

    fn load(path: &Path) -> Self {
        let mut bytes = fs::read(path).unwrap();
        if path.extension().is_some_and(|extension| extension == "gz") {
            let packed = std::mem::take(&mut bytes);
            GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
        }
        let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let about: About = serde_json::from_slice(lines.next().unwrap()).unwrap();
        let lines: Vec<Line> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
        let request = lines.iter().find(|line| line.ev == "head" && line.dir == "c2s").unwrap();
        let target = request.text.split(' ').nth(1).unwrap();
        Self {
            name: about.name,
            must: about.recorder_must,
            expect: about.expect.unwrap_or_default(),
            steps: lines.iter().filter_map(Line::step).collect(),
            transport: if about.upgrade == "websocket" { Transport::WebSocket } else { Transport::Spdy },
            kind: match about.kind.as_str() {
                "exec" => Kind::Exec,
                "attach" => Kind::Attach,
                "portforward" => Kind::PortForward,
                "logs" => Kind::Logs,
                "watch" => Kind::Watch,
                other => panic!("kind {other}"),
            },
            protocol: about.protocol,
            asked: asked(target),
        }
    }
}

impl Line {
    fn step(&self) -> Option<Step> {
        let direction = match self.dir.as_str() {
            "c2s" => Direction::ClientToServer,
            _ => Direction::ServerToClient,
        };
        match self.ev.as_str() {
            "data" => Some(Step::Data(direction, STANDARD.decode(&self.b64).unwrap())),
            "eof" => Some(Step::Eof(direction)),
            _ => None,
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures")
}

fn asked(target: &str) -> Asked {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let pairs: Vec<_> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let is_true = |name| pairs.contains(&(name, "true"));
    let ports = pairs.iter().filter(|pair| pair.0 == "ports").map(|pair| pair.1.split(',').count()).sum();
    Asked {
        stdin: is_true("stdin"),
        stdout: is_true("stdout"),
        stderr: is_true("stderr"),
        tty: is_true("tty"),
        ports,
    }
}
