//! Time as an argument: the engine never reads a clock.

mod zone;

pub use zone::Zone;

use serde::{Deserialize, Serialize};

/// Seconds since 1970 UTC: the unit of UR's limit window and of velocity windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixSeconds(pub i64);

/// Milliseconds since 1970 UTC: the time stamped on records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixMillis(pub u64);

impl UnixSeconds {
    /// The time `seconds` later, held at the end of `i64`.
    #[must_use]
    pub fn plus(self, seconds: i64) -> UnixSeconds {
        UnixSeconds(self.0.saturating_add(seconds))
    }
}

impl UnixMillis {
    /// The whole second it lies in.
    #[must_use]
    pub fn seconds(self) -> UnixSeconds {
        UnixSeconds(i64::try_from(self.0 / 1000).unwrap_or(i64::MAX))
    }
}

/// The time of a request as the caller's clock gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Wall time.
    pub at: UnixMillis,
    /// False after the wall clock jumped against monotonic time: a forward jump would end every 30-day window, so
    /// decisions are gated (`state_stale`) until a person looks.
    pub trusted: bool,
}
