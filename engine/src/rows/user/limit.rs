//! A user's CHF limit: UR's figure, and what it does not show yet.

use serde::{Deserialize, Serialize};

use super::User;
use crate::contract::limit::{ClientLimit, LIMIT_PERIOD_SECONDS};
use crate::ids::{Sequence, UrId};
use crate::money::ChfMinor;
use crate::time::UnixSeconds;

/// How far UR's clock may differ from ours: a use so long before UR's period begins may be counted in it.
pub(super) const CLOCKS_DIFFER_SECONDS: i64 = 3_600;

/// Baseline of UR's use of the limit within one limit period: whether UR counts at the authorization or at the
/// settlement, its figure must include `used` and every use after `since` that settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitBase {
    /// UR's figure at the baseline.
    pub used: ChfMinor,
    /// The record of that report.
    pub since: Sequence,
    /// Use after the baseline that UR's last figure includes.
    pub confirmed: ChfMinor,
}

impl LimitBase {
    pub(super) fn at(sequence: Sequence, limit: ClientLimit) -> LimitBase {
        LimitBase { used: limit.used, since: sequence, confirmed: ChfMinor::ZERO }
    }
}

impl User {
    /// The rest of the CHF limit: the client limit minus reported and unreflected use, at least zero.
    #[must_use]
    pub fn headroom(&self, id: &UrId, now: UnixSeconds) -> ChfMinor {
        self.limit_left(id, now).max(ChfMinor::ZERO)
    }

    /// As [`User::headroom`], but below zero where more is used than allowed: then not even a spend worth no centime is
    /// (docs/ur-facts.md, "The CHF limit").
    #[must_use]
    pub(crate) fn limit_left(&self, id: &UrId, now: UnixSeconds) -> ChfMinor {
        if id.is_unlimited() {
            return ChfMinor(i64::MAX);
        }
        // Saturating: use at the end of i64 exhausts any limit.
        let taken = self.limit.counted_use(now).saturating_add(self.spends().unreflected(now));
        self.limit.client.saturating_sub(taken)
    }

    /// The least that UR's figure of this period, requested after `seen_through`, must show: half of the settled use,
    /// because UR may settle less than the approved amount, or price it otherwise.
    #[must_use]
    pub fn limit_used_min(&self, seen_through: Sequence) -> ChfMinor {
        let base = self.limit_base;
        // Saturating: use at the end of i64 exceeds any figure that UR can report.
        let settled = base.confirmed.saturating_add(self.spends().completed(base.since, seen_through));
        self.limit.used.max(base.used.saturating_add(ChfMinor(settled.0 / 2)))
    }

    /// Whether uses count that UR's period has ended with.
    pub(crate) fn has_ended_uses(&self, now: UnixSeconds) -> bool {
        self.uses_end(now).is_some_and(|end| self.spends().uses_before(end))
    }

    /// Where UR's period is over by `now`: the time before which uses do not count after it.
    pub(super) fn uses_end(&self, now: UnixSeconds) -> Option<UnixSeconds> {
        let end = self.limit.start.plus(LIMIT_PERIOD_SECONDS - CLOCKS_DIFFER_SECONDS);
        self.limit.period_ended(now).then_some(end)
    }
}
