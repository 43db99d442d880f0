//! Another wire form of the callback, by the configuration (docs/callback-mapping.md): a JSON Pointer per field, words
//! for types and channels, the form of amounts, and templates of the two answers. One pass over the body finds the
//! fields; everything behind it is the same as for tapgate's own form.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tapgate_engine::fact::{Channel, Kind};
use tapgate_engine::ledger::Reply;

use super::template::Template;
use super::{CARD_AUTHORIZATION, Content, Data, Digits, Envelope, MerchantData, Object, Text};
use super::{answer, check_depth, kind_name, scalar};
use crate::wire::Malformed;
use crate::wire::ur::AmountForm;

/// A field of the callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Event,
    Timestamp,
    AuthorizationId,
    Type,
    OriginalAuthorizationId,
    UrId,
    CardId,
    TransactionAmount,
    TransactionCurrency,
    SettlementAmount,
    SettlementCurrency,
    PartialApprovalAllowed,
    MerchantId,
    MerchantName,
    MerchantMcc,
    MerchantCity,
    MerchantCountry,
    Channel,
}

impl Field {
    /// Every field with its name in the configuration.
    pub const NAMED: [(&str, Field); 18] = [
        ("event", Field::Event),
        ("timestamp", Field::Timestamp),
        ("authorization_id", Field::AuthorizationId),
        ("type", Field::Type),
        ("original_authorization_id", Field::OriginalAuthorizationId),
        ("ur_id", Field::UrId),
        ("card_id", Field::CardId),
        ("transaction_amount", Field::TransactionAmount),
        ("transaction_currency", Field::TransactionCurrency),
        ("settlement_amount", Field::SettlementAmount),
        ("settlement_currency", Field::SettlementCurrency),
        ("partial_approval_allowed", Field::PartialApprovalAllowed),
        ("merchant_id", Field::MerchantId),
        ("merchant_name", Field::MerchantName),
        ("merchant_mcc", Field::MerchantMcc),
        ("merchant_city", Field::MerchantCity),
        ("merchant_country", Field::MerchantCountry),
        ("channel", Field::Channel),
    ];

    /// Those without which no callback can be decided.
    pub const REQUIRED: [Field; 5] =
        [Field::AuthorizationId, Field::UrId, Field::CardId, Field::TransactionAmount, Field::TransactionCurrency];

    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        Field::NAMED.iter().find(|(_, field)| *field == self).map_or("", |(name, _)| name)
    }
}

/// The values of a body's fields.
#[derive(Default)]
struct Found<'a>([Option<&'a RawValue>; Field::NAMED.len()]);

impl<'a> Found<'a> {
    fn get(&self, field: Field) -> Option<&'a RawValue> {
        self.0.get(field as usize).copied().flatten()
    }

    /// Whether the field had no value before.
    fn set(&mut self, field: Field, value: &'a RawValue) -> bool {
        self.0.get_mut(field as usize).is_some_and(|place| place.replace(value).is_none())
    }
}

/// A mapping of another wire form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub pointers: Pointers,
    /// UR's words for our types.
    pub types: Vec<(String, Kind)>,
    /// UR's words for our channels.
    pub channels: Vec<(String, Channel)>,
    /// The form of the callback's amounts, and of `approvedAmount` in its answers.
    pub amounts: AmountForm,
    pub approved: Template,
    pub declined: Template,
}

/// A step of the pointers: a member's name or an element's index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    field: Option<Field>,
    children: Vec<(String, Node)>,
}

impl Node {
    fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|(own, _)| own == name).map(|(_, node)| node)
    }

    fn has(&self, field: Field) -> bool {
        self.field == Some(field) || self.children.iter().any(|(_, node)| node.has(field))
    }
}

/// The pointers of a mapping, as a tree: one pass over a body meets each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pointers(Node);

