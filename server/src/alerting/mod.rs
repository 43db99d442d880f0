//! Alerts: conditions that a person must know of, and the two jobs that raise, repeat and resolve them.
//!
//! `conditions` and `actions` are pure. `watch` looks at everything but receivers of deliveries, which `deliveries` watches.

pub mod actions;
pub mod conditions;
pub mod deliveries;
pub mod watch;
