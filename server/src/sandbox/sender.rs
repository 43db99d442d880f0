//! The two providers as senders: the form of their events, and the proof of who sent them.

use serde_json::{Value, json};

use super::tap::{Kind, Merchant, Tap};
use crate::signature::{SIGNATURE_HEADER, SharedSecret, SigningKey};

/// The headers of the second provider's proof, as `[partner_api]` has them by default.
const PARTNER_SIGNATURE: &str = "X-Signature";
const PARTNER_TIMESTAMP: &str = "X-Timestamp";

/// A provider with its key.
#[derive(Debug)]
pub(super) enum Sender {
    Ur(SigningKey),
    PartnerApi(SharedSecret),
}

impl Sender {
    /// The path of its events.
    pub(super) fn path(&self) -> &'static str {
        match self {
            Sender::Ur(_) => "/webhooks/ur",
            Sender::PartnerApi(_) => "/webhooks/partner-api",
        }
    }

    /// The raw body of a tap.
    pub(super) fn tap(&self, tap: &Tap, timestamp: u64) -> Vec<u8> {
        match self {
            Sender::Ur(_) => tap.body(timestamp),
            Sender::PartnerApi(_) => event("card.transaction", timestamp, &asked(tap, timestamp)),
        }
    }

    /// The raw body of a transaction that UR shows as `data`.
    pub(super) fn transaction(&self, data: &Value, timestamp: u64) -> Vec<u8> {
        match self {
            Sender::Ur(_) => {
                json!({"event": "transaction", "timestamp": timestamp, "data": data}).to_string().into_bytes()
            }
            Sender::PartnerApi(_) => event("card.transaction", timestamp, &booked(data)),
        }
    }

    /// The headers that prove who sent the body.
    pub(super) fn prove(&self, body: &[u8], timestamp: u64) -> Vec<(&'static str, String)> {
        match self {
            Sender::Ur(key) => vec![(SIGNATURE_HEADER, key.sign_hex(&[body]))],
            Sender::PartnerApi(secret) => {
                let timestamp = timestamp.to_string();
                let signature = hex::encode(secret.sign(&[timestamp.as_bytes(), b".", body]));
                vec![(PARTNER_SIGNATURE, signature), (PARTNER_TIMESTAMP, timestamp)]
            }
        }
    }
}

/// An event of the second provider.
pub(super) fn event(kind: &str, timestamp: u64, data: &Value) -> Vec<u8> {
    json!({"type": kind, "occurredAt": timestamp, "data": data}).to_string().into_bytes()
}

/// A tap as the second provider asks for a decision, or announces a return.
fn asked(tap: &Tap, timestamp: u64) -> Value {
    let Merchant { id, name, mcc, city, country, currency, channel } = tap.merchant;
    let kind = match tap.kind {
        Kind::Authorization | Kind::Incremental => "authorization",
        Kind::Reversal => "reversal",
        Kind::Advice => "advice",
    };
    let entry = match *channel {
        "pos" => "chip",
        "ecommerce" => "online",
        other => other,
    };
    json!({
        "id": tap.id, "authorizationId": tap.original, "userId": tap.ur_id, "cardId": tap.card,
        "kind": kind, "status": "requested", "amount": tap.amount.to_string(), "currency": currency,
        "settlementAmount": tap.settlement.map(|amount| amount.to_string()),
        "settlementCurrency": tap.settlement.map(|_| "EUR"),
        "merchant": {
            "id": id, "name": name, "categoryCode": mcc, "city": city, "country": country, "entryMode": entry,
        },
        "occurredAt": timestamp,
    })
}

/// A transaction as the second provider books it.
fn booked(data: &Value) -> Value {
    let text = |field: &str| data.get(field).and_then(Value::as_str).unwrap_or_default();
    // "-12.50": every amount of the simulated statement has two decimals.
    let amount: String = text("amount").chars().filter(char::is_ascii_digit).collect();
    let amount = amount.trim_start_matches('0');
    let status = match text("status") {
        "rejected" => "declined",
        other => other,
    };
    json!({
        "id": text("txHash"), "authorizationId": Some(text("partnerRefId")).filter(|id| !id.is_empty()),
        "userId": text("urId"), "kind": if text("direction") == "IN" { "refund" } else { "clearing" },
        "status": status, "amount": if amount.is_empty() { "0" } else { amount },
        "currency": text("currency").to_ascii_uppercase(),
        "merchant": {"name": text("title"), "categoryCode": data.get("mcc").map(|mcc| format!("{mcc:0>4}"))},
        "occurredAt": data.get("timestamp"),
    })
}

#[cfg(test)]
mod tests {
    use tapgate_engine::fact::{Flow, Kind as Asked, Progress};
    use tapgate_engine::money::Minor;

    use super::super::world::PLACES;
    use super::*;
    use crate::wire::partner_api::{Envelope, Event};

    fn read(body: &[u8]) -> Event {
        Envelope::parse(body).unwrap().event().unwrap().unwrap()
    }

    #[test]
    fn the_second_providers_form_says_what_urs_says() {
        let sender = Sender::PartnerApi(SharedSecret::new("the-secret-of-the-sandbox").unwrap());
        let tap = Tap {
            id: "auth_1".to_owned(),
            kind: Kind::Authorization,
            original: None,
            user: 0,
            ur_id: "20000".to_owned(),
            card: "card_1".to_owned(),
            amount: 1_250,
            settlement: Some(1_159),
            merchant: &PLACES[0].merchant,
        };
        let request = |tap: &Tap| match read(&sender.tap(tap, 1_768_659_501)) {
            Event::Asked(request) => *request,
            other => panic!("{other:?}"),
        };
        let ur = crate::wire::callback::Envelope::parse(&tap.body(1_768_659_501)).unwrap().request().unwrap();
        assert_eq!(request(&tap), ur);
        for (kind, asked) in
            [(Kind::Incremental, Asked::Incremental), (Kind::Reversal, Asked::Reversal), (Kind::Advice, Asked::Advice)]
        {
            assert_eq!(request(&Tap { kind, original: Some("auth_0".to_owned()), ..tap.clone() }).kind, asked);
        }
        let data = json!({
            "urId": "20000", "title": "Shop", "amount": "-12.50", "timestamp": 1_768_659_501, "currency": "eur",
            "direction": "OUT", "txHash": "0x01", "status": "completed", "partnerRefId": "auth_1", "mcc": 742,
        });
        let Event::Posted(posting) = read(&sender.transaction(&data, 1_768_659_502)) else { panic!("no posting") };
        assert_eq!(
            (posting.flow, posting.progress, posting.amount.amount),
            (Flow::Out, Progress::Completed, Minor(1_250))
        );
        assert_eq!((posting.mcc, posting.awaits.unwrap().as_str()), (Some(742), "auth_1"));
    }
}
