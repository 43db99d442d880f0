//! The settings of decisions.

use serde::{Deserialize, Serialize};

use super::{Controls, FundingPolicy};
use crate::money::{ChfMinor, Minor};

/// The operator's settings: the same for every decision of a run. Recorded at the start and at every change, so that a
/// replay decides by the settings of the time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub funding: FundingPolicy,
    /// Prefer FIAT while the pool is below its reserve.
    pub protect_runway: bool,
    /// Times that a spend counts against the client limit: 0, 1 or 2.
    pub limit_weight: u8,
    /// Margin added to cross-currency holds, in hundredths of a percent.
    pub fx_buffer_bps: u16,
    /// The smallest units as which a transaction of zero counts: 1 as in UR's contract, or 0 for a program whose zero
    /// amounts only verify accounts.
    pub zero_amount_holds: u8,
    /// The balance from which a FIAT spend pays.
    pub fiat_choice: FiatChoice,
    /// Approve less than the requested amount, where UR allows it.
    pub partial_approval: bool,
    /// Rates older than this price nothing; `None`: rates set by a person do not age.
    pub rates_max_age_seconds: Option<u64>,
    /// Reports of users and pools older than this support no decision; `None`: reports by a person do not age.
    pub state_max_age_seconds: Option<u64>,
    /// A recorded credit counts at once, because no UR report will prove it.
    pub credits_count_at_once: bool,
    /// Controls that apply to every transaction.
    pub controls: Controls,
    /// What is held above an approved amount, by the merchant's category.
    pub hold_upcharge: Vec<HoldUpcharge>,
    /// What a pool still pays when it runs low.
    pub stress: Vec<StressTier>,
    /// The difference of a hold and its settlement that needs no operator.
    pub tolerance: Tolerance,
    /// How long a hold may be taken after its decision.
    pub lives: Lives,
    /// Categories whose first capture is the last, whatever it leaves: fuel pumps.
    pub final_capture_mcc: Vec<u16>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            funding: FundingPolicy::Crypto,
            protect_runway: false,
            limit_weight: 1,
            fx_buffer_bps: 0,
            zero_amount_holds: 1,
            fiat_choice: FiatChoice::AccountCheck,
            partial_approval: false,
            rates_max_age_seconds: None,
            state_max_age_seconds: None,
            credits_count_at_once: true,
            controls: Controls::default(),
            hold_upcharge: Vec::new(),
            stress: Vec::new(),
            tolerance: Tolerance::default(),
            lives: Lives::default(),
            final_capture_mcc: vec![5_541, 5_542, 5_552],
        }
    }
}

/// Maximum categories with an upcharge.
pub const HOLD_UPCHARGES_MAX: usize = 64;

/// What a merchant of a category may take above the approved amount: it is held, and the answer does not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldUpcharge {
    pub mcc: u16,
    /// In percent of the approved amount, 1 to 100.
    pub percent: u8,
}

/// Maximum stress tiers.
pub const STRESS_TIERS_MAX: usize = 8;

/// What a pool still pays once a payment would leave it below a share of its reserve. A payment that a tier lets through
/// may use the reserve, which is kept for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StressTier {
    /// The share of the reserve, in percent.
    pub below_reserve_percent: u16,
    /// The largest amount, in francs; `None`: any.
    pub amount_max: Option<ChfMinor>,
    /// The categories; empty: all.
    pub mcc: Vec<u16>,
}

impl StressTier {
    /// Whether a pool is below the tier's share of its reserve already.
    #[must_use]
    pub fn is_in_force(&self, available: Minor, reserve: Minor) -> bool {
        available < share_of_reserve(self.below_reserve_percent, reserve)
    }
}

/// A share of a reserve, rounded up.
pub(super) fn share_of_reserve(percent: u16, reserve: Minor) -> Minor {
    let share = i128::from(reserve.0) * i128::from(percent);
    // Saturating: more than any pool has.
    Minor(i64::try_from((share + 99) / 100).unwrap_or(i64::MAX))
}

/// The balance from which a FIAT spend pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FiatChoice {
    /// As UR's account view chooses (docs/ur-facts.md, "Which balance a FIAT spend debits").
    AccountCheck,
    /// The transaction currency's if it covers the spend, else the card's.
    Card,
}

/// The difference of two figures that needs no operator: one smallest unit, or this share, whichever is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

    /// Whether `theirs` differs from `ours` within tolerance.
    #[must_use]
    pub fn holds(self, ours: Minor, theirs: Minor) -> bool {
        Minor((ours - theirs).0.abs()) <= self.of(ours)
    }
}

impl Default for Tolerance {
    fn default() -> Self {
        Tolerance { drift_bps: 200 }
    }
}

/// How long a hold may be taken after its decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lives {
    pub seconds: u32,
    /// For lodging and car rental, which authorize for the whole stay.
    pub long_seconds: u32,
}

impl Lives {
    /// The life of a hold at a merchant of this category.
    #[must_use]
    pub fn of(self, mcc: Option<u16>) -> u32 {
        if mcc.is_some_and(is_lodging_or_rental) { self.long_seconds } else { self.seconds }
    }
}

/// Lodging and car rental authorize for the whole stay (ISO 18245: 3351–3500 car rental, 3501–3999 and 7011 lodging,
/// 7512 other car rental).
#[must_use]
pub fn is_lodging_or_rental(mcc: u16) -> bool {
    matches!(mcc, 3_351..=3_999 | 7_011 | 7_512)
}

impl Default for Lives {
    fn default() -> Self {
        Lives { seconds: 864_000, long_seconds: 2_592_000 }
    }
}
