//! Callbacks from outside: parsing never panics, and a parsed request renders without loss.

use serde_json::json;
use tapgate::wire::callback::Envelope;
use tapgate_engine::fact::{Channel, Kind, Request};

/// Parses the bytes as a callback. A parsed request must render to a callback that parses to the same request.
pub fn check(data: &[u8]) {
    let Ok(envelope) = Envelope::parse(data) else { return };
    let (event, timestamp) = (envelope.event.clone(), envelope.timestamp);
    let Ok(request) = envelope.request() else { return };
    let body = render(&event, timestamp, &request);
    let again = Envelope::parse(&body).and_then(|envelope| envelope.request());
    assert_eq!(again, Ok(request), "{}", String::from_utf8_lossy(&body));
}

/// The callback as UR would write it.
fn render(event: &str, timestamp: u64, request: &Request) -> Vec<u8> {
    let kind = match request.kind {
        Kind::Authorization => "authorization",
        Kind::Incremental => "incremental",
        Kind::Reversal => "reversal",
        Kind::Advice => "advice",
    };
    let channel = match request.channel {
        Channel::Pos => "pos",
        Channel::Contactless => "contactless",
        Channel::Ecommerce => "ecommerce",
        Channel::Recurring => "recurring",
        Channel::Atm => "atm",
        Channel::Other => "other",
    };
    let merchant = &request.merchant;
    let body = json!({
        "event": event,
        "timestamp": timestamp,
        "data": {
            "authorizationId": request.id.as_str(),
            "type": kind,
            "originalAuthorizationId": request.original.as_ref().map(|id| id.as_str()),
            "urId": request.user.as_str(),
            "cardId": request.card.as_str(),
            "transactionAmount": request.amount.0.to_string(),
            "transactionCurrency": request.currency_code().as_str(),
            "settlementAmount": request.settlement_amount.map(|amount| amount.0.to_string()),
            "settlementCurrency": request.settlement_currency.as_ref().map(|currency| currency.as_str()),
            "partialApprovalAllowed": request.partial_approval_allowed,
            "merchant": {
                "id": merchant.id.as_deref(),
                "name": merchant.name.as_deref(),
                "mcc": merchant.mcc.map(|mcc| format!("{mcc:04}")),
                "city": merchant.city.as_deref(),
                "country": merchant.country.map(|country| country.to_string()),
            },
            "channel": channel,
        },
    });
    body.to_string().into_bytes()
}
