//! UR, the provider: its API, the figures read from it, reconciliation with its books, and top-ups ordered from it.

pub mod api;
pub mod feeds;
pub mod findings;
pub mod prefunding;
pub mod reconciliation;
