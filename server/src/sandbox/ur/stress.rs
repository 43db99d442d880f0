//! The sandbox's stress tier: what a pool keeps for essentials, by rules of the sandbox's own.

use super::books::Books;
use super::contract::Code;
use crate::sandbox::tap::Tap;

/// The smallest pool is the one with a reserve, an eighth of its opening balance: short runs reach the tier, and the other
/// pools pay everything.
const POOL: Code = "GBP";
const RESERVE_DIVISOR: u64 = 8;

/// A tier of `decision.stress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Tier {
    pub(in crate::sandbox) below_reserve_percent: u64,
    /// In francs with two decimals.
    pub(in crate::sandbox) amount_max: u64,
    pub(in crate::sandbox) mcc: [&'static str; 2],
}

/// Groceries and medicines, up to 40 francs, once a quarter of the opening balance is spent.
pub(in crate::sandbox) const TIER: Tier = Tier { below_reserve_percent: 600, amount_max: 4_000, mcc: ["5411", "5912"] };

impl Tier {
    /// The setting.
    pub(in crate::sandbox) fn setting(self) -> String {
        let Tier { below_reserve_percent, amount_max, mcc } = self;
        format!(
            "stress = [{{ below_reserve_percent = {below_reserve_percent}, amount_max_chf = {amount_max}, mcc = {mcc:?} }}]\n"
        )
    }

    fn share(self, reserve: u64) -> u64 {
        (reserve * self.below_reserve_percent).div_ceil(100)
    }
}

impl Books {
    /// The books of a program with the tier.
    pub(in crate::sandbox) fn stressed(mut self, tier: Tier) -> Books {
        self.stress = Some(tier);
        if let Some(pool) = self.pools.get_mut(POOL) {
            pool.reserve = (pool.opened - pool.floor) / RESERVE_DIVISOR;
        }
        self
    }

    /// What a pool must keep after a tap worth so many francs.
    pub(super) fn kept(&self, tap: &Tap, chf: u64, reserve: u64) -> u64 {
        match self.stress {
            Some(tier) if tier.mcc.contains(&tap.merchant.mcc) && chf <= tier.amount_max => 0,
            Some(tier) => tier.share(reserve).max(reserve),
            None => reserve,
        }
    }

    /// The most that a pool must keep after any tap.
    pub(in crate::sandbox) fn kept_most(&self, reserve: u64) -> u64 {
        self.stress.map_or(reserve, |tier| tier.share(reserve).max(reserve))
    }
}
