//! Decisions: the ladder's inputs and its verdict.

use std::ops::{AddAssign, Sub};

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use super::policy::share_of_reserve;
use super::{AccountStatus, CardStatus, CardUse, Difference, Listed, Reason, Request, VelocityRule};
use crate::bytes::Fingerprint;
use crate::contract::pricing::{Conversion, Price};
use crate::ids::Sequence;
use crate::money::{ChfMinor, Currency, Minor, Money};
use crate::time::UnixSeconds;

/// A decision and all its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    pub request: Request,
    /// Hash of the request's bytes, to recognize a repeat.
    pub fingerprint: Fingerprint,
    pub inputs: Inputs,
    pub verdict: Verdict,
    /// The record before this one on the same root; zero for its first.
    pub previous: Sequence,
    /// What evidence that came before the decision changes in what the approval takes.
    pub settled: Option<Box<Difference>>,
}

impl Serialize for Decided {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("a decision has bytes of its own"))
    }
}

impl<'de> Deserialize<'de> for Decided {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Decided, D::Error> {
        Err(D::Error::custom("a decision has bytes of its own"))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Approved(Approval),
    /// Declined; nothing is held.
    Declined(Reason),
}

/// The amounts that an approval takes: each capacity exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approval {
    pub source: Source,
    /// The approved amount, in the transaction currency.
    pub amount: Minor,
    /// Taken from the pool or the fiat balance.
    pub paid: Money,
    /// `floor(paid × chfRate)`: counted by velocity.
    pub spent: ChfMinor,
    /// `spent × limit_weight`: counted against the client limit.
    pub limit: ChfMinor,
    /// Held from the user's funds; for CRYPTO only.
    pub funds: Option<Money>,
    /// Held in addition.
    pub upcharge: Upcharge,
}

/// What is held above an approved amount, for the tip or the fuel that a merchant may add. It is our own claim: UR knows
/// nothing of it, so that no figure of UR's includes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upcharge {
    /// Of the source, in the currency paid in.
    pub paid: Minor,
    /// Of the user's funds, in their currency.
    pub funds: Minor,
}

impl AddAssign for Upcharge {
    fn add_assign(&mut self, other: Upcharge) {
        self.paid += other.paid;
        self.funds += other.funds;
    }
}

impl Sub for Upcharge {
    type Output = Upcharge;

    fn sub(self, other: Upcharge) -> Upcharge {
        Upcharge { paid: self.paid - other.paid, funds: self.funds - other.funds }
    }
}

impl Upcharge {
    #[must_use]
    pub(crate) fn is_zero(&self) -> bool {
        self.paid.is_zero() && self.funds.is_zero()
    }

    /// The same with so much of the source.
    #[must_use]
    pub(crate) fn of_paid(self, paid: Minor) -> Upcharge {
        Upcharge { paid, funds: self.funds.share_rounded_up(paid.0, self.paid.0) }
    }
}

/// The funding source of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// UR settles from the partner's prefunded pool; the partner debits the user's crypto afterwards.
    Crypto,
    /// UR settles from the user's own fiat balance.
    Fiat,
}

impl Source {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Source::Crypto => "CRYPTO",
            Source::Fiat => "FIAT",
        }
    }
}

/// State of an authorization. States with a hold are open, all others terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AuthorizationState {
    /// Declined by the ladder.
    Declined,
    /// Approved; the remaining amount is held.
    Approved,
    /// Released in full by reversals or advices.
    Reversed,
    /// Released in full by the engine at the deadline, or by a person.
    Released,
    /// The reversal came before the authorization.
    Tombstoned,
    /// UR showed the authorization as pending; the remaining amount is held.
    Confirmed,
    /// UR settled a part; the rest is held.
    PartlyCleared,
    /// UR settled the authorization.
    Cleared,
    /// Released in full, because UR never settled it.
    Expired,
    /// UR settled a transaction without an approval.
    ForcePosted,
}

