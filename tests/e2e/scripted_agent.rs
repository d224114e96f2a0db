//! What an edge makes of an agent that may do anything: answer late, in pieces, twice or never, die, or lie. No cluster is
//! needed, only the program.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "scripted_agent/absent.rs"]
mod absent;
#[path = "own_edge/agent.rs"]
mod agent;
#[path = "scripted_agent/answers.rs"]
mod answers;
#[path = "own_edge/client.rs"]
mod client;
#[path = "scripted_agent/credentials.rs"]
mod credentials;
#[path = "scripted_agent/delivery.rs"]
mod delivery;
#[path = "own_edge/edge.rs"]
#[expect(dead_code, reason = "shared with `edge_config`, which needs more of it")]
mod edge;
#[path = "scripted_agent/http2.rs"]
mod http2;
#[path = "scripted_agent/script.rs"]
mod script;
#[path = "scripted_agent/stalled.rs"]
mod stalled;
#[path = "scripted_agent/upgrades.rs"]
mod upgrades;
