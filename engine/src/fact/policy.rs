//! The settings of decisions.

use serde::{Deserialize, Serialize};

use super::{Controls, FundingPolicy};

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
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            funding: FundingPolicy::Crypto,
            protect_runway: false,
            limit_weight: 1,
            fx_buffer_bps: 0,
            partial_approval: false,
            rates_max_age_seconds: None,
            state_max_age_seconds: None,
            credits_count_at_once: true,
            controls: Controls::default(),
        }
    }
}
