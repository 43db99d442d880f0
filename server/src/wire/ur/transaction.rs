//! `TransactionData` (seed 003): of `/v1/transactions`, `/v1/transaction/query` and the webhook event `transaction`.

use serde_json::Value;
use tapgate_engine::fact::Merchant;
use tapgate_engine::ids::UrId;
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::time::UnixSeconds;

use super::amounts::{AmountForm, FIAT_DECIMALS, text_of};
use crate::wire::Malformed;

/// In bytes: a hash of 32 bytes in hexadecimal, with room for another chain's hashes.
const HASH_BYTES_MAX: usize = 200;

/// The direction of the money, seen from the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    In,
    Out,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Pending,
    Completed,
    /// Refused: no money moved.
    Rejected,
    /// Any other or no status: UR shows the movement, and no more is understood.
    Unknown,
}

/// A transaction as UR shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub user: UrId,
    /// CRD for every card transaction.
    pub kind: String,
    /// Without its sign, in smallest units of `currency`.
    pub amount: Minor,
    pub currency: Currency,
    /// Its sign and `direction` must agree where both are given.
    pub direction: Direction,
    pub status: Status,
    pub at: UnixSeconds,
    /// Empty if UR gave none.
    pub hash: String,
    pub mcc: Option<u16>,
    /// The merchant's name.
    pub title: Option<String>,
    /// `partnerRefId`: our id of the authorization.
    pub partner_reference: Option<String>,
    /// `reference`: another id that may be ours.
    pub reference: Option<String>,
    /// The currency that the merchant charged, if UR shows it.
    pub charged_in: Option<Currency>,
}

impl Transaction {
    /// `None` for a movement of a token that is no fiat money: no pool, no balance and no hold is in it.
    ///
    /// # Errors
    /// A required field is missing or malformed; the message names it.
    pub fn read(value: &Value, form: AmountForm) -> Result<Option<Transaction>, Malformed> {
        let text = |key: &str| value.get(key).and_then(text_of).filter(|text| !text.is_empty());
        let needed = |key: &str| text(key).ok_or_else(|| Malformed(format!("{key} is missing")));
        let Some(currency) = fiat(&needed("currency")?) else { return Ok(None) };
        let user = needed("urId")?;
        let shown = needed("amount")?;
        let signed = form.read("amount", &shown, FIAT_DECIMALS)?;
        let by_sign = match shown.as_bytes().first() {
            Some(b'-') => Some(Direction::Out),
            Some(b'+') => Some(Direction::In),
            _ => None,
        };
        let said = text("direction").and_then(|text| match text.to_ascii_uppercase().as_str() {
            "IN" => Some(Direction::In),
            "OUT" => Some(Direction::Out),
            _ => None,
        });
        let direction = match (by_sign, said) {
            (Some(sign), Some(said)) if sign != said => {
                return Err(Malformed(format!("amount {shown:?} and direction {said:?} contradict each other")));
            }
            (sign, said) => said.or(sign).ok_or_else(|| Malformed("direction is missing".to_owned()))?,
        };
        let status = match text("status").unwrap_or_default().to_ascii_lowercase().as_str() {
            "pending" => Status::Pending,
            "completed" => Status::Completed,
            "rejected" => Status::Rejected,
            _ => Status::Unknown,
        };
        let hash = text("txHash").unwrap_or_default();
        if hash.len() > HASH_BYTES_MAX || !hash.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Malformed(format!("txHash must be 1 to {HASH_BYTES_MAX} printable characters")));
        }
        let seconds = needed("timestamp")?;
        let seconds = seconds.parse().ok().filter(|at| *at >= 0);
        Ok(Some(Transaction {
            user: user.parse().map_err(|error| Malformed(format!("urId: {error}")))?,
            kind: needed("type")?.to_ascii_uppercase(),
            amount: Minor(signed.0.abs()),
            currency,
            direction,
            status,
            at: UnixSeconds(seconds.ok_or_else(|| Malformed("timestamp must be unix seconds".to_owned()))?),
            hash,
            mcc: text("mcc").and_then(|mcc| Merchant::category(&mcc)).filter(|mcc| *mcc > 0),
            title: text("title"),
            partner_reference: text("partnerRefId"),
            reference: text("reference"),
            charged_in: text("crdCurrency").and_then(|code| self::currency(&code)),
        }))
    }

    #[must_use]
    pub fn is_of_a_card(&self) -> bool {
        self.kind == "CRD"
    }
}

/// `usd`, `USD` and `USD24` are one currency; so are `CNY` and `CNH`.
pub(super) fn currency(symbol: &str) -> Option<Currency> {
    let upper = symbol.to_ascii_uppercase();
    let code = upper.strip_suffix("24").unwrap_or(&upper);
    code.parse::<Currency>().ok()
}

