//! Users as they are imported and as UR reports them.

use serde::{Deserialize, Serialize};

use crate::contract::limit::ClientLimit;
use crate::ids::{CardId, Sequence, UrId};
use crate::money::{Currency, Minor, Money};

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

/// Whether a card may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CardStatus {
    /// May be used.
    Active,
    /// Frozen by the user or the partner; may be made active again.
    Frozen,
    /// Gone for good.
    Deleted,
}

/// Which source pays, and which is tried when the first declines.
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

/// A user as imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The user.
    pub user: UrId,
    /// UR's status.
    pub status: AccountStatus,
    /// UR's figures of the limit.
    pub limit: ClientLimit,
    /// The partner's figure of the funds.
    pub funds: Option<Money>,
    /// Fiat balances at UR.
    pub fiat: Vec<ImportedFiat>,
    /// The user's own funding policy.
    pub funding: Option<FundingPolicy>,
    /// The user's cards.
    pub cards: Vec<ImportedCard>,
}

/// A card as it is imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedCard {
    /// UR's id of it.
    pub id: CardId,
    /// Whether it may be used.
    pub status: CardStatus,
    /// The currency it is settled in.
    pub currency: Currency,
}

/// A fiat balance as it is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedFiat {
    /// Its currency.
    pub currency: Currency,
    /// As UR reports it.
    pub amount: Minor,
    /// Whether the user allows UR's card contract to take from it.
    pub allowance: bool,
}

/// A new figure of a user's funds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FundsReplaced {
    /// The user.
    pub user: UrId,
    /// The new figure.
    pub funds: Money,
    /// Above the version before.
    pub version: u64,
    /// The holds whose funds part ends, by the record that approved them.
    pub ended: Vec<Sequence>,
}

/// What UR reported of a user. It holds what UR showed us completed before it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserReported {
    /// The user.
    pub user: UrId,
    /// The account, where it was asked for.
    pub account: Option<ReportedAccount>,
    /// All fiat balances, where they were asked for.
    pub balances: Option<Vec<Money>>,
    /// The last record before UR was asked.
    pub seen_through: Sequence,
}

/// UR's figures of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedAccount {
    /// The status.
    pub status: AccountStatus,
    /// The limit.
    pub limit: ClientLimit,
    /// What UR's card contract may take from.
    pub allowances: Vec<(Currency, bool)>,
}
