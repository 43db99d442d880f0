//! The wiring: starts the store, the ledger, the listeners and the jobs, and stops them without losing anything.

mod start;
pub mod telemetry;

pub use start::{ServeError, Server, serve};
