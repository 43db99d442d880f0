//! UR's events but the authorization callback (docs/ur-facts.md, "Webhook envelope and events").

use serde_json::Value;
use tapgate_engine::fact::CardStatus;
use tapgate_engine::ids::{CardId, UrId};
use tapgate_engine::money::Currency;

use super::amounts::{AmountForm, text_of};
use super::figures::allowances;
use super::transaction::Transaction;
use crate::wire::Malformed;

/// The names of the events that are read, for findings and meters.
pub const EVENTS: [&str; 6] = ["transaction", "allowance", "kyc_status", "sumsub_kyc_result", "card_status", "prefund"];

/// Bytes of a rendered shape, and of a name in it; a name with more digits may be an id.
const SHAPE_BYTES_MAX: usize = 400;
const NAME_BYTES_MAX: usize = 40;
const NAME_DIGITS_MAX: usize = 2;

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A movement of fiat money.
    Transaction(Box<Transaction>),
    /// A movement of a token that is no fiat money.
    OtherToken,
    /// An account's allowances changed.
    Allowances { user: UrId, allowances: Vec<(Currency, bool)> },
    /// A card was frozen, unfrozen or deleted.
    Card { card: CardId, status: CardStatus },
    /// An account's figures changed; the event has none of them.
    Account(UrId),
}

impl Event {
    /// Reads the data of one of [`EVENTS`].
    ///
    /// # Errors
    /// The data has a form that is not known; the message names the field.
    pub fn read(name: &str, data: &Value, form: AmountForm) -> Result<Event, Malformed> {
        match name {
            "transaction" => {
                let read = Transaction::read(data, form)?;
                Ok(read.map_or(Event::OtherToken, |read| Event::Transaction(Box::new(read))))
            }
            "allowance" => {
                let allowances = allowances(data).ok_or_else(|| missing("allowances"))?;
                Ok(Event::Allowances { user: account(data)?, allowances })
            }
            "card_status" => card(data),
            _ => account(data).map(Event::Account),
        }
    }
}

fn missing(field: &str) -> Malformed {
    Malformed(format!("{field} is missing"))
}

/// The first of these fields that has a text or a number.
fn first(data: &Value, fields: &[&str]) -> Option<String> {
    fields.iter().filter_map(|field| data.get(*field).and_then(text_of)).find(|text| !text.is_empty())
}

/// The account that an event names: `urId`, or `tokenId` as in `sumsub_kyc_result`.
///
/// # Errors
/// It names none.
pub fn account(data: &Value) -> Result<UrId, Malformed> {
    let id = first(data, &["urId", "tokenId"]).ok_or_else(|| missing("urId"))?;
    id.parse().map_err(|error| Malformed(format!("urId: {error}")))
}

/// UR publishes no form of `card_status`: the names and numbers are those of its API's "Update Card Status" (seed 002:
/// `cardTokenId`, 0 inactive, 1 active), and the words that any other issuer would use.
fn card(data: &Value) -> Result<Event, Malformed> {
    let id = first(data, &["cardId", "cardTokenId"]).ok_or_else(|| missing("cardId"))?;
    let said = first(data, &["status", "cardStatus"]).ok_or_else(|| missing("status"))?;
    let status = match said.to_ascii_lowercase().as_str() {
        "1" | "active" | "activated" | "unfrozen" | "unblocked" | "unlocked" => CardStatus::Active,
        "0" | "inactive" | "frozen" | "blocked" | "locked" | "suspended" => CardStatus::Frozen,
        "deleted" => CardStatus::Deleted,
        _ => return Err(Malformed(format!("status {said:?} is not known"))),
    };
    Ok(Event::Card { card: id.parse().map_err(|error| Malformed(format!("cardId: {error}")))?, status })
}

/// The names of fields and the types of values, for the log: no value.
#[must_use]
pub fn shape(data: &Value) -> String {
    let mut shown = String::new();
    write_shape(data, &mut shown);
    shown
}

/// A name as the log may show it: digits become 9, and what may be somebody's id or text becomes a question mark.
#[must_use]
pub fn name(text: &str) -> String {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if text.is_empty() || text.len() > NAME_BYTES_MAX || digits > NAME_DIGITS_MAX || !text.bytes().all(is_of_name) {
        return "?".to_owned();
    }
    text.chars().map(|shown| if shown.is_ascii_digit() { '9' } else { shown }).collect()
}

