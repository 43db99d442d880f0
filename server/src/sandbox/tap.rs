//! UR's callback for a tap, and its form on the wire.

use serde_json::json;

use super::ur::contract::Code;

/// The kind of callback, by its wire name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Authorization,
    Incremental,
    Reversal,
    Advice,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Authorization => "authorization",
            Kind::Incremental => "incremental",
            Kind::Reversal => "reversal",
            Kind::Advice => "advice",
        }
    }

    /// Whether it asks for money instead of returning it.
    pub(super) fn asks(self) -> bool {
        matches!(self, Kind::Authorization | Kind::Incremental)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Merchant {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) mcc: &'static str,
    pub(super) city: &'static str,
    pub(super) country: &'static str,
    pub(super) currency: Code,
    pub(super) channel: &'static str,
}

/// One callback.
#[derive(Clone, Debug)]
pub(super) struct Tap {
    pub(super) id: String,
    pub(super) kind: Kind,
    /// The authorization that it changes.
    pub(super) original: Option<String>,
    /// The user's index in the world, or a number that no user has.
    pub(super) user: usize,
    pub(super) ur_id: String,
    pub(super) card: String,
    /// In the merchant's currency, smallest units.
    pub(super) amount: u64,
    /// The scheme's settlement amount in EUR cents, if the scheme gives one.
    pub(super) settlement: Option<u64>,
    pub(super) merchant: &'static Merchant,
}

impl Tap {
    pub(super) fn root(&self) -> &str {
        self.original.as_deref().unwrap_or(&self.id)
    }

    /// The raw body, with a timestamp in unix seconds.
    pub(super) fn body(&self, timestamp: u64) -> Vec<u8> {
        let Merchant { id, name, mcc, city, country, currency, channel } = self.merchant;
        let body = json!({"event": "card_authorization", "timestamp": timestamp, "data": {
            "authorizationId": self.id, "type": self.kind.name(), "originalAuthorizationId": self.original,
            "urId": self.ur_id, "cardId": self.card,
            "transactionAmount": self.amount.to_string(), "transactionCurrency": currency,
            "settlementAmount": self.settlement.map(|amount| amount.to_string()),
            "settlementCurrency": self.settlement.map(|_| "EUR"),
            "partialApprovalAllowed": false,
            "merchant": {"id": id, "name": name, "mcc": mcc, "city": city, "country": country},
            "channel": channel,
        }});
        body.to_string().into_bytes()
    }
}