impl Pointers {
    /// Adds a field's JSON Pointer (RFC 6901).
    ///
    /// # Errors
    /// It is no pointer, or what it points to is read already.
    pub fn add(&mut self, field: Field, pointer: &str) -> Result<(), String> {
        let steps = pointer.strip_prefix('/').ok_or("must be a JSON Pointer, such as \"/data/cardId\"")?;
        let mut node = &mut self.0;
        for step in steps.split('/') {
            let name = step.replace("~1", "/").replace("~0", "~");
            if let Some(read) = node.field {
                return Err(format!("lies within what {} reads", read.name()));
            }
            let place = node.children.iter().position(|(own, _)| *own == name).unwrap_or_else(|| {
                node.children.push((name, Node::default()));
                node.children.len() - 1
            });
            node = node.children.get_mut(place).map(|(_, node)| node).ok_or("has too many steps")?;
        }
        match (node.field, node.children.is_empty()) {
            (Some(read), _) => Err(format!("is read by {} already", read.name())),
            (None, false) => Err("leads to what holds other fields".to_owned()),
            (None, true) => {
                node.field = Some(field);
                Ok(())
            }
        }
    }

    /// Whether the field has a pointer.
    #[must_use]
    pub fn has(&self, field: Field) -> bool {
        self.0.has(field)
    }

    /// The configured fields that a body lacks.
    ///
    /// # Errors
    /// The body is no JSON, or names a member twice.
    pub fn missing_in(&self, body: &str) -> Result<Vec<Field>, Malformed> {
        let found = find(&self.0, body)?;
        let is_missing = |field: &Field| self.has(*field) && found.get(*field).is_none();
        Ok(Field::NAMED.iter().map(|(_, field)| *field).filter(is_missing).collect())
    }
}

impl Mapping {
    /// Reads a callback of the mapped form, or an event of tapgate's own. `now`: unix seconds, the time of a callback
    /// whose form has no timestamp, because its signature holds one.
    ///
    /// # Errors
    /// As [`Envelope::parse`]; or a field has a form that the mapping does not name.
    pub fn read<'a>(&self, body: &'a [u8], now: u64) -> Result<Envelope<'a>, Malformed> {
        let text = std::str::from_utf8(body).map_err(|error| Malformed(format!("the body is not UTF-8: {error}")))?;
        check_depth(text)?;
        let found = find(&self.pointers.0, text)?;
        let value = |field: Field| scalar(found.get(field));
        let is_callback = value(Field::Event).is_none_or(|event| event == CARD_AUTHORIZATION);
        if !is_callback || value(Field::AuthorizationId).is_none() {
            return Envelope::parse(body);
        }
        let required = |field: Field| value(field).ok_or_else(|| Malformed(format!("{} is required", field.name())));
        let timestamp = match value(Field::Timestamp) {
            Some(text) => timestamp(&text)?,
            None if self.pointers.has(Field::Timestamp) => return Err(Malformed("timestamp is required".to_owned())),
            None => now,
        };
        let data = Data {
            authorization_id: Text(required(Field::AuthorizationId)?),
            kind: value(Field::Type).map(|word| self.kind(word)).transpose()?.map(Text),
            original_authorization_id: value(Field::OriginalAuthorizationId).map(Text),
            ur_id: Digits(required(Field::UrId)?),
            card_id: Text(required(Field::CardId)?),
            transaction_amount: Digits(self.amount(Field::TransactionAmount, required(Field::TransactionAmount)?)?),
            transaction_currency: Text(required(Field::TransactionCurrency)?),
            settlement_amount: value(Field::SettlementAmount)
                .map(|text| self.amount(Field::SettlementAmount, text))
                .transpose()?
                .map(Digits),
            settlement_currency: value(Field::SettlementCurrency).map(Text),
            partial_approval_allowed: value(Field::PartialApprovalAllowed).map(|text| text == "true" || text == "1"),
            merchant: Some(Object(MerchantData {
                id: value(Field::MerchantId).map(Digits),
                name: value(Field::MerchantName).map(Text),
                mcc: value(Field::MerchantMcc).map(Digits),
                city: value(Field::MerchantCity).map(Text),
                country: value(Field::MerchantCountry).map(Digits),
            })),
            channel: value(Field::Channel).map(|word| self.channel(word)).map(Text),
        };
        Ok(Envelope { event: Cow::Borrowed(CARD_AUTHORIZATION), timestamp, content: Content::Read(Box::new(data)) })
    }

    /// The answer's bytes: a function of the reply alone.
    #[must_use]
    pub fn render(&self, reply: &Reply) -> Vec<u8> {
        let body = answer(reply);
        let template = if body.approved { &self.approved } else { &self.declined };
        template.render(&body, self.amounts)
    }

    /// Our word for a type; where the mapping has none, ours is UR's.
    fn kind<'a>(&self, word: Cow<'a, str>) -> Result<Cow<'a, str>, Malformed> {
        match self.types.iter().find(|(own, _)| *own == *word) {
            Some((_, kind)) => Ok(Cow::Borrowed(kind_name(*kind))),
            None if self.types.is_empty() => Ok(word),
            None => Err(Malformed("type is none of the words of ur.callback.types".to_owned())),
        }
    }

    fn channel<'a>(&self, word: Cow<'a, str>) -> Cow<'a, str> {
        let named = self.channels.iter().find(|(own, _)| *own == *word);
        named.map_or(word, |(_, channel)| Cow::Borrowed(channel.name()))
    }

    fn amount<'a>(&self, field: Field, text: Cow<'a, str>) -> Result<Cow<'a, str>, Malformed> {
        if self.amounts != AmountForm::Decimal {
            return Ok(text);
        }
        let (units, hundredths) = text.split_once('.').unwrap_or((&text, ""));
        let is_decimal = !units.is_empty() && hundredths.len() <= 2;
        if !is_decimal || !units.bytes().chain(hundredths.bytes()).all(|byte| byte.is_ascii_digit()) {
            return Err(Malformed(format!("{} must be an amount such as \"12.50\"", field.name())));
        }
        let smallest = format!("{units}{hundredths:0<2}");
        let trimmed = smallest.trim_start_matches('0');
        Ok(Cow::Owned(if trimmed.is_empty() { "0".to_owned() } else { trimmed.to_owned() }))
    }
}

