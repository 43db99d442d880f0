//! Imports and UR's reports of users.

use serde::{Deserialize, Serialize};

use super::Provider;
use crate::contract::limit::ClientLimit;
use crate::ids::{CardId, Sequence, UrId};
use crate::money::{Currency, Minor, Money};
use crate::time::UnixSeconds;

/// `chainStatus` of UR's contract (docs/ur-facts.md, "Status").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AccountStatus {
    /// 0: no account yet.
    Na,
    /// 1: soft-blocked.
    SoftBlocked,
    /// 2: signed up, not verified.
    Tourist,
    /// 3: blocked.
    Blocked,
    /// 4: closed.
    Closed,
    /// 5: the only status that may spend.
    Live,
}

impl AccountStatus {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AccountStatus::Na => "na",
            AccountStatus::SoftBlocked => "soft_blocked",
            AccountStatus::Tourist => "tourist",
            AccountStatus::Blocked => "blocked",
            AccountStatus::Closed => "closed",
            AccountStatus::Live => "live",
        }
    }
}

/// Whether a card may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CardStatus {
    Active,
    /// Frozen by the user or the partner; may be reactivated.
    Frozen,
    /// Permanent.
    Deleted,
}

impl CardStatus {
    /// The one of both that allows less.
    #[must_use]
    pub fn strictest(self, other: CardStatus) -> CardStatus {
        match (self, other) {
            (CardStatus::Deleted, _) | (_, CardStatus::Deleted) => CardStatus::Deleted,
            (CardStatus::Frozen, _) | (_, CardStatus::Frozen) => CardStatus::Frozen,
            (CardStatus::Active, CardStatus::Active) => CardStatus::Active,
        }
    }
}

/// How often a card may be approved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CardUse {
    #[default]
    Any,
    /// The next approval freezes it.
    Single,
    /// Single-use, and frozen by its approval until a person activates it.
    Used,
}

/// The funding source, and the fallback when it declines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FundingPolicy {
    /// The partner's pool only.
    Crypto,
    /// The user's fiat balance only.
    Fiat,
    /// The pool, else the fiat balance.
    CryptoThenFiat,
    /// The fiat balance, else the pool.
    FiatThenCrypto,
}

/// An imported user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    pub user: UrId,
    pub status: AccountStatus,
    pub limit: ClientLimit,
    /// The partner's figure of the user's funds.
    pub funds: Option<Money>,
    pub fiat: Vec<ImportedFiat>,
    /// Overrides the program's policy.
    pub funding: Option<FundingPolicy>,
    pub cards: Vec<ImportedCard>,
    /// Whether the cards' statuses replace those that a person set: else a card that is frozen or deleted stays so.
    pub overrides: bool,
    /// The account's provider; `None` keeps it, and is UR for a new account.
    pub provider: Option<Provider>,
}

/// An imported card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedCard {
    pub id: CardId,
    pub status: CardStatus,
    /// The settlement currency.
    pub currency: Currency,
    /// Whether its first approval freezes it; `None` keeps what is stored.
    pub single_use: Option<bool>,
}

/// An imported fiat balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedFiat {
    pub currency: Currency,
    pub amount: Minor,
    /// Whether the user allows UR's card contract to debit it.
    pub allowance: bool,
}

/// A replaced figure of a user's funds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FundsReplaced {
    pub user: UrId,
    pub funds: Money,
    /// Must be above the stored version.
    pub version: u64,
    /// Holds whose funds part ends, by the record that approved them.
    pub ended: Vec<Sequence>,
}

/// UR's report of a user. It includes everything that UR showed completed before the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserReported {
    pub user: UrId,
    /// `None` where it was not requested.
    pub account: Option<ReportedAccount>,
    /// All fiat balances; `None` where they were not requested.
    pub balances: Option<Vec<Money>>,
    /// The last record before the request to UR.
    pub seen_through: Sequence,
}

/// UR's figures of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedAccount {
    pub status: AccountStatus,
    pub limit: ClientLimit,
    /// Whether UR's card contract may debit each currency.
    pub allowances: Vec<(Currency, bool)>,
}

/// UR's word about a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardReported {
    pub user: UrId,
    pub card: CardId,
    pub status: CardStatus,
    /// When UR said so, at the latest when it arrived: events may come in another order.
    pub at: UnixSeconds,
}

/// UR's word about an account's allowances; the currencies that it leaves out stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowancesReported {
    pub user: UrId,
    /// Whether UR's card contract may debit each currency.
    pub allowances: Vec<(Currency, bool)>,
    /// As [`CardReported::at`].
    pub at: UnixSeconds,
}
