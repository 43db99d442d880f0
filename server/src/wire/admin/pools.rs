//! Pools, credits and rates as JSON.

use serde::Deserialize;
use serde_json::{Value, json};
use tapgate_engine::contract::pricing::{Conversion, RATE_MAX, RATE_ONE, Rates, Since};
use tapgate_engine::ids::Sequence;
use tapgate_engine::ledger::{Change, Reflected};
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::rows::PoolFigures;

use super::super::forms::{amount, parsed};
use super::{Digits, Malformed};
use crate::wire::ur::display_amount;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ReportForm {
    reported: Option<Digits>,
    floor: Option<Digits>,
    reserve: Option<Digits>,
    reflected_through: Option<Digits>,
}

impl ReportForm {
    /// # Errors
    /// No field is given, or a value is malformed.
    pub fn change(&self, currency: Currency) -> Result<Change, Malformed> {
        let figure = |field: &str, value: &Option<Digits>| -> Result<Option<Minor>, Malformed> {
            value.as_ref().map(|Digits(text)| amount(field, text)).transpose()
        };
        let reflected = match self.reflected_through.as_ref().map(|Digits(text)| text.as_str()) {
            None => None,
            Some("now") => Some(Reflected::Now),
            Some(text) => Some(Reflected::Through(Sequence(
                text.parse()
                    .map_err(|_| Malformed("reflectedThrough must be \"now\" or a record's sequence".to_owned()))?,
            ))),
        };
        let (reported, floor, reserve) =
            (figure("reported", &self.reported)?, figure("floor", &self.floor)?, figure("reserve", &self.reserve)?);
        if reported.is_none() && reflected.is_none() && floor.is_none() && reserve.is_none() {
            return Err(Malformed("give at least one of reported, floor, reserve".to_owned()));
        }
        if reflected.is_some() && reported.is_none() {
            return Err(Malformed(
                "reflectedThrough says what reported holds: give reported with it, as UR shows it now".to_owned(),
            ));
        }
        Ok(Change::ReportPool { currency, reported, floor, reserve, reflected })
    }
}

/// Longest reference of a credit, in bytes: the journal keeps it for ever, and its pool's row keeps the last ones.
const REFERENCE_BYTES_MAX: usize = 1_024;

/// A credited top-up.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditForm {
    amount: Digits,
    #[serde(default)]
    reference: String,
}

impl CreditForm {
    /// # Errors
    /// The amount is malformed, or the reference is too long.
    pub fn change(&self, currency: Currency) -> Result<Change, Malformed> {
        let amount = amount("amount", &self.amount.0)?;
        if self.reference.len() > REFERENCE_BYTES_MAX {
            return Err(Malformed(format!("reference must be at most {REFERENCE_BYTES_MAX} bytes")));
        }
        Ok(Change::CreditPool { currency, amount, reference: self.reference.as_str().into() })
    }
}