/// The currency of fiat money. UR's chain has tokens with codes of three letters, too; MNT is Mantle's own, and no tugrik.
fn fiat(symbol: &str) -> Option<Currency> {
    let is_fiat = |currency: &Currency| {
        currency.is_held_by_ur()
            || (currency.as_str() != "MNT" && iso_currency::Currency::from_code(currency.as_str()).is_some())
    };
    currency(symbol).filter(is_fiat)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::ur::Page;

    fn shown() -> Value {
        json!({
            "urId": "12345", "title": "Café", "subtitle": "", "amount": "-12.50", "type": "CRD", "timestamp": 1_768_659_501,
            "currency": "usd", "direction": "OUT", "txHash": "0xab", "mcc": 5812, "status": "completed",
            "partnerRefId": "auth_7Q2", "reference": "r", "crdCurrency": "EUR",
        })
    }

    fn read(value: &Value) -> Result<Transaction, Malformed> {
        Transaction::read(value, AmountForm::Decimal).map(|read| read.expect("fiat money"))
    }

    fn changed(key: &str, to: Value) -> Result<Transaction, Malformed> {
        let mut value = shown();
        value[key] = to;
        read(&value)
    }

    #[test]
    fn a_transaction_is_read_as_its_document_shows_it() {
        let read = read(&shown()).unwrap();
        assert_eq!((read.amount, read.currency, read.direction), (Minor(1_250), Currency::USD, Direction::Out));
        assert_eq!((read.status, read.mcc, read.at), (Status::Completed, Some(5_812), UnixSeconds(1_768_659_501)));
        assert_eq!((read.partner_reference.as_deref(), read.reference.as_deref()), (Some("auth_7Q2"), Some("r")));
        assert_eq!((read.title.as_deref(), read.charged_in), (Some("Café"), Some(Currency::EUR)));
        assert!(read.is_of_a_card());
    }

    #[test]
    fn variants_of_documents_and_clients_read_the_same() {
        for (key, value) in [
            ("currency", json!("USD24")),
            ("amount", json!("-12.5")),
            ("urId", json!(12_345)),
            ("timestamp", json!("1768659501")),
            ("type", json!("crd")),
            ("mcc", json!("5812")),
        ] {
            assert_eq!(changed(key, value.clone()), read(&shown()), "{key} {value}");
        }
        assert_eq!(changed("amount", json!("-100")).unwrap().amount, Minor(10_000), "major units");
        assert_eq!(changed("currency", json!("cny24")).unwrap().currency, Currency::CNH);
        assert_eq!(changed("status", json!("")).unwrap().status, Status::Unknown);
    }

    #[test]
    fn a_contradictory_transaction_is_refused() {
        assert!(changed("amount", json!("+12.50")).is_err());
        assert!(changed("direction", json!("ALL")).is_ok(), "the sign says it");
        assert!(changed("timestamp", json!(-1)).is_err());
    }

    #[test]
    fn an_optional_field_may_be_empty_absent_or_of_any_type() {
        for key in
            ["title", "subtitle", "direction", "txHash", "mcc", "status", "partnerRefId", "reference", "crdCurrency"]
        {
            for odd in [Some(json!("")), Some(Value::Null), Some(json!([{"token": "usd", "amount": "1"}])), None] {
                let mut value = shown();
                match &odd {
                    Some(odd) => value[key] = odd.clone(),
                    None => drop(value.as_object_mut().unwrap().remove(key)),
                }
                let found = read(&value).unwrap();
                assert_eq!((found.amount, found.direction), (Minor(1_250), Direction::Out), "{key} {odd:?}");
            }
        }
    }

    #[test]
    fn only_fiat_money_is_a_transaction() {
        for (currency, is_fiat) in [
            ("usd", true),
            ("EUR24", true),
            ("gbp", true),
            ("sek", true),
            ("usdc", false),
            ("USDT", false),
            ("usde", false),
            ("eth", false),
            ("BTC", false),
            ("mnt", false),
        ] {
            let mut value = shown();
            value["currency"] = json!(currency);
            value["amount"] = if is_fiat { json!("-1.00") } else { json!("-0.000012") };
            let found = Transaction::read(&value, AmountForm::Decimal).unwrap();
            assert_eq!(found.is_some(), is_fiat, "{currency}");
        }
        assert!(changed("currency", json!("")).is_err());
    }

    #[test]
    fn a_row_of_another_token_leaves_a_list_complete() {
        let other =
            json!({"urId": "12345", "type": "CRD", "amount": "-0.000012", "currency": "usdc", "timestamp": "soon"});
        let page = Page::read(&json!({"data": [other, shown()]}), |row| Transaction::read(row, AmountForm::Decimal));
        let page = page.unwrap().flattened();
        assert_eq!((page.rows.len(), page.unreadable), (1, Vec::new()));
    }
}
