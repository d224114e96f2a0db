//! The load program, asked for one measurement at a time.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::chains::Chain;
use crate::command::{output, tool};

/// The program.
pub(crate) struct Load<'a> {
    pub(crate) program: &'a Path,
}

/// What one measurement says.
#[derive(Deserialize)]
pub(crate) struct Measured {
    /// Answered in full.
    pub(crate) requests: u64,
    /// Of bodies.
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Of each proxy of the chain.
    cpu_ns: Vec<u64>,
}

impl Measured {
    /// CPU time of each proxy for one request.
    pub(crate) fn per_request_us(&self) -> Vec<f64> {
        self.each(self.requests as f64 * 1e3)
    }

    /// CPU time of each proxy for 10⁹ bytes of bodies.
    pub(crate) fn per_gb_ms(&self) -> Vec<f64> {
        self.each(self.bytes as f64 / 1e9 * 1e6)
    }

    fn each(&self, divisor: f64) -> Vec<f64> {
        self.cpu_ns.iter().map(|ns| *ns as f64 / divisor).collect()
    }
}

impl Load<'_> {
    /// GETs of a kilobyte for so many seconds.
    pub(crate) fn small(
        &self,
        chain: &Chain,
        connections: u32,
        streams: u32,
        seconds: f64,
    ) -> Result<Measured> {
        let (connections, streams) = (connections.to_string(), streams.to_string());
        let seconds = seconds.to_string();
        let flags =
            ["--path", SMALL, "--connections", &connections, "--streams", &streams, "--seconds", &seconds];
        let measured = self.run(chain, &flags)?;
        if measured.requests == 0 || measured.bytes != measured.requests * SMALL_BYTES {
            bail!("{}: {} answers of {} bytes in all", chain.name, measured.requests, measured.bytes);
        }
        Ok(measured)
    }

    /// One body of so many bytes.
    pub(crate) fn bulk(&self, chain: &Chain, bytes: u64) -> Result<Measured> {
        let path = |bytes| format!("{LOG}?limitBytes={bytes}");
        let measured =
            self.run(chain, &["--path", &path(bytes), "--first", &path(FIRST_BYTES), "--requests", "1"])?;
        if measured.bytes != bytes {
            bail!("{}: {} bytes came, {bytes} were asked for", chain.name, measured.bytes);
        }
        Ok(measured)
    }

    fn run(&self, chain: &Chain, flags: &[&str]) -> Result<Measured> {
        let mut command = tool(self.program);
        command.arg("load").arg("--kubeconfig").arg(&chain.kubeconfig).args(flags);
        for proxy in &chain.proxies {
            command.arg(format!("--cpu-of={}", proxy.pid));
        }
        let text = output(&mut command).with_context(|| format!("measuring {}", chain.name))?;
        serde_json::from_str(&text).context("the load's report")
    }
}

const SMALL: &str = "/api/v1/namespaces/default/configmaps/one";
const SMALL_BYTES: u64 = 1024;
const LOG: &str = "/api/v1/namespaces/default/pods/p/log";
/// A first body of this size opens every window of the chain.
const FIRST_BYTES: u64 = 16 << 20;
