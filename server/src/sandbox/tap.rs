//! What UR asks at a tap, and its form on the wire.

use serde_json::json;

use super::ur::contract::Code;

/// What kind of callback it is, as the wire names it.
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

    /// Whether money is asked for, rather than given back.
    pub(super) fn asks(self) -> bool {
        matches!(self, Kind::Authorization | Kind::Incremental)
    }
}

/// Where a card is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Merchant {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) mcc: &'static str,
    pub(super) city: &'static str,
    pub(super) country: &'static str,
    /// What it charges in.
    pub(super) currency: Code,
    pub(super) channel: &'static str,
}

/// One callback of UR's.
#[derive(Clone, Debug)]
pub(super) struct Tap {
    pub(super) id: String,
    pub(super) kind: Kind,
    /// The authorization that it adds to or takes from.
    pub(super) original: Option<String>,
    /// Index of the user in the world, or a number that no user has.
    pub(super) user: usize,
    pub(super) ur_id: String,
    pub(super) card: String,
    /// In the merchant's currency, smallest units.
    pub(super) amount: u64,
    /// The scheme's value of it in EUR cents, where the scheme gives one.
    pub(super) settlement: Option<u64>,
    pub(super) merchant: &'static Merchant,
}

impl Tap {
    /// The authorization it is about.
    pub(super) fn root(&self) -> &str {
        self.original.as_deref().unwrap_or(&self.id)
    }

    /// The raw body, stamped with unix seconds.
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
