//! The second provider's Partner API (seed 001): maps its webhooks onto the same records as UR's, in this one file with
//! its golden JSON. The seed names events and states but not their fields; the field names are those of
//! `golden/partner_api.json`, and adapting them changes this file only.

use compact_str::CompactString;
use serde::Deserialize;
use serde_json::Value;
use tapgate_engine::fact::{
    AccountStatus, CardStatus, Channel, Controls, Flow, ImportedCard, Kind, Merchant, Posting, Progress, Request,
    VelocityRule,
};
use tapgate_engine::ids::{AuthorizationId, UrId};
use tapgate_engine::ledger::Change;
use tapgate_engine::money::{Currency, CurrencyCode, Minor, Money};
use tapgate_engine::time::UnixSeconds;

use super::forms::{amount, parsed};
use super::{Digits, Malformed};

/// The windows of its card limits, in seconds: a day, a week, thirty days.
const DAY: u32 = 86_400;
const WEEK: u32 = 7 * DAY;
const MONTH: u32 = 30 * DAY;

/// The effect of an event.
#[derive(Clone, Debug)]
pub enum Mapped {
    Change(Change),
    /// The provider's status of an account.
    Status {
        user: UrId,
        status: AccountStatus,
    },
    /// A card transaction that asks for a decision, or returns one.
    Asked(Box<Request>),
    /// A booked card transaction.
    Posted(Box<Posting>),
    /// No change here: KYC, transfers, and unknown events.
    Nothing,
}

