//! Amounts: on the wire in smallest units, for people in major units, exact to the last digit.

use serde::Deserialize;

use super::screen::Text;

/// UR's own client reads every currency that UR holds with two decimals, the yen too (docs/ur-facts.md, token decimals).
const DECIMALS: usize = 2;

/// Currencies with another number of decimals. UR does not hold these: their amounts come from the card schemes, in the
/// smallest unit of ISO 4217.
const OTHER_DECIMALS: &[(usize, &[&str])] = &[
    (
        0,
        &[
            "BIF", "CLP", "DJF", "GNF", "ISK", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF",
            "XPF",
        ],
    ),
    (3, &["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"]),
    (4, &["CLF", "UYW"]),
    (6, &["USDC", "USDT"]),
];

fn decimals(currency: &str) -> usize {
    let other = OTHER_DECIMALS.iter().find(|(_, currencies)| currencies.contains(&currency));
    other.map_or(DECIMALS, |(decimals, _)| *decimals)
}

/// A whole number with its point `decimals` digits from the right; any other text is unchanged.
pub(in crate::cli) fn with_point(digits: &str, decimals: usize) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    if decimals == 0 || digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!("{sign}{digits}");
    }
    let padded = format!("{digits:0>width$}", width = decimals + 1);
    let (major, minor) = padded.split_at(padded.len() - decimals);
    format!("{sign}{major}.{minor}")
}

/// `1250`, `EUR` as `12.50`.
pub(in crate::cli) fn figure(minor: &str, currency: &str) -> String {
    with_point(minor, decimals(currency))
}

/// `1250`, `EUR` as `12.50 EUR`.
pub(in crate::cli) fn amount(minor: &str, currency: &str) -> String {
    format!("{} {currency}", figure(minor, currency))
}

/// Centimes as `12.50 CHF`.
pub(in crate::cli) fn chf(centimes: &str) -> String {
    amount(centimes, "CHF")
}

/// An amount with its currency, as the API gives it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(in crate::cli) struct Money {
    amount: Text,
    currency: Text,
}

impl Money {
    /// Reads `1250 EUR`, the form of a check's values; `None` for any other text.
    pub(in crate::cli) fn parse(text: &str) -> Option<Money> {
        let (amount, currency) = text.split_once(' ')?;
        amount.parse::<i64>().ok()?;
        let is_code = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase());
        is_code.then(|| Money { amount: Text::of(amount), currency: Text::of(currency) })
    }

    pub(in crate::cli) fn new(minor: i128, currency: &str) -> Money {
        Money { amount: Text::of(&minor.to_string()), currency: Text::of(currency) }
    }

    /// In smallest units; `None` if it is not a number.
    pub(in crate::cli) fn minor(&self) -> Option<i128> {
        self.amount.as_str().parse().ok()
    }

    pub(in crate::cli) fn currency(&self) -> &str {
        self.currency.as_str()
    }

    /// The amount less `minor`; `None` if it is not a number.
    pub(in crate::cli) fn less(&self, minor: i128) -> Option<Money> {
        Some(Money::new(self.minor()? - minor, self.currency()))
    }

    /// The excess over `other`; `None` in another currency, or without an excess.
    pub(in crate::cli) fn beyond(&self, other: &Money) -> Option<Money> {
        let more = self.minor()? - other.minor()?;
        (self.currency == other.currency && more > 0).then(|| Money::new(more, self.currency()))
    }
}

impl std::fmt::Display for Money {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&amount(self.amount.as_str(), self.currency.as_str()))
    }
}

/// An amount on the command line: a whole number of smallest units, as everywhere in the API. A decimal point is
/// refused, because its meaning would be a guess about money.
pub(in crate::cli) fn smallest_units(text: &str) -> Result<String, String> {
    let fits = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    if fits && canonical {
        return Ok(text.to_owned());
    }
    Err("amounts are whole numbers of the smallest unit: 12.50 EUR is 1250".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_in_every_currency() {
        let check = |minor: &str, currency: &str, expected: &str| assert_eq!(amount(minor, currency), expected);
        check("1250", "EUR", "12.50 EUR");
        check("5", "EUR", "0.05 EUR");
        check("0", "CHF", "0.00 CHF");
        check("-1", "USD", "-0.01 USD");
        check("-123456", "USD", "-1234.56 USD");
        check("1250", "JPY", "12.50 JPY");
        check("1250", "KRW", "1250 KRW");
        check("1250", "KWD", "1.250 KWD");
        check("3000000", "USDC", "3.000000 USDC");
        check("1000000000000000", "EUR", "10000000000000.00 EUR");
        check("9223372036854775807", "EUR", "92233720368547758.07 EUR");
        check("never", "EUR", "never EUR");
    }

    #[test]
    fn only_whole_smallest_units_are_accepted() {
        for good in ["0", "1", "1250", "999999999999999999"] {
            assert_eq!(smallest_units(good).as_deref(), Ok(good));
        }
        for bad in ["", "12.50", "-1", "+1", "01", "1e3", "1,000", "1000000000000000000"] {
            assert!(smallest_units(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_shortfall_is_shown_in_one_currency_only() {
        let money = |text: &str| Money::parse(text).unwrap();
        assert_eq!(money("600 EUR").beyond(&money("487 EUR")).unwrap().to_string(), "1.13 EUR");
        assert!(money("487 EUR").beyond(&money("487 EUR")).is_none());
        assert!(money("600 EUR").beyond(&money("487 USD")).is_none());
        assert!(Money::parse("no funds were given").is_none());
    }
}
