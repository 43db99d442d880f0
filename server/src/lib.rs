//! The server of tapgate: UR's callbacks in, answers out, and the admin side.
//!
//! `http` is thin, `wire` holds the JSON shapes, `signature` and `config` are pure, `clock` alone reads wall time, and
//! `serve` wires them to the engine.

pub mod app;
mod causes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod deliver;
pub mod feeds;
pub mod http;
pub mod outbox;
pub mod policy;
pub mod prefunding;
pub mod receivers;
pub mod reconcile;
pub mod rescue;
pub mod sandbox;
pub mod serve;
pub mod signature;
pub mod telemetry;
pub mod treasury;
pub mod ur;
pub mod wire;
