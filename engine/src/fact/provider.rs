//! The providers of accounts and cards, and a provider's word about its own.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::{AccountStatus, Controls};
use crate::ids::{CardId, UrId};
use crate::money::{ChfMinor, Money};
use crate::time::UnixSeconds;

/// The provider of an account and its cards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Provider {
    #[default]
    Ur,
    /// The second provider's Partner API (seed 001).
    PartnerApi,
}

impl Provider {
    pub const ALL: [Provider; 2] = [Provider::Ur, Provider::PartnerApi];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Provider::Ur => "ur",
            Provider::PartnerApi => "partner_api",
        }
    }

    /// The provider of a name.
    #[must_use]
    pub fn of(name: &str) -> Option<Provider> {
        Provider::ALL.into_iter().find(|provider| provider.name() == name)
    }
}

/// A provider suspended or resumed its card service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderSuspended {
    pub provider: Provider,
    pub suspended: bool,
    pub reason: CompactString,
    /// When the provider or a person said so: events may come in another order.
    pub at: UnixSeconds,
}

/// A provider's word about an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountWord {
    Suspended,
    Unsuspended,
    Deleted,
}

impl AccountWord {
    /// The status of the account after the word. A provider's word ends a suspension and nothing else: what is closed
    /// stays closed, and what was not live before its suspension is not live after it.
    #[must_use]
    pub fn after(self, status: AccountStatus) -> AccountStatus {
        match (self, status) {
            (AccountWord::Deleted, _) => AccountStatus::Closed,
            (AccountWord::Suspended, AccountStatus::Live) => AccountStatus::SoftBlocked,
            (AccountWord::Unsuspended, AccountStatus::SoftBlocked) => AccountStatus::Live,
            (AccountWord::Suspended | AccountWord::Unsuspended, status) => status,
        }
    }
}

/// A provider suspended, resumed or deleted an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountReported {
    pub user: UrId,
    pub word: AccountWord,
    /// The status after the word.
    pub status: AccountStatus,
    /// As [`ProviderSuspended::at`].
    pub at: UnixSeconds,
}

/// The limits of a card as its provider keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardLimits {
    pub transaction_amount_max: Option<Money>,
    /// Every window that the provider keeps, in seconds, and the most that may be spent in it; `None`: no limit.
    pub windows: Vec<(u32, Option<ChfMinor>)>,
}

/// A provider changed a card's limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardLimited {
    pub user: UrId,
    pub card: CardId,
    /// All controls of the card afterwards; `None` restricts nothing.
    pub controls: Option<Box<Controls>>,
    /// As [`ProviderSuspended::at`].
    pub at: UnixSeconds,
}
