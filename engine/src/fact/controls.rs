//! Controls: limits set by people on the program, a user or a card. All off by default.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::{Channel, Merchant};
use crate::contract::limit::LIMIT_PERIOD_SECONDS;
use crate::country::Country;
use crate::money::{AMOUNT_MAX, ChfMinor, Money};
use crate::time::{UnixSeconds, Zone};

/// Maximum velocity rules on one user, card or program.
pub const VELOCITY_RULES_MAX: usize = 8;

/// Maximum entries in one block or allow list.
pub const LIST_MAX: usize = 1_000;

/// The largest `count_max`: below the bound of a user's ring of spends, so that counting within it is exact.
pub const VELOCITY_COUNT_MAX: u32 = 2_000;

/// The time whose approvals a velocity rule counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Period {
    /// The sliding window `(now − W, now]`: W in seconds, 1 to 2,592,000 (30 days).
    Sliding(u32),
    /// The calendar day of `now`.
    Day(Zone),
    /// The calendar month of `now`.
    Month(Zone),
}

impl Period {
    /// A calendar window by its name and zone.
    ///
    /// # Errors
    /// There is no such window, or no such zone.
    pub fn calendar(window: &str, zone: &str) -> Result<Period, ControlsError> {
        let known = || Zone::named(zone).ok_or_else(|| ControlsError::Zone(zone.to_owned()));
        match window {
            "day" => Ok(Period::Day(known()?)),
            "month" => Ok(Period::Month(known()?)),
            _ => Err(ControlsError::Calendar(window.to_owned())),
        }
    }

    /// The name of a calendar window and its zone.
    #[must_use]
    pub fn named(&self) -> Option<(&'static str, &Zone)> {
        match self {
            Period::Sliding(_) => None,
            Period::Day(zone) => Some(("day", zone)),
            Period::Month(zone) => Some(("month", zone)),
        }
    }

    /// The window of `now` holds what is later than this.
    pub(crate) fn starts_after(&self, now: UnixSeconds) -> UnixSeconds {
        let [first, _] = match self {
            Period::Sliding(seconds) => return now.plus(-i64::from(*seconds)),
            Period::Day(zone) => zone.day(now),
            Period::Month(zone) => zone.month(now),
        };
        first.plus(-1)
    }

    /// When an approval leaves its window.
    pub(crate) fn left_at(&self, approved_at: UnixSeconds) -> UnixSeconds {
        let [_, next] = match self {
            Period::Sliding(seconds) => return approved_at.plus(i64::from(*seconds)),
            Period::Day(zone) => zone.day(approved_at),
            Period::Month(zone) => zone.month(approved_at),
        };
        next
    }

    /// The length of a sliding window.
    #[must_use]
    pub fn seconds(&self) -> Option<u32> {
        match self {
            Period::Sliding(seconds) => Some(*seconds),
            Period::Day(_) | Period::Month(_) => None,
        }
    }
}

/// A bound on approved spending in a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VelocityRule {
    pub period: Period,
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
    /// An allow list that is not empty declines everything else, a transaction without the field included.
    pub mcc_allow: Vec<u16>,
    pub merchant_allow: Vec<CompactString>,
    pub country_allow: Vec<Country>,
    pub channel_allow: Vec<Channel>,
}

