//! Commands that need no running server.

pub(super) mod config;
pub(super) mod journal;
pub(super) mod sandbox;
pub(super) mod sign;
pub(super) mod sweep;