/// Unix seconds, from seconds, milliseconds or RFC 3339.
fn timestamp(text: &str) -> Result<u64, Malformed> {
    /// Seconds of the year 5138: a later number counts milliseconds.
    const SECONDS_MAX: u64 = 100_000_000_000;
    let parsed = match text.parse::<u64>() {
        Ok(number) => Some(if number > SECONDS_MAX { number / 1_000 } else { number }),
        Err(_) => text.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_second()).ok()),
    };
    parsed.ok_or_else(|| Malformed("timestamp must be unix seconds, milliseconds, or RFC 3339".to_owned()))
}

fn find<'a>(root: &Node, text: &'a str) -> Result<Found<'a>, Malformed> {
    let mut found = Found::default();
    let mut source = serde_json::Deserializer::from_str(text);
    let walked = Walk { node: root, found: &mut found }.deserialize(&mut source);
    walked.and_then(|()| source.end()).map_err(|error| Malformed(error.to_string()))?;
    Ok(found)
}

/// Visits what a node stands for.
struct Walk<'n, 'f, 'de> {
    node: &'n Node,
    found: &'f mut Found<'de>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        let Some(field) = self.node.field else { return source.deserialize_any(self) };
        let value = <&RawValue>::deserialize(source)?;
        if self.found.set(field, value) {
            Ok(())
        } else {
            Err(D::Error::custom(format!("duplicate field of {}", field.name())))
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut met = Vec::new();
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            let Some(place) = self.node.children.iter().position(|(own, _)| *own == *name) else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            // An object that comes twice is as ambiguous as a field that does, even where each holds other fields.
            if met.contains(&place) {
                return Err(A::Error::custom(format!("duplicate field {name:?}")));
            }
            met.push(place);
            if let Some((_, node)) = self.node.children.get(place) {
                members.next_value_seed(Walk { node, found: &mut *self.found })?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        for index in 0_usize.. {
            let walked = match self.node.child(&index.to_string()) {
                Some(node) => elements.next_element_seed(Walk { node, found: &mut *self.found })?,
                None => elements.next_element::<IgnoredAny>()?.map(|_| ()),
            };
            if walked.is_none() {
                break;
            }
        }
        Ok(())
    }

    // A scalar in place of an object or a list has none of the fields.
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tapgate_engine::fact::{Reason, Source};
    use tapgate_engine::money::{Currency, Minor};
    use tapgate_engine::rows::Outcome;

    use super::*;

    fn mapping(amounts: AmountForm) -> Mapping {
        let template = |text| Template::parse(text).unwrap();
        Mapping {
            pointers: Pointers::default(),
            types: Vec::new(),
            channels: vec![("tap".to_owned(), Channel::Contactless)],
            amounts,
            approved: template(r#"{"ok":{approved},"of":{approvedAmount},"by":{source},"code":{responseCode}}"#),
            declined: template(r#"{"why":{reason},"\"{not}":{partnerRefId}}"#),
        }
    }

    #[test]
    fn an_answer_is_its_template_with_every_value_in_its_place() {
        let reply = |outcome| Reply {
            id: "auth_1".parse().unwrap(),
            root: "a\"}{'".parse().unwrap(),
            currency: Currency::EUR.into(),
            outcome: Some(outcome),
        };
        let check = |amounts, outcome, expected: &str| {
            let rendered = mapping(amounts).render(&reply(outcome));
            assert_eq!(String::from_utf8(rendered).unwrap(), expected);
        };
        let approved = |amount| Outcome::Approved { source: Source::Crypto, amount: Minor(amount), partial: false };
        check(AmountForm::SmallestUnit, approved(1_250), r#"{"ok":true,"of":"1250","by":"CRYPTO","code":null}"#);
        check(AmountForm::Decimal, approved(1_250), r#"{"ok":true,"of":"12.50","by":"CRYPTO","code":null}"#);
        check(AmountForm::Decimal, approved(5), r#"{"ok":true,"of":"0.05","by":"CRYPTO","code":null}"#);
        let declined = Outcome::Declined(Reason::CardFrozen);
        check(AmountForm::Decimal, declined, r#"{"why":"card_frozen","\"{not}":"a\"}{'"}"#);
    }

    #[test]
    fn amounts_have_the_form_of_the_mapping_and_no_other() {
        let decimal = mapping(AmountForm::Decimal);
        for (given, expected) in [("12.50", "1250"), ("12.5", "1250"), ("12", "1200"), ("0.05", "5"), ("0.00", "0")] {
            assert_eq!(decimal.amount(Field::TransactionAmount, given.into()).unwrap(), expected);
        }
        for given in ["12.505", "-1.00", ".50", "1,000.00", "1e3", ""] {
            assert!(decimal.amount(Field::TransactionAmount, given.into()).is_err(), "{given}");
        }
    }

    #[test]
    fn words_and_times_are_those_of_ur() {
        let mapping = mapping(AmountForm::SmallestUnit);
        assert_eq!(mapping.channel("tap".into()), "contactless");
        assert_eq!(mapping.channel("pos".into()), "pos");
        for given in ["1768659501", "1768659501250", "2026-01-17T14:18:21.250Z"] {
            assert_eq!(timestamp(given).unwrap(), 1_768_659_501, "{given}");
        }
        assert!(timestamp("soon").is_err());
    }

    #[test]
    fn a_template_has_no_field_twice() {
        for text in [r#"{"a":{approved},"a":true}"#, r#"{"a":{"b":1,"b":{reason}}}"#] {
            assert!(Template::parse(text).unwrap_err().contains("twice"), "{text}");
        }
    }

    #[test]
    fn what_leads_to_a_field_comes_once() {
        let mut pointers = Pointers::default();
        pointers.add(Field::UrId, "/data/user").unwrap();
        pointers.add(Field::CardId, "/data/card").unwrap();
        let check = |body: &str, is_read: bool| assert_eq!(find(&pointers.0, body).is_ok(), is_read, "{body}");
        check(r#"{"data":{"user":1,"card":2},"other":{},"other":{}}"#, true);
        check(r#"{"data":{"user":1,"card":2,"card":2}}"#, false);
        check(r#"{"data":{"user":1},"data":{"card":2}}"#, false);
        check(r#"{"data":{"user":1,"card":2},"data":null}"#, false);
        check(r#"{"data":{"user":1,"card":2},"d\u0061ta":[]}"#, false);
    }

    #[test]
    fn a_pointer_reaches_into_lists_and_escaped_names() {
        let mut pointers = Pointers::default();
        pointers.add(Field::UrId, "/users/1/a~1b").unwrap();
        let body = r#"{"users":[{"a/b":"no"},{"a/b":"yes"}],"users2":[]}"#;
        assert_eq!(find(&pointers.0, body).unwrap().get(Field::UrId).map(RawValue::get), Some("\"yes\""));
        assert_eq!(pointers.missing_in(r#"{"users":7}"#).unwrap(), [Field::UrId]);
    }
}
