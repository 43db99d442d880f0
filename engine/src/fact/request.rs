//! UR's requests: one callback, parsed.

use serde::{Deserialize, Serialize};

use super::{Channel, Merchant};
use crate::contract::pricing::Amounts;
use crate::ids::{AuthorizationId, CardId, UrId};
use crate::money::{AMOUNT_MAX, Currency, CurrencyCode, Minor};

/// The kind of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A new spend.
    Authorization,
    /// An addition to an approved authorization: a decision of its own.
    Incremental,
    /// Releases all or part of an authorization; always acknowledged.
    Reversal,
    /// Releases part of an authorization; always acknowledged.
    Advice,
}

impl Kind {
    /// Whether the ladder decides this kind; the others are acknowledged.
    #[must_use]
    pub fn is_decided(self) -> bool {
        matches!(self, Kind::Authorization | Kind::Incremental)
    }
}

/// One callback: the whole of its `data`, the envelope's timestamp aside. The fields that money depends on come first, so
/// that their bytes are one piece, the fingerprint of a repeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub kind: Kind,
    /// The root authorization; present unless `kind` is [`Kind::Authorization`].
    pub original: Option<AuthorizationId>,
    pub user: UrId,
    pub card: CardId,
    /// Transaction amount, 0 to 10^18 − 1 (decisions refuse more than 10^15).
    pub amount: Minor,
    /// Transaction currency.
    pub currency: Currency,
    /// Whether the merchant accepts a smaller amount.
    pub partial_approval_allowed: bool,
    /// Settlement amount, where given.
    pub settlement_amount: Option<Minor>,
    /// Settlement currency, where given.
    pub settlement_currency: Option<Currency>,
    pub id: AuthorizationId,
    pub merchant: Merchant,
    pub channel: Channel,
    /// UR's code of `currency`, where it has another (`CNY`).
    pub currency_given: Option<CurrencyCode>,
}

impl Request {
    /// The root of its authorization: the original's id, or its own.
    #[must_use]
    pub fn root(&self) -> &AuthorizationId {
        match (&self.original, self.kind) {
            (Some(original), Kind::Incremental | Kind::Reversal | Kind::Advice) => original,
            _ => &self.id,
        }
    }

    /// The code of the transaction currency in answers: as UR wrote it.
    #[must_use]
    pub fn currency_code(&self) -> CurrencyCode {
        self.currency_given.unwrap_or_else(|| self.currency.into())
    }

    /// Whether the amount can be decided: at most 10^15, and zero only for an authorization.
    #[must_use]
    pub fn amount_is_valid(&self) -> bool {
        let zero_is_fine = self.kind == Kind::Authorization;
        self.amount <= AMOUNT_MAX && self.amount >= Minor::ZERO && (zero_is_fine || !self.amount.is_zero())
    }

    /// The settlement amount, where given in EUR.
    #[must_use]
    pub fn settlement_in_eur(&self) -> Option<Minor> {
        self.settlement_amount.filter(|_| self.settlement_currency == Some(Currency::EUR))
    }

    /// Pricing inputs for a partial `amount`. The settlement amount shrinks in proportion, rounded up.
    #[must_use]
    pub fn amounts_for(&self, amount: Minor) -> Amounts {
        let settlement_eur = self.settlement_in_eur();
        let part =
            |whole: Minor| if amount == self.amount { whole } else { whole.share_rounded_up(amount.0, self.amount.0) };
        let settlement_eur = settlement_eur.map(part);
        Amounts { transaction: amount, settlement_eur }
    }
}
