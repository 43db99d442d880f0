//! Controls: limits that people set on a program, a user or a card. All off by default.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::{Channel, Merchant};
use crate::contract::limit::LIMIT_PERIOD_SECONDS;
use crate::money::{ChfMinor, Money};

/// At most so many velocity rules on one user, card or program.
pub const VELOCITY_RULES_MAX: usize = 8;

/// At most so many entries in one block list.
pub const BLOCK_LIST_MAX: usize = 1_000;

/// The largest `count_max`: below the bound of a user's spends, so that counting within it is exact.
pub const VELOCITY_COUNT_MAX: u32 = 2_000;

/// A bound on approved spending in a sliding window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VelocityRule {
    /// Length of the window `(now − W, now]` in seconds, 1 to 2,592,000 (30 days).
    pub window_seconds: u32,
    /// The most francs in the window, this transaction included.
    pub amount_max: Option<ChfMinor>,
    /// The most approvals in the window, this one included; at most [`VELOCITY_COUNT_MAX`].
    pub count_max: Option<u32>,
}

/// What a person may restrict. An empty value restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controls {
    /// The most one transaction may be. In another currency it is compared in francs.
    pub transaction_amount_max: Option<Money>,
    /// Sliding windows; all must hold.
    pub velocity: Vec<VelocityRule>,
    /// Merchant categories refused.
    pub mcc_block: Vec<u16>,
    /// Merchant ids refused.
    pub merchant_block: Vec<CompactString>,
    /// Countries refused (alpha-3, compared without case).
    pub country_block: Vec<CompactString>,
    /// Channels refused.
    pub channel_block: Vec<Channel>,
}

/// A control was out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlsError {
    /// Too many velocity rules.
    #[error("at most {VELOCITY_RULES_MAX} velocity rules are allowed")]
    TooManyVelocityRules,
    /// A window of no or too great length.
    #[error("window_seconds must be 1 to 2592000 (30 days), got {0}")]
    Window(u32),
    /// A count that could not be kept exactly.
    #[error("count_max must be at most {VELOCITY_COUNT_MAX}, got {0}")]
    Count(u32),
    /// A list too long to be checked at every tap.
    #[error("a block list holds at most {BLOCK_LIST_MAX} entries")]
    BlockListTooLong,
    /// A negative bound.
    #[error("amounts must not be negative")]
    NegativeAmount,
}

impl Controls {
    /// Whether every bound is one that the engine can keep exactly.
    ///
    /// # Errors
    /// The first bound that is not.
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

    /// Which of the lists name this merchant and channel. What UR does not tell cannot be blocked.
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

/// Which block lists name a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// The merchant's country.
    pub country: bool,
    /// The merchant's category.
    pub mcc: bool,
    /// The merchant.
    pub merchant: bool,
    /// The channel.
    pub channel: bool,
}

impl Blocked {
    /// Blocked by either.
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
