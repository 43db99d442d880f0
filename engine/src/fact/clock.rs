//! Corrections of time.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::money::Currency;
use crate::time::UnixMillis;

/// The longest reason for setting the clock, in bytes.
pub const CLOCK_REASON_BYTES_MAX: usize = 1_024;

/// The journal's time is set back: later records are stamped from `to` on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockSet {
    /// The latest time of any record before.
    pub from: UnixMillis,
    pub to: UnixMillis,
    pub reason: CompactString,
    /// Every pool: a report stamped later than `to` counts as of `to`, because one from the future would never be stale.
    pub pools: Vec<Currency>,
}
