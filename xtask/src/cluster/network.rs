//! The cluster's network namespace: one link to the host, a bridge for pods, and a firewall on the
//! link that drops every new inbound connection. The host's own firewall is not touched.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Cluster;
use crate::command::{feed, output, run, succeeds, tool, tool_in};
use crate::state::lock;

/// Both ends of a cluster's link.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Addresses {
    pub(super) host: Ipv4Addr,
    pub(super) cluster: Ipv4Addr,
}

/// Makes the namespace unless it is there and complete. One that a crash left half made is removed
/// first.
pub(super) fn ensure(cluster: &Cluster) -> Result<()> {
    let _no_two_take_one_address = lock("network")?;
    let record = cluster.dir.join("network.json");
    let there = Path::new("/run/netns").join(&cluster.netns).exists();
    let linked = succeeds(tool("ip").args(["link", "show", "dev", &cluster.link]));
    if there && linked && record.is_file() {
        return Ok(());
    }
    if record.is_file() {
        fs::remove_file(&record)?;
    }
    if linked {
        run(tool("ip").args(["link", "del", &cluster.link]))?;
    }
    if there {
        run(tool("ip").args(["netns", "del", &cluster.netns]))?;
    }
    let addresses = free_addresses(cluster)?;
    make(cluster, addresses)?;
    // Written last: a record means that the namespace is complete.
    Ok(fs::write(record, serde_json::to_vec(&addresses)?)?)
}

/// The addresses of a namespace that `ensure` has made.
pub(super) fn addresses(cluster: &Cluster) -> Result<Addresses> {
    let record = cluster.dir.join("network.json");
    let text = fs::read(&record).with_context(|| format!("{} is not running", cluster.name))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is damaged", record.display()))
}

fn make(cluster: &Cluster, addresses: Addresses) -> Result<()> {
    let Cluster { netns, link, .. } = cluster;
    run(tool("ip").args(["netns", "add", netns]))?;
    run(tool("ip").args(["link", "add", link, "type", "veth", "peer", "name", UPLINK, "netns", netns]))?;
    run(tool("ip").args(["addr", "add", &format!("{}/30", addresses.host), "dev", link]))?;
    run(tool("ip").args(["link", "set", link, "up"]))?;
    let inside = format!(
        "set -e
        ip link set lo up
        ip addr add {}/30 dev {UPLINK}
        ip link set {UPLINK} up
        ip route add default via {}
        ip link add {BRIDGE} address {BRIDGE_MAC} type bridge
        ip addr add {NODE_ADDRESS}/24 dev {BRIDGE}
        ip link set {BRIDGE} up
        echo 1 > /proc/sys/net/ipv4/ip_forward",
        addresses.cluster, addresses.host
    );
    run(tool_in(netns, "sh").args(["-c", &inside]))?;
    feed(tool_in(netns, "nft").args(["-f", "-"]), FIREWALL.as_bytes())?;
    Ok(())
}

/// A /30 of 100.64.0.0/16 (shared address space, RFC 6598) that overlaps nothing on this machine.
fn free_addresses(cluster: &Cluster) -> Result<Addresses> {
    let taken = taken_blocks(
        &output(tool("ip").args(["-j", "-4", "addr", "show"]))?,
        &output(tool("ip").args(["-j", "-4", "route", "show", "table", "all"]))?,
    )?;
    let start =
        cluster.netns.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let base = u32::from(Ipv4Addr::new(100, 64, 0, 0));
    let free = (0..BLOCKS).map(|step| base + (start.wrapping_add(step) % BLOCKS) * 4);
    match free.into_iter().find(|block| !taken.iter().any(|taken| taken.overlaps(*block))) {
        Some(block) => Ok(Addresses { host: Ipv4Addr::from(block + 1), cluster: Ipv4Addr::from(block + 2) }),
        None => bail!("no free /30 in 100.64.0.0/16 for the cluster's link"),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Block {
    address: u32,
    length: u32,
}

impl Block {
    fn overlaps(&self, block_of_four: u32) -> bool {
        let shift = 32 - self.length.min(30);
        self.address >> shift == block_of_four >> shift
    }
}

/// Addresses and routes of the host. Blocks wider than /24 are not counted: our /30 is more
/// specific and takes four addresses of such a network at most.
fn taken_blocks(addresses: &str, routes: &str) -> Result<Vec<Block>> {
    let addresses: Value = serde_json::from_str(addresses).context("`ip -j addr`")?;
    let routes: Value = serde_json::from_str(routes).context("`ip -j route`")?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for entry in list(&addresses).iter().flat_map(|link| list(&link["addr_info"])) {
        let length = entry["prefixlen"].as_u64().unwrap_or(32);
        found.push(format!("{}/{length}", entry["local"].as_str().unwrap_or_default()));
    }
    found.extend(list(&routes).iter().filter_map(|route| route["dst"].as_str().map(str::to_owned)));
    Ok(found.iter().filter_map(|text| parse_block(text)).filter(|block| block.length >= 24).collect())
}

fn parse_block(text: &str) -> Option<Block> {
    let (address, length) = text.split_once('/').unwrap_or((text, "32"));
    Some(Block { address: u32::from(address.parse::<Ipv4Addr>().ok()?), length: length.parse().ok()? })
}

/// The node's address, on the bridge that pods hang on.
pub(super) const NODE_ADDRESS: &str = "10.244.0.1";
/// Addresses of pods.
pub(super) const POD_NETWORK: &str = "10.244.0.0/24";
/// Addresses of Services, and the first of them: the API server as pods see it.
pub(super) const SERVICE_NETWORK: &str = "10.96.0.0/16";
pub(super) const API_SERVICE_ADDRESS: &str = "10.96.0.1";
/// The bridge of the pods.
pub(super) const BRIDGE: &str = "cni0";
/// A bridge without an address of its own takes the lowest of its ports': it would change as pods come
/// and go, and packets that pods send to the old one lose their NAT.
const BRIDGE_MAC: &str = "02:00:0a:f4:00:01";
const UPLINK: &str = "up0";
const BLOCKS: u32 = 1 << 14;

const FIREWALL: &str = r#"
table inet cluster_firewall {
  chain in { type filter hook input priority 0; iifname "up0" ct state new drop; }
  chain through { type filter hook forward priority 0; iifname "up0" ct state new drop; }
  chain nat { type nat hook postrouting priority 100; oifname "up0" masquerade; }
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_in_use_is_seen() {
        let addresses =
            r#"[{"ifname":"a","addr_info":[{"local":"100.64.0.5","prefixlen":30}]}, {"addr_info":[]}]"#;
        let routes =
            r#"[{"dst":"default"},{"dst":"100.64.0.8/30"},{"dst":"100.64.0.0/10"},{"dst":"100.64.1.1"}]"#;
        let taken = taken_blocks(addresses, routes).unwrap();
        let used = |text: &str| {
            let block = u32::from(text.parse::<Ipv4Addr>().unwrap());
            taken.iter().any(|taken| taken.overlaps(block))
        };
        assert!(!used("100.64.0.0"));
        assert!(used("100.64.0.4"), "an address");
        assert!(used("100.64.0.8"), "a route");
        assert!(used("100.64.1.0"), "a host route");
        assert!(!used("100.64.2.0"), "a wide route does not count");
    }
}
