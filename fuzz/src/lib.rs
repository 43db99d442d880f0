//! The fuzz targets' checks: one plain function per target. The files in `fuzz_targets` only call them; the tests
//! `corpora.rs` of engine and server include these same files and replay the corpora on a stable compiler.

pub mod admin;
pub mod answers;
pub mod config;
pub mod fold;
pub mod journal_bytes;
pub mod ledger;
pub mod mapping;
pub mod migration;
pub mod signature;
pub mod wire;