impl AuthorizationState {
    /// Every state.
    pub const ALL: &[AuthorizationState] = &[
        AuthorizationState::Declined,
        AuthorizationState::Approved,
        AuthorizationState::Reversed,
        AuthorizationState::Released,
        AuthorizationState::Tombstoned,
        AuthorizationState::Confirmed,
        AuthorizationState::PartlyCleared,
        AuthorizationState::Cleared,
        AuthorizationState::Expired,
        AuthorizationState::ForcePosted,
    ];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AuthorizationState::Declined => "declined",
            AuthorizationState::Approved => "approved",
            AuthorizationState::Reversed => "reversed",
            AuthorizationState::Released => "released",
            AuthorizationState::Tombstoned => "tombstoned",
            AuthorizationState::Confirmed => "confirmed",
            AuthorizationState::PartlyCleared => "partly_cleared",
            AuthorizationState::Cleared => "cleared",
            AuthorizationState::Expired => "expired",
            AuthorizationState::ForcePosted => "force_posted",
        }
    }

    /// Whether the authorization may hold an amount and accept increments.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, AuthorizationState::Approved | AuthorizationState::Confirmed | AuthorizationState::PartlyCleared)
    }
}

/// Every input of the ladder except the request. Stored with the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// Time of the decision.
    pub now: UnixSeconds,
    pub gates: Gates,
    /// `None`: unknown user.
    pub user: Option<UserSeen>,
    /// `None`: the card is not this user's.
    pub card: Option<CardStatus>,
    pub card_use: CardUse,
    /// What the block and allow lists of program, user and card say.
    pub listed: Listed,
    /// Controls on the amount of one transaction.
    pub amount_max: Vec<AmountMaxSeen>,
    pub velocity: Vec<VelocitySeen>,
    /// Age of the rates, unless a route says otherwise; `None` where they were never set.
    pub rates_age_seconds: Option<u64>,
    /// Older rates price nothing; `None`: rates do not age.
    pub rates_max_age_seconds: Option<u64>,
    /// Times that a spend counts against the limit: 0, 1 or 2.
    pub limit_weight: u8,
    /// Margin added to cross-currency holds, in hundredths of a percent.
    pub fx_buffer_bps: u16,
    /// The smallest units as which a transaction of zero counts: 0 or 1.
    pub zero_amount_holds: u8,
    /// Held above the amount at this merchant's category, in percent of it.
    pub upcharge_percent: u8,
    /// What pools under stress pay; `None` without a tier.
    pub stress: Option<Box<[StressSeen]>>,
    /// The funding sources in the order of attempts.
    pub sources: SmallVec<[Source; 2]>,
    /// The funding routes, each source's in order of preference.
    pub routes: SmallVec<[FundingRoute; 1]>,
    /// Where UR's movements came before the decision: what the authorization claims already. The figures of the limit,
    /// the funds, the pool and the balances include it.
    pub claimed: Option<Box<Claimed>>,
}

/// The inputs that are yes or no. In a record they are one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct Gates {
    pub program_suspended: bool,
    /// The card service of the user's provider is suspended.
    pub provider_suspended: bool,
    /// The reversal came before the authorization.
    pub reversed_before: bool,
    /// For an increment: whether an open parent of the same user, card and currency exists.
    pub parent_found: bool,
    /// Whether the clock is trusted.
    pub time_trusted: bool,
    /// Whether the disk is nearly full.
    pub disk_low: bool,
}

/// What UR's movements claim for an authorization beyond what was approved: a decision takes only the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// Of the source, in the currency paid in.
    pub paid: Money,
    /// Of the limit.
    pub limit: ChfMinor,
    /// Debited of the user, in the currency of the funds.
    pub funds: Minor,
}

/// The user's row as seen by the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserSeen {
    /// UR's status of the account.
    pub status: AccountStatus,
    /// Suspended by the partner.
    pub suspended: bool,
    /// UR's report is too old to decide on.
    pub stale: bool,
    /// The rest of the CHF limit; below zero where more is used than allowed.
    pub headroom: ChfMinor,
    /// Start of UR's limit period; after 30 days its use no longer counts.
    pub limit_start: UnixSeconds,
    /// The part of UR's `usedLimit` that counts.
    pub limit_used: ChfMinor,
}