#[derive(Deserialize)]
struct Event {
    r#type: String,
    #[serde(default)]
    data: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UserEvent {
    user_id: Digits,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CardEvent {
    user_id: Digits,
    card_id: String,
    currency: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Limits {
    card_id: String,
    currency: String,
    per_transaction: Option<Digits>,
    daily_chf: Option<Digits>,
    weekly_chf: Option<Digits>,
    monthly_chf: Option<Digits>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CardTransaction {
    id: String,
    authorization_id: Option<String>,
    user_id: Digits,
    card_id: String,
    kind: String,
    status: String,
    amount: Digits,
    currency: String,
    settlement_amount: Option<Digits>,
    settlement_currency: Option<String>,
    #[serde(default)]
    merchant: MerchantForm,
    occurred_at: i64,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MerchantForm {
    id: Option<String>,
    name: Option<String>,
    category_code: Option<Digits>,
    city: Option<String>,
    country: Option<String>,
    entry_mode: Option<String>,
}

/// Maps one webhook.
///
/// # Errors
/// Not JSON, or a required field is missing or malformed.
pub fn read(body: &[u8]) -> Result<Mapped, Malformed> {
    let event: Event = serde_json::from_slice(body).map_err(|error| Malformed(error.to_string()))?;
    match event.r#type.as_str() {
        "user.suspended" => suspended(&event, true),
        "user.unsuspended" => suspended(&event, false),
        "user.deleted" => {
            let UserEvent { user_id } = form(event.data)?;
            Ok(Mapped::Status { user: parsed("userId", &user_id.0)?, status: AccountStatus::Closed })
        }
        "card.created" => {
            let CardEvent { user_id, card_id, currency } = form(event.data)?;
            let currency = currency.ok_or_else(|| Malformed("currency is required".to_owned()))?;
            let card = ImportedCard {
                id: parsed("cardId", &card_id)?,
                status: CardStatus::Active,
                currency: parsed::<Currency>("currency", &currency)?,
                single_use: None,
            };
            Ok(Mapped::Change(Change::AddCard { user: parsed("userId", &user_id.0)?, card }))
        }
        "card.blocked" => card(event.data, CardStatus::Frozen),
        "card.unblocked" => card(event.data, CardStatus::Active),
        "card.deleted" => card(event.data, CardStatus::Deleted),
        "card.limits_updated" => limits(form(event.data)?),
        "card.transaction" => transaction(form(event.data)?),
        // "All Virtual Card services are temporarily suspended": every card call errors until it resumes.
        "card_service.suspended" => Ok(program(true)),
        "card_service.resumed" => Ok(program(false)),
        _ => Ok(Mapped::Nothing),
    }
}

fn form<T: for<'de> Deserialize<'de>>(data: Value) -> Result<T, Malformed> {
    serde_json::from_value(data).map_err(|error| Malformed(format!("data: {error}")))
}

fn suspended(event: &Event, suspended: bool) -> Result<Mapped, Malformed> {
    let UserEvent { user_id } = form(event.data.clone())?;
    Ok(Mapped::Change(Change::SuspendUser { user: parsed("userId", &user_id.0)?, suspended }))
}

fn card(data: Value, status: CardStatus) -> Result<Mapped, Malformed> {
    let CardEvent { card_id, .. } = form(data)?;
    Ok(Mapped::Change(Change::ChangeCard { card: parsed("cardId", &card_id)?, status }))
}

fn program(suspended: bool) -> Mapped {
    let reason = CompactString::const_new("the provider's card service");
    Mapped::Change(Change::SuspendProgram { suspended, reason })
}

fn limits(limits: Limits) -> Result<Mapped, Malformed> {
    let currency: Currency = parsed("currency", &limits.currency)?;
    let most = limits.per_transaction.map(|most| amount("perTransaction", &most.0)).transpose()?;
    let windows = [
        ("dailyChf", limits.daily_chf, DAY),
        ("weeklyChf", limits.weekly_chf, WEEK),
        ("monthlyChf", limits.monthly_chf, MONTH),
    ];
    let mut velocity = Vec::new();
    for (name, most, window_seconds) in windows {
        if let Some(most) = most {
            let most = amount(name, &most.0)?;
            let amount_max = Some(tapgate_engine::money::ChfMinor(most.0));
            velocity.push(VelocityRule { window_seconds, amount_max, count_max: None });
        }
    }
    let transaction_amount_max = most.map(|amount| Money { amount, currency });
    let controls = Controls { transaction_amount_max, velocity, ..Controls::default() };
    Ok(Mapped::Change(Change::ControlCard { card: parsed("cardId", &limits.card_id)?, controls }))
}

fn transaction(told: CardTransaction) -> Result<Mapped, Malformed> {
    let user: UrId = parsed("userId", &told.user_id.0)?;
    let code: CurrencyCode = parsed("currency", &told.currency)?;
    let sum = amount("amount", &told.amount.0)?;
    let root = told.authorization_id.as_deref().map(|id| parsed("authorizationId", id)).transpose()?;
    let kind = match (told.kind.as_str(), told.status.as_str()) {
        ("authorization", "requested") if root.is_some() => Some(Kind::Incremental),
        ("authorization", "requested") => Some(Kind::Authorization),
        ("reversal", "requested") => Some(Kind::Reversal),
        _ => None,
    };
    if let Some(kind) = kind {
        return asked(told, kind, user, root, sum, code);
    }
    let progress = match told.status.as_str() {
        "pending" => Progress::Pending,
        "completed" => Progress::Completed,
        "declined" | "failed" => Progress::Rejected,
        _ => return Ok(Mapped::Nothing),
    };
    let flow = match told.kind.as_str() {
        "authorization" | "clearing" | "fee" => Flow::Out,
        "reversal" | "refund" => Flow::In,
        _ => return Ok(Mapped::Nothing),
    };
    // A completed authorization is only a hold: the clearing books it.
    let progress =
        if told.kind == "authorization" && progress == Progress::Completed { Progress::Pending } else { progress };
    let amount = Money { amount: sum, currency: code.currency() };
    let MerchantForm { name, category_code, .. } = told.merchant;
    // A clearing has another id than the hold that it completes: both go by the authorization's id, so that the clearing
    // takes the hold's place. Only clearings refer to themselves: two of one authorization are two movements.
    let (hash, reference): (&str, Option<&str>) = match (told.kind.as_str(), &root) {
        ("authorization", Some(root)) => (root.as_str(), None),
        ("clearing", Some(root)) => (root.as_str(), Some(&told.id)),
        (_, root) => (&told.id, root.as_ref().map(AuthorizationId::as_str)),
    };
    let posting = Posting {
        hash: hash.into(),
        user,
        flow,
        progress,
        amount,
        at: UnixSeconds(told.occurred_at.max(0)),
        mcc: category_code.and_then(|code| code.0.parse().ok()),
        merchant: name.map(CompactString::from),
        references: reference.map(CompactString::from).into_iter().collect(),
        awaits: root,
        ordinal: 0,
    };
    Ok(Mapped::Posted(Box::new(posting)))
}

fn asked(
    told: CardTransaction,
    kind: Kind,
    user: UrId,
    original: Option<AuthorizationId>,
    sum: Minor,
    code: CurrencyCode,
) -> Result<Mapped, Malformed> {
    if kind == Kind::Reversal && original.is_none() {
        return Err(Malformed("authorizationId is required".to_owned()));
    }
    let MerchantForm { id, name, category_code, city, country, entry_mode } = told.merchant;
    let settlement = told.settlement_amount.map(|sum| amount("settlementAmount", &sum.0)).transpose()?;
    let settled_in = told.settlement_currency.map(|code| parsed("settlementCurrency", &code)).transpose()?;
    Ok(Mapped::Asked(Box::new(Request {
        id: parsed("id", &told.id)?,
        kind,
        original,
        user,
        card: parsed("cardId", &told.card_id)?,
        amount: sum,
        currency: code.currency(),
        settlement_amount: settlement,
        settlement_currency: settled_in,
        partial_approval_allowed: false,
        merchant: Merchant {
            id: id.as_deref().and_then(Merchant::text),
            name: name.as_deref().and_then(Merchant::text),
            mcc: category_code.and_then(|code| Merchant::category(&code.0)),
            city: city.as_deref().and_then(Merchant::text),
            country: country.and_then(|country| country.parse().ok()),
        },
        channel: match entry_mode.as_deref() {
            Some("chip" | "swipe") => Channel::Pos,
            Some("contactless") => Channel::Contactless,
            Some("online") => Channel::Ecommerce,
            Some("recurring") => Channel::Recurring,
            Some("atm") => Channel::Atm,
            _ => Channel::Other,
        },
        currency_given: code.alias(),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_field_is_named() {
        let error = |body: &str| read(body.as_bytes()).unwrap_err().0;
        assert!(error("[]").contains("invalid"), "{}", error("[]"));
        assert!(error(r#"{"type":"user.suspended","data":{}}"#).contains("userId"));
        assert!(error(r#"{"type":"card.created","data":{"userId":"1","cardId":"c"}}"#).contains("currency"));
        let transaction = |change: &str| {
            let data = r#""id":"t","userId":1,"cardId":"c","kind":"reversal","status":"requested","amount":"1","currency":"EUR","occurredAt":1"#;
            error(&format!(r#"{{"type":"card.transaction","data":{{{}}}}}"#, data.replace(r#""amount":"1""#, change)))
        };
        assert!(transaction(r#""amount":"1""#).contains("authorizationId"));
        assert!(transaction(r#""amount":"1.00""#).contains("amount"));
    }
}