fn write_shape(value: &Value, shown: &mut String) {
    if shown.len() > SHAPE_BYTES_MAX {
        return;
    }
    match value {
        Value::Null => shown.push_str("null"),
        Value::Bool(_) => shown.push_str("boolean"),
        Value::Number(_) => shown.push_str("number"),
        Value::String(_) => shown.push_str("string"),
        Value::Array(items) => {
            shown.push('[');
            // The others are of the same shape in every list of UR's.
            items.first().into_iter().for_each(|item| write_shape(item, shown));
            shown.push(']');
        }
        Value::Object(fields) => {
            shown.push('{');
            for (place, (field, value)) in fields.iter().enumerate() {
                if shown.len() > SHAPE_BYTES_MAX {
                    break;
                }
                let separator = if place == 0 { "" } else { ", " };
                shown.push_str(&format!("{separator}{}: ", name(field)));
                write_shape(value, shown);
            }
            shown.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(name: &str, data: &Value, expected: &Event) {
        assert_eq!(Event::read(name, data, AmountForm::Decimal).as_ref(), Ok(expected), "{name} {data}");
    }

    #[track_caller]
    fn check_unknown(name: &str, data: &Value, field: &str) {
        let error = Event::read(name, data, AmountForm::Decimal).unwrap_err();
        assert_eq!(error.field(), field, "{name} {data}");
    }

    #[test]
    fn an_account_is_named_by_its_id_or_its_token() {
        let named = Event::Account("12345".parse().unwrap());
        for event in ["kyc_status", "sumsub_kyc_result", "prefund"] {
            check(event, &json!({"urId": "12345"}), &named);
            check(event, &json!({"urId": 12_345, "status": "approved"}), &named);
            check(event, &json!({"tokenId": "12345", "reviewResult": {"reviewAnswer": "GREEN"}}), &named);
            check(event, &json!({"urId": "", "tokenId": 12_345}), &named);
            check_unknown(event, &json!({"applicantId": "12345"}), "urId");
            check_unknown(event, &Value::Null, "urId");
        }
    }

    #[test]
    fn allowances_are_those_of_fiat_tokens_on_the_chain_of_the_accounts() {
        let user: UrId = "12345".parse().unwrap();
        let of =
            |allowances: &[(Currency, bool)]| Event::Allowances { user: user.clone(), allowances: allowances.to_vec() };
        let row = |symbol: &str, has: bool, chain: &str| json!({"tokenSymbol": symbol, "hasAllowance": has, "chainId": chain});
        let data = |rows: Value| json!({"urId": "12345", "allowances": rows});
        let short = json!({"tokenSymbol": "EUR24", "hasAllowance": true});
        check("allowance", &data(json!([short])), &of(&[(Currency::EUR, true)]));
        check(
            "allowance",
            &data(json!([row("usd", false, "eip155:5000"), row("USDC", true, "")])),
            &of(&[(Currency::USD, false)]),
        );
        let elsewhere = json!([row("EUR", true, "eip155:5003"), row("EUR", false, "eip155:56")]);
        check("allowance", &data(elsewhere), &of(&[(Currency::EUR, true)]));
        check(
            "allowance",
            &data(json!([row("EUR", true, ""), row("EUR24", false, "")])),
            &of(&[(Currency::EUR, false)]),
        );
        check("allowance", &data(json!([])), &of(&[]));
        check_unknown("allowance", &json!({"urId": "12345", "hasAllowance": true}), "allowances");
        check_unknown("allowance", &json!({"allowances": []}), "urId");
    }

    #[test]
    fn a_card_is_frozen_and_unfrozen_by_number_or_word() {
        let card = |status| Event::Card { card: "1001".parse().unwrap(), status };
        for (said, status) in [
            (json!(0), CardStatus::Frozen),
            (json!("1"), CardStatus::Active),
            (json!("FROZEN"), CardStatus::Frozen),
            (json!("active"), CardStatus::Active),
            (json!("deleted"), CardStatus::Deleted),
        ] {
            check("card_status", &json!({"urId": "12345", "cardId": "1001", "status": said}), &card(status));
            check("card_status", &json!({"tokenId": 12_345, "cardTokenId": 1001, "cardStatus": said}), &card(status));
        }
        check_unknown("card_status", &json!({"cardId": "1001", "status": "melted"}), "status");
        check_unknown("card_status", &json!({"cardId": "1001", "status": null}), "status");
        check_unknown("card_status", &json!({"urId": "12345", "status": 0}), "cardId");
    }

    #[test]
    fn a_movement_of_another_token_needs_no_more_fields() {
        check("transaction", &json!({"type": "CRD", "currency": "usdc", "amount": "-0.000012"}), &Event::OtherToken);
        check_unknown("transaction", &json!({"type": "CRD", "amount": "-1.00"}), "currency");
        check_unknown("transaction", &json!("text"), "currency");
    }

    #[test]
    fn a_shape_shows_names_and_types_and_no_value() {
        let data = json!({
            "holder": "Ada", "pan": 4_111, "flags": [true, false], "at": null, "nested": {"iban1": "CH93"},
            "Ada Lovelace": 1, "card_4111": 2,
        });
        let expected =
            "{?: number, at: null, ?: number, flags: [boolean], holder: string, nested: {iban9: string}, pan: number}";
        assert_eq!(shape(&data), expected);
        let wide: serde_json::Map<_, _> = (0..1_000).map(|field| (format!("field{field}"), json!(1))).collect();
        assert!(shape(&Value::Object(wide)).len() < 2 * SHAPE_BYTES_MAX);
    }
}
