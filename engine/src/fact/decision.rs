//! Decisions: what the ladder saw, and what it decided.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{AccountStatus, Blocked, CardStatus, Reason, Request, VelocityRule};
use crate::bytes::Fingerprint;
use crate::contract::pricing::{Conversion, Price};
use crate::money::{ChfMinor, Currency, Minor, Money};
use crate::time::UnixSeconds;

/// A decision and all that it rested on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The request.
    pub request: Request,
    /// Of the request's bytes, to know it again.
    pub fingerprint: Fingerprint,
    /// The values the ladder saw.
    pub inputs: Inputs,
    /// What was decided.
    pub verdict: Verdict,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Approved, taking this.
    Approved(Approval),
    /// Declined; nothing was taken.
    Declined(Reason),
}

/// What an approval takes: each capacity exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Where it is paid from.
    pub source: Source,
    /// The approved amount, in the transaction currency.
    pub amount: Minor,
    /// Taken from the pool or the fiat balance.
    pub paid: Money,
    /// `floor(paid × chfRate / 1000)`: counted by velocity.
    pub spent: ChfMinor,
    /// `spent × limit_weight`: counted against the client limit.
    pub limit: ChfMinor,
    /// Held of the user's funds; for CRYPTO only.
    pub funds: Option<Money>,
}

/// Where an approval is paid from.
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

/// Where an authorization stands. Those that hold something are open, all others terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AuthorizationState {
    /// The ladder refused it.
    Declined,
    /// It holds what remains of it.
    Approved,
    /// Given back whole by reversals or advices.
    Reversed,
    /// Given back whole by the engine at the deadline, or by a person.
    Released,
    /// Reversed before it came.
    Tombstoned,
    /// It holds what remains of it, and UR knows it.
    Confirmed,
    /// UR settled a part; the rest is held.
    PartlyCleared,
    /// UR settled it.
    Cleared,
    /// Given back whole, because UR never settled it.
    Expired,
    /// UR settled what was not approved.
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

    /// Whether it may hold something and take more.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, AuthorizationState::Approved | AuthorizationState::Confirmed | AuthorizationState::PartlyCleared)
    }
}

/// Everything the ladder looks at beside the request. Stored with the decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// When it was decided.
    pub now: UnixSeconds,
    /// The whole program is suspended.
    pub program_suspended: bool,
    /// `None`: no such user.
    pub user: Option<UserSeen>,
    /// `None`: not a card of this user.
    pub card: Option<CardStatus>,
    /// Its reversal came first.
    pub reversed_before: bool,
    /// For an increment: whether a live parent of the same user, card and currency is there.
    pub parent_found: bool,
    /// What program, user and card block.
    pub blocked: Blocked,
    /// Bounds on one transaction.
    pub amount_max: Vec<AmountMaxSeen>,
    /// Velocity rules.
    pub velocity: Vec<VelocitySeen>,
    /// Seconds since rates were set; `None` where they never were.
    pub rates_age_seconds: Option<u64>,
    /// Older rates price nothing; `None`: they do not age.
    pub rates_max_age_seconds: Option<u64>,
    /// The clock can be trusted.
    pub time_trusted: bool,
    /// How often a use counts against the limit: 0, 1 or 2.
    pub limit_weight: u8,
    /// Our own addition to cross-currency holds.
    pub fx_buffer_bps: u16,
    /// The sources in the order they are tried.
    pub sources: SmallVec<[Source; 2]>,
    /// The routes to pay, each source's in the order they are preferred.
    pub routes: SmallVec<[FundingRoute; 1]>,
}

/// The user as the ladder saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSeen {
    /// UR's status of the account.
    pub status: AccountStatus,
    /// Suspended by the partner.
    pub suspended: bool,
    /// UR's figures are too old to decide on.
    pub stale: bool,
    /// What was left of the CHF limit.
    pub headroom: ChfMinor,
    /// When UR's period began; another 30 days later its use counts no more.
    pub limit_start: UnixSeconds,
    /// What UR's `usedLimit` took from the headroom.
    pub limit_used: ChfMinor,
}

/// A control on the amount of one transaction, as seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmountMaxSeen {
    /// The bound.
    pub max: Money,
    /// Thousandths of a franc per unit of its currency, where known: to compare across currencies.
    pub chf_rate: Option<u32>,
}

/// A velocity rule as seen, without this transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VelocitySeen {
    /// The rule.
    pub rule: VelocityRule,
    /// What its window held.
    pub window: Window,
    /// When the oldest approval leaves the window.
    pub relief_at: Option<UnixSeconds>,
}

/// The velocity of a window: what it holds, and when one more would fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Approvals in the window.
    pub count: u32,
    /// Francs in the window.
    pub spent: ChfMinor,
}

/// The user's funds as seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FundsSeen {
    /// Their currency.
    pub currency: Currency,
    /// Not held by earlier approvals.
    pub available: Minor,
    /// From the currency paid in; `None` where it cannot be priced.
    pub conversion: Option<Conversion>,
}

/// What covers an approval on one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Capacity {
    /// The partner's pool, and the user's funds.
    Pool {
        /// Before this transaction.
        available: Minor,
        /// To be left after it.
        reserve: Minor,
        /// The report of the pool is too old to decide on.
        stale: bool,
        /// `None` where the partner gave no funds: they cover nothing.
        funds: Option<FundsSeen>,
    },
    /// The user's fiat balance.
    Balance {
        /// Before this transaction.
        available: Minor,
        /// Whether UR's card contract may take from it.
        allowance: bool,
    },
}

/// One route to pay: in the transaction currency itself, or converted to the card's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FundingRoute {
    /// The currency paid in.
    pub currency: Currency,
    /// How the amount paid follows from the request; `None` where rates would be needed but none were ever set.
    pub price: Option<Price>,
    /// Thousandths of a franc per unit of `currency`, where known.
    pub chf_rate: Option<u32>,
    /// What covers it.
    pub capacity: Capacity,
}

impl FundingRoute {
    pub(crate) fn source(&self) -> Source {
        match self.capacity {
            Capacity::Pool { .. } => Source::Crypto,
            Capacity::Balance { .. } => Source::Fiat,
        }
    }

    /// Whether the balance itself, funds and limit aside, covers `paid`.
    pub(crate) fn covers(&self, paid: Minor) -> bool {
        match self.capacity {
            Capacity::Pool { available, reserve, .. } => available - paid >= reserve,
            Capacity::Balance { available, allowance } => allowance && available >= paid,
        }
    }

    /// Whether a rate plays a part: the same currency and francs need none.
    pub(crate) fn needs_rates(&self) -> bool {
        let funds_converted = matches!(self.capacity,
            Capacity::Pool { funds: Some(funds), .. } if funds.currency != self.currency);
        self.price != Some(Price::Direct) || self.currency != Currency::CHF || funds_converted
    }
}
