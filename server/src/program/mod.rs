//! The wiring: starts the store, the ledger, the listeners and the jobs, and stops them without loss.

mod descriptors;
mod doors;
mod files;
pub(crate) mod jobs;
pub(crate) mod privacy;
mod readers;
pub mod runner;
mod start;
mod stop;
pub mod telemetry;

#[cfg(test)]
pub(crate) use start::{Ground, assemble};
pub use start::{Server, serve};
pub use stop::ServeError;
