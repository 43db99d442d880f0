//! Faults of UR's API: an outage, and calls that are one too many.

/// Faults of UR's API.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::sandbox) struct ApiFaults {
    away: u32,
    /// The end of an outage.
    pub(super) outage_until: u64,
    /// The API rate-limits every nth call; 0: none.
    limited_every: u32,
    calls: u32,
}

impl ApiFaults {
    pub(super) fn new(away: u32, limited_every: u32) -> ApiFaults {
        ApiFaults { away, outage_until: 0, limited_every, calls: 0 }
    }

    /// The fault that a call meets, if any.
    pub(in crate::sandbox) fn meet(&mut self, now: u64) -> Result<(), (u32, String)> {
        self.calls = self.calls.wrapping_add(1);
        if self.away > 0 || now < self.outage_until {
            self.away = self.away.saturating_sub(1);
            return Err((50_002, "internal error".to_owned()));
        }
        if self.limited_every > 0 && self.calls.is_multiple_of(self.limited_every) {
            return Err((10_016, "too many requests".to_owned()));
        }
        Ok(())
    }
}
