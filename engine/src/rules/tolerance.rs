//! Tolerance: the difference of two figures that needs no operator.

use crate::money::Minor;

/// The difference of two figures that needs no operator: one smallest unit, or this share, whichever is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// In hundredths of a percent; the design's drift is 200.
    pub drift_bps: u16,
}

impl Tolerance {
    /// The largest tolerated difference of two figures near `amount`.
    #[must_use]
    pub fn of(self, amount: Minor) -> Minor {
        amount.share_rounded_up(i64::from(self.drift_bps), 10_000).max(Minor(1))
    }

    pub(super) fn holds(self, ours: Minor, theirs: Minor) -> bool {
        Minor((ours - theirs).0.abs()) <= self.of(ours)
    }
}

impl Default for Tolerance {
    fn default() -> Self {
        Tolerance { drift_bps: 200 }
    }
}
