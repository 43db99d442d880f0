//! The second provider's webhooks: reads each into what it says about accounts, cards and money.

use compact_str::CompactString;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tapgate_engine::fact::{
    AccountWord, CardLimits, CardStatus, Channel, Flow, Kind, Merchant, Posting, Progress, Request,
};
use tapgate_engine::ids::{AuthorizationId, CardId, UrId};
use tapgate_engine::money::{ChfMinor, Currency, CurrencyCode, Minor, Money};
use tapgate_engine::time::UnixSeconds;

use crate::wire::callback::check_depth;
use crate::wire::forms::{amount, parsed};
use crate::wire::unique::unique;
use crate::wire::{Digits, Malformed};

/// The windows of its card limits, in seconds: a day, a week, thirty days.
pub(super) const DAY: u32 = 86_400;
pub(super) const WEEK: u32 = 7 * DAY;
pub(super) const MONTH: u32 = 30 * DAY;

/// Longest reason of a suspended service that is kept, in characters.
const REASON_CHARS_MAX: usize = 200;

/// The status of a card transaction that waits for a decision, or announces a return.
const REQUESTED: &str = "requested";

/// A later time is in milliseconds: the year 5138 in seconds.
const SECONDS_MAX: u64 = 100_000_000_000;

/// The types of events that are read, for findings and meters.
pub const EVENTS: [&str; 12] = [
    "user.created",
    "user.suspended",
    "user.unsuspended",
    "user.deleted",
    "card.created",
    "card.blocked",
    "card.unblocked",
    "card.deleted",
    "card.limits_updated",
    "card.transaction",
    "card_service.suspended",
    "card_service.resumed",
];

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An account was created.
    Opened(UrId),
    Account {
        user: UrId,
        word: AccountWord,
    },
    /// A card was created.
    Issued {
        user: UrId,
        card: CardId,
        /// `None` where the event does not say it.
        currency: Option<Currency>,
    },
    /// A card was blocked, unblocked or deleted.
    Card {
        user: UrId,
        card: CardId,
        status: CardStatus,
        /// `None` where the event does not say it.
        currency: Option<Currency>,
    },
    Limits {
        /// `None` where the event does not say it: then the card must be known.
        user: Option<UrId>,
        card: CardId,
        limits: CardLimits,
    },
    /// A card transaction that asks for a decision, or announces a return.
    Asked(Box<Request>),
    /// A booked card transaction.
    Posted(Box<Posting>),
    /// The card service was suspended or resumed.
    Service {
        suspended: bool,
        reason: CompactString,
    },
}

/// A webhook before its data is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    pub kind: String,
    /// When it happened; `None` where the event does not say it.
    pub at: Option<UnixSeconds>,
    pub data: Value,
}

impl Envelope {
    /// Reads a body.
    ///
    /// # Errors
    /// Not a JSON object with a `type`, or an object has a field twice.
    pub fn parse(body: &[u8]) -> Result<Envelope, Malformed> {
        let text = std::str::from_utf8(body).map_err(|error| Malformed(format!("the body is not UTF-8: {error}")))?;
        check_depth(text)?;
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| Malformed(error.to_string()))?;
        let mut event = unique(raw)?;
        let kind = event.get("type").and_then(Value::as_str).map(str::to_owned);
        let kind = kind.ok_or_else(|| Malformed("type is missing".to_owned()))?;
        let at = ["occurredAt", "timestamp"].iter().find_map(|field| event.get(*field)).and_then(seconds);
        let data = event.get_mut("data").map_or(Value::Null, Value::take);
        Ok(Envelope { kind, at, data })
    }

    /// Whether the sender waits for a decision, or announces a return.
    #[must_use]
    pub fn asks(&self) -> bool {
        let status = self.data.get("status").and_then(Value::as_str);
        self.kind == "card.transaction" && status.is_some_and(|status| status.eq_ignore_ascii_case(REQUESTED))
    }

    /// Reads the data; `None` for a type that is not one of [`EVENTS`].
    ///
    /// # Errors
    /// A field is missing or malformed; the message begins with it.
    pub fn event(&self) -> Result<Option<Event>, Malformed> {
        let data = || self.data.clone();
        let event = match self.kind.as_str() {
            "user.created" => Event::Opened(user(data())?),
            "user.suspended" => account(data(), AccountWord::Suspended)?,
            "user.unsuspended" => account(data(), AccountWord::Unsuspended)?,
            "user.deleted" => account(data(), AccountWord::Deleted)?,
            "card.created" => issued(data())?,
            "card.unblocked" => card(data(), CardStatus::Active)?,
            "card.blocked" => card(data(), CardStatus::Frozen)?,
            "card.deleted" => card(data(), CardStatus::Deleted)?,
            "card.limits_updated" => limits(form(data())?)?,
            "card.transaction" => transaction(form(data())?, self.at)?,
            // "All Virtual Card services are temporarily suspended": every card call errors until it resumes.
            "card_service.suspended" => service(&self.data, true),
            "card_service.resumed" => service(&self.data, false),
            _ => return Ok(None),
        };
        Ok(Some(event))
    }
}

