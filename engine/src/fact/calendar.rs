//! Closures: days on which UR's operations credit nothing, for a reason that a person gave.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// Closures at most: a calendar is looked through day by day, and holidays that are known come from files.
pub const CLOSURES_MAX: usize = 100;

/// The longest reason kept, in bytes: it stands in every forecast's words.
pub const REASON_BYTES_MAX: usize = 128;

/// The longest closure, in days: beyond it nothing would be credited within the calendar's horizon.
pub const CLOSURE_DAYS_MAX: u32 = 366;

/// A day of the calendar, wherever UR's operations are: days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Day(pub u32);

/// Days on which nothing is credited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// The first.
    pub from: Day,
    /// The last; not before the first.
    pub through: Day,
    /// Why, for people.
    pub reason: CompactString,
}