/// A control was out of range, or could never match a callback.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlsError {
    #[error("at most {VELOCITY_RULES_MAX} velocity rules are allowed")]
    TooManyVelocityRules,
    #[error("window_seconds must be 1 to {LIMIT_PERIOD_SECONDS} (30 days), got {0}")]
    Window(u32),
    #[error("{0:?} is no calendar window: use day or month")]
    Calendar(String),
    #[error("{0:?} is no time zone: write its IANA name, such as Europe/Zurich")]
    Zone(String),
    #[error("give either window_seconds, or window and zone")]
    Period,
    /// A count above the bound up to which counting is exact.
    #[error("count_max must be at most {VELOCITY_COUNT_MAX}, got {0}")]
    Count(u32),
    #[error("a velocity rule bounds nothing: give amount_max_chf, count_max or both")]
    NoBound,
    /// A list too long to check on every authorization.
    #[error("a list holds at most {LIST_MAX} entries")]
    ListTooLong,
    /// The allow list's entry could never match.
    #[error("{entry} is in {field}_allow and in {field}_block")]
    AllowedAndBlocked { field: &'static str, entry: String },
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
    /// The period as people give it.
    ///
    /// # Errors
    /// Not exactly one period is given, or it is unknown.
    pub fn period(seconds: Option<u32>, window: Option<&str>, zone: Option<&str>) -> Result<Period, ControlsError> {
        match (seconds, window, zone) {
            (Some(seconds), None, None) => Ok(Period::Sliding(seconds)),
            (None, Some(window), Some(zone)) => Period::calendar(window, zone),
            _ => Err(ControlsError::Period),
        }
    }

    /// Checks that the rule bounds something, and exactly.
    ///
    /// # Errors
    /// It bounds nothing, or a figure is out of range.
    pub fn validate(&self) -> Result<(), ControlsError> {
        if let Period::Sliding(seconds) = self.period
            && !(1..=LIMIT_PERIOD_SECONDS).contains(&i64::from(seconds))
        {
            return Err(ControlsError::Window(seconds));
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
    /// An entry of `mcc_block` and `mcc_allow`.
    ///
    /// # Errors
    /// Not a merchant category.
    pub fn category(text: &str) -> Result<u16, ControlsError> {
        // The lowest category is 0742, which a spreadsheet writes as 742.
        let category = Merchant::category(text).filter(|_| (3..=4).contains(&text.trim().len()));
        category.ok_or_else(|| ControlsError::Category(text.to_owned()))
    }

    /// An entry of `merchant_block` and `merchant_allow`, in the form that callbacks' merchant ids have.
    ///
    /// # Errors
    /// No merchant id of a callback can have this form.
    pub fn merchant(text: &str) -> Result<CompactString, ControlsError> {
        let id = Merchant::text(text).filter(|_| text.trim().len() <= Merchant::TEXT_BYTES_MAX);
        let id = id.filter(|id| !id.chars().any(char::is_control));
        id.ok_or_else(|| ControlsError::Merchant(text.to_owned()))
    }

    /// An entry of `country_block` and `country_allow`.
    ///
    /// # Errors
    /// Not a country.
    pub fn country(text: &str) -> Result<Country, ControlsError> {
        text.parse().map_err(|_| ControlsError::Country(text.to_owned()))
    }

    /// An entry of `channel_block` and `channel_allow`.
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
        apart("mcc", &self.mcc_allow, &self.mcc_block, |mcc| format!("{mcc:04}"))?;
        apart("merchant", &self.merchant_allow, &self.merchant_block, CompactString::to_string)?;
        apart("country", &self.country_allow, &self.country_block, |country| country.as_str().to_owned())?;
        apart("channel", &self.channel_allow, &self.channel_block, |channel| channel.name().to_owned())?;
        let mut mccs = self.mcc_block.iter().chain(&self.mcc_allow);
        mccs.try_for_each(|mcc| Controls::category(&format!("{mcc:04}")).map(drop))?;
        self.merchant_block.iter().chain(&self.merchant_allow).try_for_each(|id| match Controls::merchant(id) {
            Ok(canonical) if canonical == *id => Ok(()),
            _ => Err(ControlsError::Merchant(id.to_string())),
        })
    }

    fn has_no_list(&self) -> bool {
        let lengths = [
            self.mcc_block.len(),
            self.merchant_block.len(),
            self.country_block.len(),
            self.channel_block.len(),
            self.mcc_allow.len(),
            self.merchant_allow.len(),
            self.country_allow.len(),
            self.channel_allow.len(),
        ];
        lengths.into_iter().fold(0, |all, length| all | length) == 0
    }

    /// What the lists say about this merchant and channel. A field missing from UR's request is never blocked, and not
    /// among what an allow list allows.
    #[must_use]
    pub fn listed(&self, merchant: &Merchant, channel: Channel) -> Listed {
        if self.has_no_list() {
            return Listed::default();
        }
        Listed {
            country: Listing::of(merchant.country.as_ref(), &self.country_block, &self.country_allow),
            mcc: Listing::of(merchant.mcc.as_ref(), &self.mcc_block, &self.mcc_allow),
            merchant: Listing::of(merchant.id.as_ref(), &self.merchant_block, &self.merchant_allow),
            channel: Listing::of(Some(&channel), &self.channel_block, &self.channel_allow),
        }
    }
}

/// Checks the lengths of both lists, and that no entry is in both.
fn apart<T: PartialEq>(
    field: &'static str,
    allow: &[T],
    block: &[T],
    shown: impl Fn(&T) -> String,
) -> Result<(), ControlsError> {
    if allow.len().max(block.len()) > LIST_MAX {
        return Err(ControlsError::ListTooLong);
    }
    match allow.iter().find(|entry| block.contains(entry)) {
        Some(entry) => Err(ControlsError::AllowedAndBlocked { field, entry: shown(entry) }),
        None => Ok(()),
    }
}

/// What a block list and an allow list say about one field of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listing {
    #[default]
    Clear,
    /// There is an allow list without it.
    NotAllowed,
    Blocked,
}

impl Listing {
    fn of<T: PartialEq>(value: Option<&T>, block: &[T], allow: &[T]) -> Listing {
        if value.is_some_and(|value| block.contains(value)) {
            Listing::Blocked
        } else if allow.is_empty() || value.is_some_and(|value| allow.contains(value)) {
            Listing::Clear
        } else {
            Listing::NotAllowed
        }
    }

    fn of_bits(bits: u8) -> Option<Listing> {
        [Listing::Clear, Listing::NotAllowed, Listing::Blocked].into_iter().find(|listing| *listing as u8 == bits)
    }

    #[must_use]
    pub(crate) fn is_clear(self) -> bool {
        self == Listing::Clear
    }
}

/// What the lists say about a transaction. In a record it is one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    pub country: Listing,
    pub mcc: Listing,
    pub merchant: Listing,
    pub channel: Listing,
}

impl Listed {
    pub(super) fn to_bits(self) -> u8 {
        let Listed { country, mcc, merchant, channel } = self;
        [country, mcc, merchant, channel].into_iter().rev().fold(0, |byte, listing| byte << 2 | listing as u8)
    }

    /// `None`: a listing that is not known.
    pub(super) fn from_bits(byte: u8) -> Option<Listed> {
        let listing = |place: u8| Listing::of_bits(byte >> (2 * place) & 3);
        Some(Listed { country: listing(0)?, mcc: listing(1)?, merchant: listing(2)?, channel: listing(3)? })
    }

    /// The stricter of both, field by field.
    #[must_use]
    pub fn or(self, other: Listed) -> Listed {
        Listed {
            country: self.country.max(other.country),
            mcc: self.mcc.max(other.mcc),
            merchant: self.merchant.max(other.merchant),
            channel: self.channel.max(other.channel),
        }
    }
}
