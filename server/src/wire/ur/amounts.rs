//! UR's two forms of amounts, a factor of 100 apart, and its rates.

use std::borrow::Cow;

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Value;
use tapgate_engine::money::{AMOUNT_MAX, Minor};

use crate::wire::Malformed;

/// Every fiat token of UR has 2 decimals, JPY too (docs/ur-facts.md).
pub const FIAT_DECIMALS: u32 = 2;

/// USDC and USDT.
pub const STABLECOIN_DECIMALS: u32 = 6;

/// Decimals of the contract's rates: 10,000 is 1.0 (docs/ur-facts.md, "How UR prices").
const RATE_DECIMALS: u32 = 4;

/// The form of an endpoint's amounts. A setting, and never concluded from a value: `100` may be either, a hundredfold apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmountForm {
    /// Units with up to the token's decimals; a whole amount needs no point.
    Decimal,
    /// Decimal, as UR documents it, but no person has confirmed it.
    Unconfirmed,
    /// A whole number of smallest units.
    SmallestUnit,
}

impl AmountForm {
    /// An amount in smallest units.
    ///
    /// # Errors
    /// An amount of another form, more decimals than the token has, or more than [`AMOUNT_MAX`].
    pub fn read(self, field: &str, text: &str, decimals: u32) -> Result<Minor, Malformed> {
        match self {
            AmountForm::Decimal | AmountForm::Unconfirmed => display_amount(field, text, decimals),
            AmountForm::SmallestUnit if text.contains('.') => {
                Err(Malformed(format!("{field} must be a whole number of smallest units, got {text:?}")))
            }
            AmountForm::SmallestUnit => display_amount(field, text, 0),
        }
    }
}

/// A signed display decimal, such as `+11.94`, `-6.00`, `-100` or `+1,234.50`, in smallest units.
///
/// # Errors
/// Any other form, more decimals than the token has, or more than [`AMOUNT_MAX`].
pub fn display_amount(field: &str, text: &str, decimals: u32) -> Result<Minor, Malformed> {
    let units = plain(&ungrouped(text)).and_then(|amount| in_units(amount, decimals));
    let units = units.filter(|units| units.unsigned_abs() <= AMOUNT_MAX.0.unsigned_abs());
    units.map(Minor).ok_or_else(|| Malformed(format!("{field} must be an amount such as -6.00, got {text:?}")))
}

/// A rate on 10,000: a decimal if it contains a point (rounded down), otherwise already in that form.
///
/// # Errors
/// Not a positive number, or a number beyond 32 bits.
pub fn ten_thousandths(field: &str, value: &Value) -> Result<u32, Malformed> {
    let text = text_of(value).unwrap_or_default();
    let down = |rate: Decimal| rate.round_dp_with_strategy(RATE_DECIMALS, RoundingStrategy::ToZero);
    let decimals = if text.contains('.') { RATE_DECIMALS } else { 0 };
    let rate = plain(&text).and_then(|rate| in_units(down(rate), decimals));
    let rate = rate.and_then(|rate| u32::try_from(rate).ok()).filter(|rate| *rate > 0);
    rate.ok_or_else(|| Malformed(format!("{field} must be a rate such as 1.0907 or 10907, got {text:?}")))
}

/// A JSON string or number as text.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The text without the separators of its thousands. Separators in any other place stay, and make it no amount: `1,5` may
/// be one and a half.
fn ungrouped(text: &str) -> Cow<'_, str> {
    let is_separator = |shown: char| matches!(shown, ',' | '\'' | '’' | ' ' | '\u{a0}' | '\u{202f}');
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let Some(separator) = whole.chars().find(|shown| is_separator(*shown)) else { return Cow::Borrowed(text) };
    let mut groups = whole.split(separator);
    let first = groups.next().unwrap_or_default().trim_start_matches(['+', '-']);
    if (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3) {
        Cow::Owned(whole.replace(separator, "") + fraction)
    } else {
        Cow::Borrowed(text)
    }
}

/// Digits with at most one point and an optional sign: no exponent, no separators.
fn plain(text: &str) -> Option<Decimal> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let begins = digits.starts_with(|first: char| first.is_ascii_digit());
    let only = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if begins && only { Decimal::from_str_exact(text).ok() } else { None }
}

fn in_units(amount: Decimal, decimals: u32) -> Option<i64> {
    let units = amount.checked_mul(Decimal::from(10_u64.checked_pow(decimals)?))?;
    if units.fract().is_zero() { units.to_i64() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_forms_of_amounts_are_a_factor_of_a_hundred_apart() {
        let read = |form: AmountForm, text: &str| form.read("amount", text, FIAT_DECIMALS).ok().map(|amount| amount.0);
        for (text, as_decimal, as_units) in [
            ("+11.94", Some(1194), None),
            ("-6.00", Some(-600), None),
            ("-100", Some(-10_000), Some(-100)),
            ("1000000", Some(100_000_000), Some(1_000_000)),
            ("12.5", Some(1250), None),
            ("12.500", Some(1250), None),
            ("0.001", None, None),
            (".5", None, None),
            ("", None, None),
            ("1e3", None, None),
            ("-1,234.50", Some(-123_450), None),
            ("+1,234,567", Some(123_456_700), Some(1_234_567)),
            ("1'234.50", Some(123_450), None),
            ("1 234.50", Some(123_450), None),
            ("1,5", None, None),
            ("1,23,456", None, None),
            ("1234,567", None, None),
            ("1,234'567", None, None),
            (",123", None, None),
            ("1.234,50", None, None),
            ("--1", None, None),
            ("99999999999999999999", None, None),
        ] {
            let found = (read(AmountForm::Decimal, text), read(AmountForm::SmallestUnit, text));
            assert_eq!(found, (as_decimal, as_units), "{text}");
        }
    }

    #[test]
    fn rates_are_decimals_or_ten_thousandths() {
        let rate = |value: Value| ten_thousandths("rate", &value).ok();
        assert_eq!(rate("1.0907".into()), Some(10_907));
        assert_eq!(rate("1.09079".into()), Some(10_907));
        assert_eq!(rate("10907".into()), Some(10_907));
        assert_eq!(rate(serde_json::json!(0.9168)), Some(9_168));
        assert_eq!(rate("0.00001".into()), None, "nothing is worth nothing");
        assert_eq!(rate("-1.0".into()), None);
        assert_eq!(rate("1,090".into()), None, "a rate has no thousands: this may be 1.09");
        assert_eq!(rate(Value::Null), None);
    }
}
