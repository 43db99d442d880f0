//! The server of tapgate.

pub mod config;
pub mod signature;