/// A time in seconds, milliseconds or RFC 3339.
fn seconds(value: &Value) -> Option<UnixSeconds> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let seconds = match number {
        Some(number) if number <= SECONDS_MAX => number,
        Some(millis) => millis / 1_000,
        None => {
            let time: jiff::Timestamp = value.as_str()?.parse().ok()?;
            u64::try_from(time.as_second()).ok()?
        }
    };
    i64::try_from(seconds).ok().map(UnixSeconds)
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
    user_id: Option<Digits>,
    card_id: String,
    /// Of `perTransaction`; the windows are in francs.
    currency: Option<String>,
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
    /// Required where a decision is asked for.
    card_id: Option<String>,
    kind: String,
    status: String,
    amount: Digits,
    currency: String,
    settlement_amount: Option<Digits>,
    settlement_currency: Option<String>,
    #[serde(default)]
    merchant: MerchantForm,
    occurred_at: Option<Value>,
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

fn form<T: for<'de> Deserialize<'de>>(data: Value) -> Result<T, Malformed> {
    serde_json::from_value(data).map_err(|error| Malformed(named(&error.to_string())))
}

/// The message, with the field that serde names at its beginning.
fn named(message: &str) -> String {
    let field = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    field.map_or_else(|| format!("data: {message}"), |field| format!("{field} is missing"))
}

fn user(data: Value) -> Result<UrId, Malformed> {
    let UserEvent { user_id } = form(data)?;
    parsed("userId", &user_id.0)
}

fn account(data: Value, word: AccountWord) -> Result<Event, Malformed> {
    Ok(Event::Account { user: user(data)?, word })
}

fn named_card(data: Value) -> Result<(UrId, CardId, Option<Currency>), Malformed> {
    let CardEvent { user_id, card_id, currency } = form(data)?;
    let currency = currency.map(|code| parsed("currency", &code)).transpose()?;
    Ok((parsed("userId", &user_id.0)?, parsed("cardId", &card_id)?, currency))
}

fn issued(data: Value) -> Result<Event, Malformed> {
    let (user, card, currency) = named_card(data)?;
    Ok(Event::Issued { user, card, currency })
}

fn card(data: Value, status: CardStatus) -> Result<Event, Malformed> {
    let (user, card, currency) = named_card(data)?;
    Ok(Event::Card { user, card, status, currency })
}

/// The provider needs not say why.
fn service(data: &Value, suspended: bool) -> Event {
    let reason = data.get("reason").and_then(Value::as_str).unwrap_or("the provider's word");
    let reason = reason.chars().take(REASON_CHARS_MAX).collect();
    Event::Service { suspended, reason }
}

fn limits(limits: Limits) -> Result<Event, Malformed> {
    let currency: Option<Currency> = limits.currency.map(|code| parsed("currency", &code)).transpose()?;
    let most = limits.per_transaction.map(|most| {
        let currency = currency.ok_or_else(|| Malformed("currency is missing".to_owned()))?;
        Ok(Money { amount: amount("perTransaction", &most.0)?, currency })
    });
    let windows = [
        ("dailyChf", limits.daily_chf, DAY),
        ("weeklyChf", limits.weekly_chf, WEEK),
        ("monthlyChf", limits.monthly_chf, MONTH),
    ];
    let windows = windows.into_iter().map(|(name, most, seconds)| {
        let most = most.map(|most| amount(name, &most.0)).transpose()?;
        Ok((seconds, most.map(|most| ChfMinor(most.0))))
    });
    let limits_seen =
        CardLimits { transaction_amount_max: most.transpose()?, windows: windows.collect::<Result<_, Malformed>>()? };
    let user = limits.user_id.map(|id| parsed("userId", &id.0)).transpose()?;
    Ok(Event::Limits { user, card: parsed("cardId", &limits.card_id)?, limits: limits_seen })
}

