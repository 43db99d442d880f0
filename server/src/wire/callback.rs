//! `POST /webhooks/ur`: UR's events and our answers, in one file, so that UR's final contract is one small change
//! (docs/ur-facts.md, "The approve-spend callback").

mod mapping;
mod template;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tapgate_engine::fact::{Channel, DUPLICATE_MISMATCH, Kind, Merchant, Request};
use tapgate_engine::ledger::Reply;
use tapgate_engine::money::{Currency, CurrencyCode};
use tapgate_engine::rows::Outcome;

pub use self::mapping::{Field, Mapping, Pointers};
pub use self::template::Template;
use super::forms::{Malformed, amount, parsed, text_of_raw};
use super::unique::unique;

pub const CARD_AUTHORIZATION: &str = "card_authorization";

/// Nesting of arrays and objects in one body; UR's own bodies need three levels.
const DEPTH_MAX: usize = 16;

/// The answer to every event but [`CARD_AUTHORIZATION`].
pub const RECEIVED: &[u8] = br#"{"received":true}"#;

/// The envelope of every event.
#[derive(Debug)]
pub struct Envelope<'a> {
    pub event: Cow<'a, str>,
    /// When UR sent the event, unix seconds.
    pub timestamp: u64,
    content: Content<'a>,
}

#[derive(Debug)]
enum Content<'a> {
    /// Data with the form of an authorization callback.
    Read(Box<Data<'a>>),
    /// Data that is known to be JSON, but not read yet.
    Raw(Option<&'a RawValue>),
}

#[derive(Deserialize)]
struct Fields<'a, D> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    timestamp: u64,
    data: Option<D>,
}

impl<'a> Envelope<'a> {
    /// Reads the envelope of any event; of its data only that it is JSON.
    ///
    /// # Errors
    /// Not UTF-8, not JSON, nested too deeply, or a field of the envelope is missing or of the wrong type.
    pub fn parse(body: &'a [u8]) -> Result<Envelope<'a>, Malformed> {
        let text = std::str::from_utf8(body).map_err(|error| Malformed(format!("the body is not UTF-8: {error}")))?;
        check_depth(text)?;
        // Nearly every callback is a well-formed authorization: one pass reads it whole.
        if let Ok(Object(Fields { event, timestamp, data: Some(Object(data)) })) = serde_json::from_str(text) {
            return Ok(Envelope { event, timestamp, content: Content::Read(Box::new(data)) });
        }
        let Object(Fields { event, timestamp, data }) =
            serde_json::from_str(text).map_err(|error| Malformed(error.to_string()))?;
        Ok(Envelope { event, timestamp, content: Content::Raw(data) })
    }

    /// Whether the callback is well formed, and a reversal or an advice.
    #[must_use]
    pub fn announces_return(&self) -> bool {
        let Content::Read(data) = &self.content else { return false };
        matches!(data.kind.as_ref().map(|kind| kind.0.as_ref()), Some("reversal" | "advice"))
    }

    /// The request of an authorization callback.
    ///
    /// # Errors
    /// A required field is missing, or a field is of the wrong form.
    pub fn request(self) -> Result<Request, Malformed> {
        let data = match self.content {
            Content::Read(data) => *data,
            // Checked only here, because a stale timestamp is answered before a missing field.
            Content::Raw(None) => return Err(Malformed("data is required".to_owned())),
            Content::Raw(Some(data)) => {
                let Object(data) = serde_json::from_str::<Object<OddData<'_>>>(data.get())
                    .map_err(|error| Malformed(format!("data: {error}")))?;
                return data.data().into_request();
            }
        };
        data.into_request()
    }
}

/// The data of any event but an authorization callback; null if it has none.
///
/// # Errors
/// The body is not JSON, or an object in its data has a field twice.
pub fn data(body: &[u8]) -> Result<Value, Malformed> {
    let Object(Fields { data, .. }) =
        serde_json::from_slice::<Object<Fields<'_, &RawValue>>>(body).map_err(|error| Malformed(error.to_string()))?;
    data.map_or(Ok(Value::Null), unique)
}

/// A JSON object. Serde's derived structs would also read an array, field by field.
#[derive(Debug)]
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Members(PhantomData)).map(Object)
    }
}

