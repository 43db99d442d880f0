//! Alerts: conditions that need a person, and the two jobs that raise, repeat and resolve them.
//!
//! `conditions` and `actions` are pure. `watch` checks every condition except those of delivery receivers, which
//! `deliveries` checks.

pub mod actions;
pub mod conditions;
pub mod deliveries;
pub mod watch;
