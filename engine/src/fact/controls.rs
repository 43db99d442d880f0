//! Controls: limits set by people on the program, a user or a card. All off by default.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::{Channel, Merchant};
use crate::contract::limit::LIMIT_PERIOD_SECONDS;
use crate::money::{ChfMinor, Money};

/// Maximum velocity rules on one user, card or program.
pub const VELOCITY_RULES_MAX: usize = 8;

/// Maximum entries in one block list.
pub const BLOCK_LIST_MAX: usize = 1_000;

/// The largest `count_max`: below the bound of a user's ring of spends, so that counting within it is exact.
pub const VELOCITY_COUNT_MAX: u32 = 2_000;

/// A bound on approved spending in a sliding window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VelocityRule {
    /// Length of the window `(now − W, now]` in seconds, 1 to 2,592,000 (30 days).
    pub window_seconds: u32,
    /// Maximum francs in the window, this transaction included.
    pub amount_max: Option<ChfMinor>,
    /// Maximum approvals in the window, this one included; at most [`VELOCITY_COUNT_MAX`].
    pub count_max: Option<u32>,
}

/// Restrictions set by a person. An empty value restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controls {
    /// Maximum of one transaction. Other currencies are compared in francs.
    pub transaction_amount_max: Option<Money>,
    /// All rules must hold.
    pub velocity: Vec<VelocityRule>,
    pub mcc_block: Vec<u16>,
    pub merchant_block: Vec<CompactString>,
    /// ISO 3166 alpha-3, compared without case.
    pub country_block: Vec<CompactString>,
    pub channel_block: Vec<Channel>,
}

/// A control was out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlsError {
    #[error("at most {VELOCITY_RULES_MAX} velocity rules are allowed")]
    TooManyVelocityRules,
    #[error("window_seconds must be 1 to 2592000 (30 days), got {0}")]
    Window(u32),
    /// A count above the bound up to which counting is exact.
    #[error("count_max must be at most {VELOCITY_COUNT_MAX}, got {0}")]
    Count(u32),
    /// A block list too long to check on every authorization.
    #[error("a block list holds at most {BLOCK_LIST_MAX} entries")]
    BlockListTooLong,
    #[error("amounts must not be negative")]
    NegativeAmount,
}

impl Controls {
    /// Checks that the engine can enforce every bound exactly.
    ///
    /// # Errors
    /// The first bound that it cannot.
    pub fn validate(&self) -> Result<(), ControlsError> {
        if self.velocity.len() > VELOCITY_RULES_MAX {
            return Err(ControlsError::TooManyVelocityRules);
        }
        for rule in &self.velocity {
            if !(1..=LIMIT_PERIOD_SECONDS).contains(&i64::from(rule.window_seconds)) {
                return Err(ControlsError::Window(rule.window_seconds));
            }
            if let Some(count) = rule.count_max.filter(|count| *count > VELOCITY_COUNT_MAX) {
                return Err(ControlsError::Count(count));
            }
            if rule.amount_max.is_some_and(|amount| amount < ChfMinor::ZERO) {
                return Err(ControlsError::NegativeAmount);
            }
        }
        if self.transaction_amount_max.is_some_and(|max| max.amount.0 < 0) {
            return Err(ControlsError::NegativeAmount);
        }
        let longest =
            [self.mcc_block.len(), self.merchant_block.len(), self.country_block.len(), self.channel_block.len()];
        if longest.into_iter().any(|length| length > BLOCK_LIST_MAX) {
            return Err(ControlsError::BlockListTooLong);
        }
        Ok(())
    }

    /// The block lists that name this merchant and channel. A field missing from UR's request is never blocked.
    #[must_use]
    pub fn blocked(&self, merchant: &Merchant, channel: Channel) -> Blocked {
        let named = |list: &[CompactString], value: &Option<CompactString>| {
            value.as_ref().is_some_and(|value| list.iter().any(|entry| entry.eq_ignore_ascii_case(value)))
        };
        Blocked {
            country: named(&self.country_block, &merchant.country),
            mcc: merchant.mcc.is_some_and(|mcc| self.mcc_block.contains(&mcc)),
            merchant: merchant.id.as_ref().is_some_and(|id| self.merchant_block.contains(id)),
            channel: self.channel_block.contains(&channel),
        }
    }
}

/// The block lists that name a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    pub country: bool,
    pub mcc: bool,
    pub merchant: bool,
    pub channel: bool,
}

impl Blocked {
    /// The union of both.
    #[must_use]
    pub fn or(self, other: Blocked) -> Blocked {
        Blocked {
            country: self.country || other.country,
            mcc: self.mcc || other.mcc,
            merchant: self.merchant || other.merchant,
            channel: self.channel || other.channel,
        }
    }
}
