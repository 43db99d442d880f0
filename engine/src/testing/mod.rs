//! What tests, fuzzing and simulations share: stores that live in memory, fail or wait on command, and a naive model of
//! the ledger that the real one is compared with.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that meets the unexpected stops"
)]

mod calendar;
mod cases;
mod extreme;
mod model;
mod script;
mod shown;
mod stores;

pub use cases::cases;
pub use extreme::{fold_anything, fold_extremes};
pub use model::{Model, ModelReply};
pub use script::{Operation, check_prefixes, operations, run, run_script};
pub use stores::{FailAfter, Gated, MemoryStore};