/// Refuses deep nesting before a recursive parser reads the body.
pub(in crate::wire) fn check_depth(text: &str) -> Result<(), Malformed> {
    // A body with few opening brackets cannot be deep. The sum over a short chunk fits in one byte, so the compiler
    // counts many bytes at a time.
    let opened = |few: &[u8]| usize::from(few.iter().map(|byte| u8::from(matches!(byte, b'{' | b'['))).sum::<u8>());
    if text.as_bytes().chunks(usize::from(u8::MAX)).map(opened).sum::<usize>() <= DEPTH_MAX {
        return Ok(());
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(Malformed(format!("the body is nested more than {DEPTH_MAX} levels deep")));
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// A JSON string, borrowed from the body unless it holds an escape.
#[derive(Debug)]
struct Text<'a>(Cow<'a, str>);

/// A JSON string or a non-negative JSON integer, as text.
#[derive(Debug)]
struct Digits<'a>(Cow<'a, str>);

struct TextVisitor {
    integers: bool,
}

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.integers { "a string or a non-negative integer" } else { "a string" })
    }
    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Cow<'de, str>, E> {
        if self.integers {
            Ok(Cow::Owned(number.to_string()))
        } else {
            Err(E::invalid_type(Unexpected::Unsigned(number), &self))
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
        deserializer.deserialize_str(TextVisitor { integers: false }).map(Text)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Digits<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digits<'a>, D::Error> {
        deserializer.deserialize_any(TextVisitor { integers: true }).map(Digits)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(borrow)]
    authorization_id: Text<'a>,
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    original_authorization_id: Option<Text<'a>>,
    ur_id: Digits<'a>,
    card_id: Text<'a>,
    transaction_amount: Digits<'a>,
    transaction_currency: Text<'a>,
    settlement_amount: Option<Digits<'a>>,
    settlement_currency: Option<Text<'a>>,
    partial_approval_allowed: Option<bool>,
    merchant: Option<Object<MerchantData<'a>>>,
    channel: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct MerchantData<'a> {
    #[serde(borrow)]
    id: Option<Digits<'a>>,
    name: Option<Text<'a>>,
    mcc: Option<Digits<'a>>,
    city: Option<Text<'a>>,
    country: Option<Digits<'a>>,
}

/// As [`Data`], where a field that may not block a tap has an unexpected type.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OddData<'a> {
    #[serde(borrow)]
    authorization_id: Text<'a>,
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    original_authorization_id: Option<Text<'a>>,
    ur_id: Digits<'a>,
    card_id: Text<'a>,
    transaction_amount: Digits<'a>,
    transaction_currency: Text<'a>,
    settlement_amount: Option<&'a RawValue>,
    settlement_currency: Option<&'a RawValue>,
    partial_approval_allowed: Option<&'a RawValue>,
    merchant: Option<&'a RawValue>,
    channel: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OddMerchant<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    name: Option<&'a RawValue>,
    mcc: Option<&'a RawValue>,
    city: Option<&'a RawValue>,
    country: Option<&'a RawValue>,
}

