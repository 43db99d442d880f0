//! UR's requests: one callback, parsed.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::contract::pricing::Amounts;
use crate::ids::{AuthorizationId, CardId, UrId};
use crate::money::{AMOUNT_MAX, Currency, Minor};

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

/// How the card was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Channel {
    /// Chip or stripe at a terminal.
    Pos,
    /// Tapped at a terminal.
    Contactless,
    /// Card not present.
    Ecommerce,
    /// A merchant-initiated, repeated charge.
    Recurring,
    /// Cash.
    Atm,
    /// Anything else, or not given.
    Other,
}

/// The merchant, as far as UR names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merchant {
    /// The acquirer's merchant id.
    pub id: Option<CompactString>,
    /// The name on the slip.
    pub name: Option<CompactString>,
    /// ISO 18245 category, 0 to 9999.
    pub mcc: Option<u16>,
    /// City on the slip.
    pub city: Option<CompactString>,
    /// ISO 3166 alpha-3, as given.
    pub country: Option<CompactString>,
}

/// One callback: the whole of its `data`, the envelope's timestamp aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub id: AuthorizationId,
    pub kind: Kind,
    /// The root authorization; present unless `kind` is [`Kind::Authorization`].
    pub original: Option<AuthorizationId>,
    pub user: UrId,
    pub card: CardId,
    /// Transaction amount, 0 to 10^18 − 1 (decisions refuse more than 10^15).
    pub amount: Minor,
    /// Transaction currency.
    pub currency: Currency,
    /// Settlement amount, where given.
    pub settlement_amount: Option<Minor>,
    /// Settlement currency, where given.
    pub settlement_currency: Option<Currency>,
    /// Whether the merchant accepts a smaller amount.
    pub partial_approval_allowed: bool,
    pub merchant: Merchant,
    pub channel: Channel,
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
        let settlement_eur = settlement_eur.map(|whole| whole.share_rounded_up(amount.0, self.amount.0));
        Amounts { transaction: amount, settlement_eur }
    }
}
