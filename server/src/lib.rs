//! The server of tapgate: UR's callbacks and their answers, and the admin side.
//!
//! `program` wires the parts together; `http` is thin; `wire` holds the JSON shapes; `signature` and `config` are pure;
//! only `clock` reads wall time.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests wait for real threads and real time"))]

pub mod alerting;
pub mod beside;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
mod error_chain;
pub mod health;
pub mod http;
pub mod outgoing;
pub mod program;
pub mod provider;
pub mod randomness;
pub mod receipts;
pub mod sandbox;
pub mod signature;
pub mod stopping;
pub mod trace;
pub mod treasury;
pub mod wire;
