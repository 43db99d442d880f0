//! The wiring: starts the store, the ledger, the listeners and the jobs, and stops them without loss.

mod descriptors;
mod files;
mod jobs;
pub(crate) mod privacy;
mod readers;
pub mod runner;
mod start;
mod stop;
pub mod telemetry;

pub use start::{Server, serve};
pub use stop::ServeError;