impl<'a> OddData<'a> {
    fn data(self) -> Data<'a> {
        let merchant = self.merchant.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let merchant = merchant.map(|Object(OddMerchant { id, name, mcc, city, country })| {
            Object(MerchantData {
                id: scalar(id).map(Digits),
                name: scalar(name).map(Text),
                mcc: scalar(mcc).map(Digits),
                city: scalar(city).map(Text),
                country: scalar(country).map(Digits),
            })
        });
        Data {
            authorization_id: self.authorization_id,
            kind: self.kind,
            original_authorization_id: self.original_authorization_id,
            ur_id: self.ur_id,
            card_id: self.card_id,
            transaction_amount: self.transaction_amount,
            transaction_currency: self.transaction_currency,
            // Whether these may be left out depends on the transaction currency, so any form of them is kept.
            settlement_amount: self.settlement_amount.map(|raw| Digits(text_or_source(raw))),
            settlement_currency: self.settlement_currency.map(|raw| Text(text_or_source(raw))),
            // Only a clear yes lets the engine approve less than was asked.
            partial_approval_allowed: scalar(self.partial_approval_allowed)
                .map(|answer| ["true", "1"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes))),
            merchant,
            channel: scalar(self.channel).map(Text),
        }
    }
}

fn text_or_source(raw: &RawValue) -> Cow<'_, str> {
    scalar(Some(raw)).unwrap_or(Cow::Borrowed(raw.get()))
}

/// A string, a number or a boolean as text.
fn scalar(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    raw.and_then(text_of_raw)
}

/// Blank means absent.
fn given<'a>(text: Option<&'a Cow<'_, str>>) -> Option<&'a str> {
    text.map(|text| &**text).filter(|text| !text.trim().is_empty())
}

/// The words for kinds.
pub const KINDS: [(&str, Kind); 4] = [
    ("authorization", Kind::Authorization),
    ("incremental", Kind::Incremental),
    ("reversal", Kind::Reversal),
    ("advice", Kind::Advice),
];

fn kind_named(word: &str) -> Option<Kind> {
    KINDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind)
}

/// The word for a kind.
pub(super) fn kind_name(kind: Kind) -> &'static str {
    KINDS.iter().find(|(_, own)| *own == kind).map_or("", |(name, _)| name)
}

impl Data<'_> {
    fn into_request(self) -> Result<Request, Malformed> {
        let kind = self.kind.as_ref().map_or(Some(Kind::Authorization), |Text(kind)| kind_named(kind));
        let unknown = || Malformed("type must be authorization, incremental, reversal or advice".to_owned());
        let kind = kind.ok_or_else(unknown)?;
        let original = given(self.original_authorization_id.as_ref().map(|Text(id)| id));
        let original = original.map(|id| parsed("originalAuthorizationId", id)).transpose()?;
        if original.is_none() && kind != Kind::Authorization {
            return Err(Malformed("originalAuthorizationId is required unless type is authorization".to_owned()));
        }
        let code: CurrencyCode = parsed("transactionCurrency", &self.transaction_currency.0)?;
        let settlement_amount = given(self.settlement_amount.as_ref().map(|Digits(text)| text));
        let settlement_amount = settlement_amount.map(|text| amount("settlementAmount", text)).transpose();
        let settlement_currency = given(self.settlement_currency.as_ref().map(|Text(code)| code));
        let settlement_currency =
            settlement_currency.map(|code| parsed::<Currency>("settlementCurrency", code)).transpose();
        let (settlement_amount, settlement_currency) = if code.currency().is_held_by_ur() {
            // The price does not depend on them.
            (settlement_amount.unwrap_or_default(), settlement_currency.unwrap_or_default())
        } else {
            (settlement_amount?, settlement_currency?)
        };
        let merchant = self.merchant.map(|Object(merchant)| merchant).unwrap_or_default();
        Ok(Request {
            id: parsed("authorizationId", &self.authorization_id.0)?,
            kind,
            original,
            user: parsed("urId", &self.ur_id.0)?,
            card: parsed("cardId", &self.card_id.0)?,
            amount: amount("transactionAmount", &self.transaction_amount.0)?,
            currency: code.currency(),
            settlement_amount,
            settlement_currency,
            partial_approval_allowed: self.partial_approval_allowed.unwrap_or(false),
            merchant: Merchant {
                id: merchant.id.and_then(|Digits(id)| Merchant::text(&id)),
                name: merchant.name.and_then(|Text(name)| Merchant::text(&name)),
                mcc: merchant.mcc.and_then(|Digits(mcc)| Merchant::category(&mcc)),
                city: merchant.city.and_then(|Text(city)| Merchant::text(&city)),
                country: merchant.country.and_then(|Digits(country)| country.parse().ok()),
            },
            channel: self.channel.and_then(|Text(channel)| Channel::named(&channel)).unwrap_or(Channel::Other),
            currency_given: code.alias(),
        })
    }
}

