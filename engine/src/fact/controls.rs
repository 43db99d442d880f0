//! Controls: limits set by people on the program, a user or a card. All off by default.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::{Channel, Merchant};
use crate::contract::limit::LIMIT_PERIOD_SECONDS;
use crate::country::Country;
use crate::money::{AMOUNT_MAX, ChfMinor, Money};

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
    pub country_block: Vec<Country>,
    pub channel_block: Vec<Channel>,
}

/// A control was out of range, or could never match a callback.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlsError {
    #[error("at most {VELOCITY_RULES_MAX} velocity rules are allowed")]
    TooManyVelocityRules,
    #[error("window_seconds must be 1 to {LIMIT_PERIOD_SECONDS} (30 days), got {0}")]
    Window(u32),
    /// A count above the bound up to which counting is exact.
    #[error("count_max must be at most {VELOCITY_COUNT_MAX}, got {0}")]
    Count(u32),
    #[error("a velocity rule bounds nothing: give amount_max_chf, count_max or both")]
    NoBound,
    /// A block list too long to check on every authorization.
    #[error("a block list holds at most {BLOCK_LIST_MAX} entries")]
    BlockListTooLong,
    #[error("amounts must be 0 to {AMOUNT_MAX} in the smallest unit, got {0}")]
    Amount(i64),
    #[error("{0:?} is no merchant category: write its four digits")]
    Category(String),
    #[error("{0:?} is no merchant id: 1 to {max} bytes, printable and without spaces around", max = Merchant::TEXT_BYTES_MAX)]
    Merchant(String),
    #[error("{0:?} is no country: write its ISO 3166 code, such as CHE, CH or 756")]
    Country(String),
    #[error("{0:?} is no channel: use pos, contactless, ecommerce, recurring, atm or other")]
    Channel(String),
}

impl VelocityRule {
    /// Checks that the rule bounds something, and exactly.
    ///
    /// # Errors
    /// It bounds nothing, or a figure is out of range.
    pub fn validate(&self) -> Result<(), ControlsError> {
        if !(1..=LIMIT_PERIOD_SECONDS).contains(&i64::from(self.window_seconds)) {
            return Err(ControlsError::Window(self.window_seconds));
        }
        if let Some(count) = self.count_max.filter(|count| *count > VELOCITY_COUNT_MAX) {
            return Err(ControlsError::Count(count));
        }
        match (self.amount_max, self.count_max) {
            (None, None) => Err(ControlsError::NoBound),
            (Some(max), _) => in_range(max.0),
            (None, Some(_)) => Ok(()),
        }
    }
}

fn in_range(amount: i64) -> Result<(), ControlsError> {
    if (0..=AMOUNT_MAX.0).contains(&amount) { Ok(()) } else { Err(ControlsError::Amount(amount)) }
}

impl Controls {
    /// An entry of `mcc_block`.
    ///
    /// # Errors
    /// Not a merchant category.
    pub fn category(text: &str) -> Result<u16, ControlsError> {
        // The lowest category is 0742, which a spreadsheet writes as 742.
        let category = Merchant::category(text).filter(|_| (3..=4).contains(&text.trim().len()));
        category.ok_or_else(|| ControlsError::Category(text.to_owned()))
    }

    /// An entry of `merchant_block`, in the form that callbacks' merchant ids have.
    ///
    /// # Errors
    /// No merchant id of a callback can have this form.
    pub fn merchant(text: &str) -> Result<CompactString, ControlsError> {
        let id = Merchant::text(text).filter(|_| text.trim().len() <= Merchant::TEXT_BYTES_MAX);
        let id = id.filter(|id| !id.chars().any(char::is_control));
        id.ok_or_else(|| ControlsError::Merchant(text.to_owned()))
    }

    /// An entry of `country_block`.
    ///
    /// # Errors
    /// Not a country.
    pub fn country(text: &str) -> Result<Country, ControlsError> {
        text.parse().map_err(|_| ControlsError::Country(text.to_owned()))
    }

    /// An entry of `channel_block`.
    ///
    /// # Errors
    /// Not a channel.
    pub fn channel(text: &str) -> Result<Channel, ControlsError> {
        Channel::named(text).ok_or_else(|| ControlsError::Channel(text.to_owned()))
    }

    /// Checks that the engine can enforce every bound exactly, and that every entry can match.
    ///
    /// # Errors
    /// The first bound that it cannot.
    pub fn validate(&self) -> Result<(), ControlsError> {
        if self.velocity.len() > VELOCITY_RULES_MAX {
            return Err(ControlsError::TooManyVelocityRules);
        }
        self.velocity.iter().try_for_each(VelocityRule::validate)?;
        self.transaction_amount_max.map_or(Ok(()), |max| in_range(max.amount.0))?;
        let longest =
            [self.mcc_block.len(), self.merchant_block.len(), self.country_block.len(), self.channel_block.len()];
        if longest.into_iter().any(|length| length > BLOCK_LIST_MAX) {
            return Err(ControlsError::BlockListTooLong);
        }
        self.mcc_block.iter().try_for_each(|mcc| Controls::category(&format!("{mcc:04}")).map(drop))?;
        self.merchant_block.iter().try_for_each(|id| match Controls::merchant(id) {
            Ok(canonical) if canonical == *id => Ok(()),
            _ => Err(ControlsError::Merchant(id.to_string())),
        })
    }

    /// The block lists that name this merchant and channel. A field missing from UR's request is never blocked.
    #[must_use]
    pub fn blocked(&self, merchant: &Merchant, channel: Channel) -> Blocked {
        Blocked {
            country: merchant.country.is_some_and(|country| self.country_block.contains(&country)),
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