/// `at`: the envelope's time, for a transaction that has none of its own.
fn transaction(mut told: CardTransaction, at: Option<UnixSeconds>) -> Result<Event, Malformed> {
    told.kind.make_ascii_lowercase();
    told.status.make_ascii_lowercase();
    let user: UrId = parsed("userId", &told.user_id.0)?;
    let code: CurrencyCode = parsed("currency", &told.currency)?;
    let sum = amount("amount", &told.amount.0)?;
    let root = told.authorization_id.as_deref().map(|id| parsed("authorizationId", id)).transpose()?;
    if told.status == REQUESTED {
        let kind = match (told.kind.as_str(), &root) {
            ("authorization", Some(_)) => Kind::Incremental,
            ("authorization", None) => Kind::Authorization,
            ("reversal", _) => Kind::Reversal,
            ("advice", _) => Kind::Advice,
            // It waits for an answer that some senders read as an approval, whatever it says.
            _ => return Err(Malformed("kind of a request must be authorization, reversal or advice".to_owned())),
        };
        return asked(told, kind, user, root, sum, code);
    }
    let flow = match told.kind.as_str() {
        "authorization" | "clearing" | "fee" => Flow::Out,
        "reversal" | "refund" => Flow::In,
        _ => return Err(Malformed(format!("kind is none that moves money: {:?}", told.kind))),
    };
    let progress = match told.status.as_str() {
        // A completed authorization is only a hold: the clearing books it.
        "completed" if told.kind == "authorization" => Progress::Pending,
        "completed" => Progress::Completed,
        "pending" => Progress::Pending,
        "declined" | "failed" => Progress::Rejected,
        // As for UR: a status that is not understood shows the movement, and no more.
        _ => Progress::Shown,
    };
    let root = match root {
        // An authorization that was decided may go by the id of its request alone.
        None if told.kind == "authorization" => Some(parsed("id", &told.id)?),
        root => root,
    };
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
        at: told
            .occurred_at
            .as_ref()
            .and_then(seconds)
            .or(at)
            .ok_or_else(|| Malformed("occurredAt is not a time".to_owned()))?,
        mcc: category_code.and_then(|code| code.0.parse().ok()),
        merchant: name.map(CompactString::from),
        references: reference.map(CompactString::from).into_iter().collect(),
        awaits: root,
        ordinal: 0,
    };
    Ok(Event::Posted(Box::new(posting.bounded())))
}