/// An answer. The order of the fields is the order on the wire; absent fields are omitted.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AnswerBody<'a> {
    authorization_id: &'a str,
    approved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_amount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_code: Option<&'static str>,
    partner_ref_id: &'a str,
}

/// ISO 8583: approved for a partial amount.
const PARTIAL_APPROVAL_CODE: &str = "10";

/// The bytes of an answer: a function of the reply alone, so a stored reply has the same bytes for ever.
#[must_use]
pub fn render(reply: &Reply) -> Vec<u8> {
    // Strings and booleans always serialise.
    serde_json::to_vec(&answer(reply)).unwrap_or_default()
}

fn answer(reply: &Reply) -> AnswerBody<'_> {
    let mut body = AnswerBody {
        authorization_id: reply.id.as_str(),
        approved: false,
        source: None,
        approved_amount: None,
        currency: None,
        reason: None,
        response_code: None,
        partner_ref_id: reply.root.as_str(),
    };
    match reply.outcome {
        Some(Outcome::Approved { source, amount, partial }) => {
            body.approved = true;
            body.source = Some(source.name());
            body.approved_amount = Some(amount.to_string());
            body.currency = Some(reply.currency.as_str());
            body.response_code = partial.then_some(PARTIAL_APPROVAL_CODE);
        }
        Some(Outcome::Acknowledged { amount }) => {
            body.approved = true;
            body.approved_amount = Some(amount.to_string());
            body.currency = Some(reply.currency.as_str());
        }
        Some(Outcome::Declined(reason)) => {
            body.reason = Some(reason.name());
            body.response_code = Some(reason.response_code());
        }
        None => {
            body.reason = Some(DUPLICATE_MISMATCH.0);
            body.response_code = Some(DUPLICATE_MISMATCH.1);
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use tapgate_engine::fact::{Reason, Source};
    use tapgate_engine::money::Minor;

    fn request_of(body: &str) -> Result<Request, Malformed> {
        Envelope::parse(body.as_bytes())?.request()
    }

    #[test]
    fn the_documented_callback_is_read_whole() {
        let request = request_of(include_str!("golden/authorization.json")).unwrap();
        assert_eq!(request.id.as_str(), "auth_7Q2");
        assert_eq!(request.kind, Kind::Authorization);
        assert_eq!((request.user.as_str(), request.card.as_str()), ("12345", "card_9"));
        assert_eq!((request.amount, request.currency), (Minor(1250), Currency::USD));
        assert_eq!(request.settlement_in_eur(), Some(Minor(1159)));
        assert_eq!(request.merchant.mcc, Some(5812));
        assert_eq!(request.merchant.name.as_deref(), Some("Café"));
        assert_eq!(request.channel, Channel::Pos);
    }

    #[test]
    fn numbers_may_be_strings_or_integers_and_unknown_fields_are_ignored() {
        let strings = include_str!("golden/authorization.json");
        let integers = strings
            .replace(r#""12345""#, "12345")
            .replace(r#""1250""#, "1250")
            .replace(r#""1159""#, "1159")
            .replace(r#""5812""#, "5812")
            .replace(r#""channel""#, r#""unheardOf":[{}],"channel""#);
        assert_ne!(strings, integers);
        assert_eq!(request_of(strings), request_of(&integers));
    }

    #[test]
    fn a_malformed_field_is_refused_by_name() {
        let check = |from: &str, to: &str, named: &str| {
            let good = include_str!("golden/authorization.json");
            assert!(good.contains(from), "{from}");
            let error = request_of(&good.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(named), "{to}: {error}");
        };
        check(r#""1250""#, r#""-1""#, "transactionAmount");
        check(r#""1250""#, r#""01""#, "transactionAmount");
        check(r#""1250""#, r#""""#, "transactionAmount");
        check(r#""1250""#, r#""1000000000000000000""#, "transactionAmount");
        check(r#""1250""#, "12.5", "integer");
        check(r#""1250""#, "-1", "integer");
        check(r#""1250""#, "true", "integer");
        for currency in [r#""US""#, r#""usd""#, r#""Usd""#, r#"" USD""#] {
            check(r#""USD""#, currency, "transactionCurrency");
        }
        check(r#""USD""#, "840", "string");
        check(r#""auth_7Q2""#, r#""""#, "authorizationId");
        check(r#""auth_7Q2""#, r#""a b""#, "authorizationId");
        check(r#""auth_7Q2""#, r#""a\u0000""#, "authorizationId");
        check(r#""authorization""#, r#""incremental""#, "originalAuthorizationId");
        check(r#""authorization""#, r#""refund""#, "type");
        // The price of a currency that UR does not hold depends on the settlement.
        for settled in [r#""1e3""#, "11.59", "{}", "-1"] {
            check(
                r#""USD","settlementAmount":"1159""#,
                &format!(r#""SEK","settlementAmount":{settled}"#),
                "settlement",
            );
        }
        check(r#""urId":"12345","#, "", "urId");
        check(r#""urId":"12345","#, r#""urId":"1","urId":"2","#, "duplicate");
    }

    #[test]
    fn yuan_are_one_currency_under_two_codes() {
        let good = include_str!("golden/authorization.json");
        for (code, given) in [("CNY", Some("CNY")), ("CNH", None)] {
            let request = request_of(&good.replace("USD", code)).unwrap();
            assert_eq!(request.currency, Currency::CNH);
            assert_eq!(request.currency_given.as_ref().map(CurrencyCode::as_str), given);
            assert_eq!(request.currency_code().as_str(), code);
        }
    }

    #[test]
    fn what_describes_a_tap_never_blocks_it() {
        let check = |from: &str, to: &str, change: fn(&mut Request)| {
            let good = include_str!("golden/authorization.json");
            assert!(good.contains(from), "{from}");
            let mut expected = request_of(good).unwrap();
            change(&mut expected);
            assert_eq!(request_of(&good.replace(from, to)), Ok(expected), "{to}");
        };
        for blank in [r#""""#, r#""    ""#, r#""58AB""#, "null", "[]", "{}", "true", "1.5", "-1"] {
            check(r#""5812""#, blank, |request| request.merchant.mcc = None);
        }
        for blank in [r#""""#, r#"" ""#, r#""ZZZ""#, "null", "[]", "1.5"] {
            check(r#""CHE""#, blank, |request| request.merchant.country = None);
        }
        for spelled in [r#""ch""#, r#""756""#, "756", r#"" CHE""#] {
            check(r#""CHE""#, spelled, |_| {});
        }
        check(r#""m_1""#, r#""m_1            ""#, |_| {});
        check(r#""m_1""#, "17", |request| request.merchant.id = Some("17".into()));
        check(r#""pos""#, r#""POS""#, |_| {});
        for odd in [r#""""#, r#""moto""#, "7", "{}"] {
            check(r#""pos""#, odd, |request| request.channel = Channel::Other);
        }
        check("Café", &"x".repeat(257), |request| request.merchant.name = Some("x".repeat(256).into()));
        check("Café", r"Caf\ud83d", |request| request.merchant.name = Some("Caf\u{fffd}\u{fffd}\u{fffd}".into()));
        check(r#"{"id""#, r#"[],"old":{"id""#, |request| request.merchant = Merchant::default());
        for odd in [r#""""#, r#""1e3""#, "11.59", "[]"] {
            check(r#""1159""#, odd, |request| request.settlement_amount = None);
        }
        for odd in [r#""""#, r#""EURO""#, r#""eur""#, "978"] {
            check(r#""EUR""#, odd, |request| request.settlement_currency = None);
        }
        for no in [r#""no""#, "0", "{}", r#""""#] {
            check(r#""partialApprovalAllowed":false"#, &format!(r#""partialApprovalAllowed":{no}"#), |_| {});
        }
        for yes in [r#""true""#, "1", r#""TRUE""#] {
            check(r#""partialApprovalAllowed":false"#, &format!(r#""partialApprovalAllowed":{yes}"#), |request| {
                request.partial_approval_allowed = true;
            });
        }
        check(r#""originalAuthorizationId":null"#, r#""originalAuthorizationId":"""#, |_| {});
    }

    #[test]
    fn an_array_is_no_object_however_well_its_items_fit() {
        let envelope = r#"["card_authorization",1768659501,{}]"#;
        assert!(Envelope::parse(envelope.as_bytes()).is_err());
        let in_data = |data: &str| format!(r#"{{"event":"card_authorization","timestamp":1,"data":{data}}}"#);
        let error = request_of(&in_data(r#"["a",null,null,"1","card","1","USD",null,null,null,null,null]"#));
        assert!(error.unwrap_err().to_string().contains("an object"));
        let with_merchant = |merchant: &str| {
            let required =
                r#""authorizationId":"a","urId":1,"cardId":"c","transactionAmount":1,"transactionCurrency":"USD""#;
            request_of(&in_data(&format!(r#"{{{required},"merchant":{merchant}}}"#)))
        };
        assert!(with_merchant(r#"{"id":"m"}"#).is_ok());
        assert_eq!(with_merchant(r#"["m",null,null,null,null]"#).unwrap().merchant, Merchant::default());
    }

    #[test]
    fn only_an_authorization_callback_needs_data() {
        for body in [r#"{"event":"x","timestamp":1}"#, r#"{"event":"x","timestamp":1,"data":null}"#] {
            let envelope = Envelope::parse(body.as_bytes()).unwrap();
            assert_eq!((&*envelope.event, envelope.timestamp), ("x", 1));
            assert!(envelope.request().unwrap_err().to_string().contains("data"));
        }
    }

    #[test]
    fn deep_nesting_is_refused_before_it_is_parsed() {
        let nested = |levels: usize| {
            let open = "[".repeat(levels - 1);
            let close = "]".repeat(levels - 1);
            format!(r#"{{"event":"x","timestamp":1,"data":{open}{close}}}"#)
        };
        assert!(Envelope::parse(nested(16).as_bytes()).is_ok());
        assert!(Envelope::parse(nested(17).as_bytes()).is_err());
        let in_text = format!(r#"{{"event":"x","timestamp":1,"data":"{}\""}}"#, "[".repeat(40));
        assert!(Envelope::parse(in_text.as_bytes()).is_ok());
    }

    #[test]
    fn answers_have_their_golden_bytes() {
        let check = |root: &str, outcome: Option<Outcome>, golden: &str| {
            let id = "auth_7Q2".parse().unwrap();
            let reply = Reply { id, root: root.parse().unwrap(), currency: Currency::USD.into(), outcome };
            assert_eq!(String::from_utf8(render(&reply)).unwrap(), golden.trim_end());
        };
        let approved = |partial| Some(Outcome::Approved { source: Source::Crypto, amount: Minor(1250), partial });
        check("auth_7Q2", approved(false), include_str!("golden/approved.json"));
        check("auth_7Q2", approved(true), include_str!("golden/approved_partly.json"));
        check("auth_7Q2", Some(Outcome::Declined(Reason::LimitExceeded)), include_str!("golden/declined.json"));
        check("root", Some(Outcome::Acknowledged { amount: Minor(500) }), include_str!("golden/acknowledged.json"));
        check("auth_7Q2", None, include_str!("golden/duplicate_mismatch.json"));
    }
}