#[must_use]
pub fn view(pool: &PoolFigures) -> Value {
    json!({
        "currency": pool.currency.as_str(),
        "reported": pool.reported.to_string(),
        "reported_at": pool.reported_at.seconds().0,
        "held": pool.held.to_string(),
        "unreflected": pool.unreflected().to_string(),
        "upcharged": pool.upcharged.to_string(),
        "floor": pool.floor.to_string(),
        "reserve": pool.reserve.to_string(),
        "available": pool.available.to_string(),
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatesForm {
    chf: std::collections::BTreeMap<String, Digits>,
    #[serde(default)]
    pairs: Vec<PairForm>,
    #[serde(default)]
    interchange_percent: Option<Digits>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairForm {
    from: String,
    to: String,
    rate: Digits,
    spread: Option<Digits>,
}

/// Interchange of UR's contract, in percent (docs/ur-facts.md, pricing).
const INTERCHANGE_PERCENT: u8 = 1;

fn rate(field: &str, Digits(text): &Digits) -> Result<u32, Malformed> {
    let rate = text.parse().ok().filter(|rate| (1..=RATE_MAX).contains(rate));
    rate.ok_or_else(|| Malformed(format!("{field} must be a whole number, 1 to {RATE_MAX}, got {text:?}")))
}

/// Francs are in thousandths here, as in UR's contract, with one decimal as its API gives it.
fn francs(field: &str, Digits(text): &Digits) -> Result<u32, Malformed> {
    let rate = display_amount(field, text, 1).ok().and_then(|rate| u32::try_from(rate.0).ok());
    rate.filter(|rate| (1..=RATE_MAX).contains(rate)).ok_or_else(|| {
        let max = RATE_MAX / 10;
        Malformed(format!(
            "{field} must be thousandths of a franc with at most one decimal, 0.1 to {max}, got {text:?}"
        ))
    })
}

fn francs_view(rate: u32) -> String {
    let (thousandths, tenths) = (rate / 10, rate % 10);
    if tenths == 0 { thousandths.to_string() } else { format!("{thousandths}.{tenths}") }
}

impl RatesForm {
    /// # Errors
    /// A value is malformed; the message names its field.
    pub fn rates(&self) -> Result<Rates, Malformed> {
        let mut rates = Rates { interchange_percent: INTERCHANGE_PERCENT, ..Rates::default() };
        for (code, value) in &self.chf {
            rates.chf.push((parsed("chf", code)?, francs(&format!("chf.{code}"), value)?));
        }
        for pair in &self.pairs {
            rates.pairs.push(pair.read()?);
        }
        if let Some(Digits(text)) = &self.interchange_percent {
            let percent = text.parse().ok().filter(|percent| *percent <= 100_u8);
            rates.interchange_percent =
                percent.ok_or_else(|| Malformed("interchange_percent must be 0 to 100".to_owned()))?;
        }
        Ok(rates)
    }
}

/// A pair of currencies whose rate is pinned or unpinned.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnpinForm {
    from: String,
    to: String,
}

impl UnpinForm {
    /// # Errors
    /// A currency is malformed.
    pub fn change(&self) -> Result<Change, Malformed> {
        Ok(Change::UnpinRate { pair: (parsed("from", &self.from)?, parsed("to", &self.to)?) })
    }
}

impl PairForm {
    /// Pins the pair.
    ///
    /// # Errors
    /// A value is malformed, or both currencies are the same.
    pub fn pin(&self) -> Result<Change, Malformed> {
        let (pair, conversion) = self.read()?;
        if pair.0 == pair.1 {
            return Err(Malformed("from and to must be two currencies".to_owned()));
        }
        Ok(Change::PinRate { pair, conversion })
    }

    fn read(&self) -> Result<((Currency, Currency), Conversion), Malformed> {
        let between = (parsed("pairs.from", &self.from)?, parsed("pairs.to", &self.to)?);
        let spread = self.spread.as_ref().map_or(Ok(RATE_ONE), |spread| rate("pairs.spread", spread))?;
        Ok((between, Conversion { rate: rate("pairs.rate", &self.rate)?, spread }))
    }
}

#[must_use]
pub fn rates_view(rates: &Rates) -> Value {
    let chf = rates.chf.iter().map(|(currency, rate)| (currency.to_string(), Value::from(francs_view(*rate))));
    let pairs = rates.pairs.iter().map(|((from, to), conversion)| {
        json!({
            "from": from.as_str(), "to": to.as_str(),
            "rate": conversion.rate.to_string(), "spread": conversion.spread.to_string(),
        })
    });
    let kept = rates.kept.iter().map(|((from, to), since)| match since {
        Since::At(at) => json!({"from": from.as_str(), "to": to.as_str(), "pinned": false, "set_at": at.seconds().0}),
        Since::Pinned => json!({"from": from.as_str(), "to": to.as_str(), "pinned": true, "set_at": null}),
    });
    let mut view = json!({
        "chf": chf.collect::<serde_json::Map<_, _>>(),
        "pairs": pairs.collect::<Vec<_>>(),
        "interchange_percent": rates.interchange_percent.to_string(),
        "set_at": rates.set_at.map(|at| at.seconds().0),
    });
    if let Some(fields) = view.as_object_mut().filter(|_| !rates.kept.is_empty()) {
        fields.insert("kept".to_owned(), kept.collect());
    }
    view
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_kept_for_ever_and_so_has_a_bound() {
        let credit = |bytes: usize| CreditForm { amount: Digits("5".to_owned()), reference: "x".repeat(bytes) };
        assert!(credit(REFERENCE_BYTES_MAX).change(Currency::EUR).is_ok());
        let refused = credit(REFERENCE_BYTES_MAX + 1).change(Currency::EUR).unwrap_err();
        assert_eq!(refused.0, "reference must be at most 1024 bytes");
    }

    #[test]
    fn francs_keep_the_digit_that_urs_api_gives_beyond_thousandths() {
        let read = |text: &str| francs("chf.JPY", &Digits(text.to_owned())).ok();
        for (text, rate) in [("945", 9_450), ("941.4", 9_414), ("5.7", 57), ("0.1", 1), ("100000000", RATE_MAX)] {
            assert_eq!(read(text), Some(rate), "{text}");
            assert_eq!(francs_view(rate), text);
        }
        for text in ["0", "-5.7", "5.71", "100000000.1", "1e3", ""] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