/// A control on the amount of one transaction, as seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmountMaxSeen {
    pub max: Money,
    /// Francs per unit of its currency on 10,000, where known: to compare across currencies.
    pub chf_rate: Option<u32>,
}

/// A velocity rule as seen, without this transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VelocitySeen {
    pub rule: VelocityRule,
    /// The approvals in the rule's window.
    pub window: Window,
    /// When a calendar window began.
    pub since: Option<UnixSeconds>,
    /// When the oldest approval leaves the window, or the calendar window ends.
    pub relief_at: Option<UnixSeconds>,
}

/// A stress tier as seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StressSeen {
    /// The tier is in force below this share of a pool's reserve, in percent.
    pub below_reserve_percent: u16,
    /// The largest amount that it lets through.
    pub amount_max: Option<ChfMinor>,
    /// Whether it lets the merchant's category through.
    pub is_listed: bool,
}

impl StressSeen {
    /// Whether it lets an amount through.
    pub(crate) fn permits(&self, francs: ChfMinor) -> bool {
        self.is_listed && self.amount_max.is_none_or(|max| francs <= max)
    }

    /// The share of the reserve.
    pub(crate) fn share(&self, reserve: Minor) -> Minor {
        share_of_reserve(self.below_reserve_percent, reserve)
    }
}

/// Sum of the approvals in a velocity window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Number of approvals.
    pub count: u32,
    pub spent: ChfMinor,
}

/// The user's funds as seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FundsSeen {
    pub currency: Currency,
    /// Funds without the part held by earlier approvals.
    pub available: Minor,
    /// From the currency paid in; `None` where no rate converts it.
    pub conversion: Option<Conversion>,
}

/// The balances that cover an approval on one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// The partner's pool and the user's funds.
    Pool {
        /// Before this transaction.
        available: Minor,
        /// The amount that must be left.
        reserve: Minor,
        /// The pool's report is too old to decide on.
        stale: bool,
        /// `None` where the partner set no funds: they cover nothing.
        funds: Option<FundsSeen>,
    },
    /// The user's fiat balance.
    Balance {
        /// Before this transaction.
        available: Minor,
        /// Whether UR's card contract may debit it.
        allowance: bool,
    },
}

/// One funding route: in the transaction currency itself, or converted to the card's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FundingRoute {
    pub currency: Currency,
    /// Conversion of the request's amount; `None` where it needs rates but none were ever set.
    pub price: Option<Price>,
    /// Francs per unit of `currency` on 10,000, where known.
    pub chf_rate: Option<u32>,
    pub capacity: Capacity,
    /// Age of the oldest rate that the route uses, where some rate was not set with the others; 0 for a pinned one.
    pub rates_age_seconds: Option<u64>,
}

impl FundingRoute {
    pub(crate) fn source(&self) -> Source {
        match self.capacity {
            Capacity::Pool { .. } => Source::Crypto,
            Capacity::Balance { .. } => Source::Fiat,
        }
    }

    /// Whether the balance alone, without funds and limit, covers `paid` and leaves `kept`. UR chooses a user's balance
    /// and knows nothing of an upcharge; a pool is our own choice.
    pub(crate) fn covers(&self, paid: Minor, upcharge: Minor, kept: Minor) -> bool {
        match self.capacity {
            Capacity::Pool { available, .. } => available - paid - upcharge >= kept,
            Capacity::Balance { available, allowance } => allowance && available >= paid,
        }
    }

    /// Whether the balance would cover `paid`, had the user allowed it.
    pub(crate) fn lacks_allowance_only(&self, paid: Minor) -> bool {
        matches!(self.capacity, Capacity::Balance { available, allowance: false } if available >= paid)
    }

    /// Whether the route needs rates: a direct price in francs, without a conversion of funds, needs none.
    pub(crate) fn needs_rates(&self) -> bool {
        let funds_converted = matches!(self.capacity,
            Capacity::Pool { funds: Some(funds), .. } if funds.currency != self.currency);
        self.price != Some(Price::Direct) || self.currency != Currency::CHF || funds_converted
    }
}
