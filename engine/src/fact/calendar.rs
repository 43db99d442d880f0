//! Closures: days on which UR's operations credit nothing, with a person's reason.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// Maximum closures: the calendar is searched day by day, and known holidays come from files.
pub const CLOSURES_MAX: usize = 100;

/// The longest reason, in bytes: every forecast repeats it.
pub const REASON_BYTES_MAX: usize = 128;

/// The longest closure, in days: beyond it nothing would be credited within the calendar's horizon.
pub const CLOSURE_DAYS_MAX: u32 = 366;

/// A day in the time zone of UR's operations: days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Day(pub u32);

/// Days without credits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    pub from: Day,
    /// Included; not before `from`.
    pub through: Day,
    pub reason: CompactString,
}