fn asked(
    told: CardTransaction,
    kind: Kind,
    user: UrId,
    original: Option<AuthorizationId>,
    sum: Minor,
    code: CurrencyCode,
) -> Result<Event, Malformed> {
    if matches!(kind, Kind::Reversal | Kind::Advice) && original.is_none() {
        return Err(Malformed("authorizationId is missing".to_owned()));
    }
    let MerchantForm { id, name, category_code, city, country, entry_mode } = told.merchant;
    let settlement = told.settlement_amount.map(|sum| amount("settlementAmount", &sum.0)).transpose()?;
    let settled_in = told.settlement_currency.map(|code| parsed("settlementCurrency", &code)).transpose()?;
    Ok(Event::Asked(Box::new(Request {
        id: parsed("id", &told.id)?,
        kind,
        original,
        user,
        card: parsed("cardId", told.card_id.as_deref().ok_or_else(|| Malformed("cardId is missing".to_owned()))?)?,
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
    use serde_json::json;

    use super::*;

    fn read(kind: &str, data: &Value) -> Result<Option<Event>, Malformed> {
        Envelope::parse(json!({"type": kind, "data": data}).to_string().as_bytes()).unwrap().event()
    }

    #[test]
    fn a_missing_field_is_named() {
        let check = |kind: &str, data: Value, field: &str| {
            assert_eq!(read(kind, &data).unwrap_err().field(), field, "{kind} {data}");
        };
        for kind in ["user.created", "user.suspended", "user.unsuspended", "user.deleted"] {
            check(kind, json!({}), "userId");
            check(kind, json!({"userId": "a user"}), "userId");
        }
        for kind in ["card.created", "card.blocked", "card.unblocked", "card.deleted"] {
            check(kind, json!({"userId": "1"}), "cardId");
            check(kind, json!({"userId": "1", "cardId": "c", "currency": "euro"}), "currency");
        }
        check("card.limits_updated", json!({"currency": "EUR"}), "cardId");
        check("card.limits_updated", json!({"cardId": "c", "currency": "EUR", "dailyChf": "1.5"}), "dailyChf");
        let transaction = json!({
            "id": "t", "userId": 1, "cardId": "c", "kind": "reversal", "status": "requested", "amount": "1",
            "currency": "EUR", "occurredAt": 1,
        });
        let without = |field: &str, value: Option<Value>| {
            let mut changed = transaction.clone();
            let fields = changed.as_object_mut().unwrap();
            fields.remove(field);
            fields.extend(value.map(|value| (field.to_owned(), value)));
            changed
        };
        check("card.transaction", transaction.clone(), "authorizationId");
        check("card.transaction", without("amount", Some(json!("1.00"))), "amount");
        check("card.transaction", without("currency", None), "currency");
        let booked = |field: &str, value: Option<Value>| {
            let mut changed = without(field, value);
            changed["status"] = json!("completed");
            changed
        };
        check("card.transaction", booked("occurredAt", Some(json!("soon"))), "occurredAt");
        check("card.transaction", without("kind", Some(json!("preauth"))), "kind");
        check("card.transaction", without("kind", Some(json!("clearing"))), "kind");
        check("card.transaction", booked("kind", Some(json!("preauth"))), "kind");
    }

    #[test]
    fn a_request_is_one_whatever_the_case_of_its_words() {
        let mut data = json!({
            "id": "t", "userId": 1, "cardId": "c", "kind": "Authorization", "status": "REQUESTED", "amount": "1",
            "currency": "EUR",
        });
        let envelope = |data: &Value| {
            Envelope::parse(json!({"type": "card.transaction", "data": data}).to_string().as_bytes()).unwrap()
        };
        assert!(matches!(envelope(&data).event(), Ok(Some(Event::Asked(_)))));
        data["kind"] = json!("preauth");
        assert!(envelope(&data).asks() && envelope(&data).event().is_err(), "its sender gets no 200");
    }

    #[test]
    fn a_booked_transaction_is_shown_whatever_the_word_for_its_status() {
        let posting = |kind: &str, status: &str, root: Option<&str>| {
            let data = json!({
                "id": "t", "authorizationId": root, "userId": 1, "kind": kind, "status": status, "amount": "1",
                "currency": "EUR",
            });
            let event = json!({"type": "card.transaction", "occurredAt": 7, "data": data}).to_string();
            match Envelope::parse(event.as_bytes()).unwrap().event() {
                Ok(Some(Event::Posted(posting))) => *posting,
                other => panic!("{other:?}"),
            }
        };
        for (status, progress) in [
            ("pending", Progress::Pending),
            ("Completed", Progress::Completed),
            ("declined", Progress::Rejected),
            ("failed", Progress::Rejected),
            ("settled", Progress::Shown),
        ] {
            assert_eq!(posting("clearing", status, Some("a")).progress, progress, "{status}");
        }
        assert_eq!(posting("authorization", "completed", Some("a")).progress, Progress::Pending);
        let own = posting("authorization", "failed", None);
        assert_eq!((own.hash.as_str(), own.awaits), ("t", Some("t".parse().unwrap())), "the request's own id");
        assert_eq!(posting("clearing", "completed", None).awaits, None);
        assert_eq!(own.at, UnixSeconds(7), "the envelope's time");
    }

    #[test]
    fn only_what_is_no_json_or_names_a_field_twice_is_no_event() {
        for body in
            ["", "[]", "{}", r#"{"type":1}"#, r#"{"type":"a","data":{"x":1,"x":2}}"#, r#"{"type":"a","type":"b"}"#]
        {
            assert!(Envelope::parse(body.as_bytes()).is_err(), "{body}");
        }
        assert_eq!(read("kyc.status", &json!({"userId": 1})), Ok(None), "not our subject");
        assert_eq!(read("card.3ds_code", &json!(null)), Ok(None));
    }

    #[test]
    fn a_time_is_in_seconds_milliseconds_or_text() {
        for time in
            [json!(1_768_659_501), json!(1_768_659_501_250_u64), json!("1768659501"), json!("2026-01-17T14:18:21Z")]
        {
            let body = json!({"type": "user.created", "occurredAt": time, "data": {"userId": "1"}}).to_string();
            assert_eq!(Envelope::parse(body.as_bytes()).unwrap().at, Some(UnixSeconds(1_768_659_501)), "{body}");
        }
        assert_eq!(Envelope::parse(br#"{"type":"a","occurredAt":"soon"}"#).unwrap().at, None);
    }
}
