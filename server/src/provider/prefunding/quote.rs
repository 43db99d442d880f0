//! The cost of a top-up in USDC, and the check of UR's quotes.

use tapgate_engine::money::{Currency, Minor};

use crate::wire::ur::{FIAT_DECIMALS, STABLECOIN_DECIMALS};

/// UR's least amount, in millionths of a USDC: 3 USDC (seed 003).
const PAID_MIN: i64 = 3_000_000;

/// Payments are whole cents of a USDC; here in millionths.
const CENT: i128 = 10_000;

/// Factor from a dollar's millionths and a rate on 10,000 to hundredths of the other currency.
const SCALE: i128 = 100_000_000;

const BPS: i128 = 10_000;

/// A pool's own rate to the dollar, and the tolerance of quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Yardstick {
    /// Units of the pool's currency for one dollar, on 10,000; above 0.
    pub rate: u32,
    pub tolerance_bps: u16,
}

impl Yardstick {
    /// The cost of an amount of the pool's currency in millionths of a USDC, without fees: rounded up to whole cents,
    /// and at least UR's least amount. `None` if it exceeds the range of an amount.
    #[must_use]
    pub fn cost(self, amount: Minor) -> Option<Minor> {
        in_cents(i128::from(amount.0) * SCALE, i128::from(self.rate))
    }

    /// The output of a payment in millionths of a USDC at the worst quote within the tolerance; floors.
    #[must_use]
    pub fn least_output(self, paid: Minor) -> Minor {
        fit(self.worth(paid) * (BPS - i128::from(self.tolerance_bps)) / BPS).unwrap_or(Minor::ZERO)
    }

    /// Whether a quote is plausible.
    ///
    /// # Errors
    /// The deviation. A quote that yields too much is an error in UR's or our rates: UR's wire has two forms of
    /// amounts, a factor of a hundred apart.
    pub fn judge(self, paid: Minor, output: Minor) -> Result<(), String> {
        let worth = self.worth(paid);
        let off = i128::from(output.0) - worth;
        if off.abs() * BPS <= worth * i128::from(self.tolerance_bps) {
            return Ok(());
        }
        let bps = (off.abs() * BPS).checked_div(worth).unwrap_or(BPS);
        let which = if off < 0 { "less" } else { "more" };
        Err(format!(
            "UR's quote gives {}.{:02} % {which} than tapgate's own rate, and quote_tolerance_bps allows {}.{:02} %",
            bps / 100,
            bps % 100,
            self.tolerance_bps / 100,
            self.tolerance_bps % 100,
        ))
    }

    /// In the pool's smallest units; floors.
    fn worth(self, paid: Minor) -> i128 {
        i128::from(paid.0) * i128::from(self.rate) / SCALE
    }
}

/// The payment for `wanted` if `paid` was quoted at `output`; `None` if the quote yields nothing.
#[must_use]
pub fn corrected(paid: Minor, output: Minor, wanted: Minor) -> Option<Minor> {
    in_cents(i128::from(paid.0) * i128::from(wanted.0), i128::from(output.0))
}

/// `ceil(dividend / divisor)` in whole cents of a USDC.
fn in_cents(dividend: i128, divisor: i128) -> Option<Minor> {
    if divisor <= 0 {
        return None;
    }
    let cents = (dividend + divisor * CENT - 1) / (divisor * CENT);
    fit((cents * CENT).max(i128::from(PAID_MIN)))
}

fn fit(amount: i128) -> Option<Minor> {
    i64::try_from(amount).ok().map(Minor)
}

/// Millionths of a USDC for people: whole cents, rounded up.
#[must_use]
pub fn usdc(paid: Minor) -> String {
    let cents = (i128::from(paid.0) + CENT - 1) / CENT;
    format!("{}.{:02} USDC", cents / 100, cents % 100)
}

/// A pool's amount for people.
#[must_use]
pub fn fiat(amount: Minor, currency: Currency) -> String {
    let one = 10_i64.pow(FIAT_DECIMALS);
    format!("{}.{:02} {currency}", amount.0 / one, amount.0 % one)
}

const _: () = assert!(FIAT_DECIMALS == 2 && STABLECOIN_DECIMALS == 6);

#[cfg(test)]
mod tests {
    use super::*;

    const EUR: Yardstick = Yardstick { rate: 9_168, tolerance_bps: 250 };

    #[test]
    fn a_cost_is_whole_cents_rounded_up_and_at_least_what_ur_takes() {
        let check = |amount: i64, expected: i64| assert_eq!(EUR.cost(Minor(amount)), Some(Minor(expected)), "{amount}");
        check(91_680, 1_000_000_000);
        check(91_681, 1_000_020_000);
        check(1, 3_000_000);
        assert_eq!(EUR.cost(Minor(i64::MAX)), None);
        assert_eq!(EUR.least_output(Minor(1_000_000_000)), Minor(89_388));
    }

    #[test]
    fn a_quote_is_judged_by_the_ledgers_rate_either_way() {
        let paid = Minor(1_000_000_000);
        let check =
            |output: i64, is_right: bool| assert_eq!(EUR.judge(paid, Minor(output)).is_ok(), is_right, "{output}");
        check(91_680, true);
        check(89_388, true);
        check(89_387, false);
        check(93_972, true);
        check(93_973, false);
        check(9_168_000, false);
        check(0, false);
        let words = EUR.judge(paid, Minor(80_000)).unwrap_err();
        assert!(words.contains("12.73 % less") && words.contains("2.50 %"), "{words}");
    }

    #[test]
    fn a_correction_reaches_what_is_wanted() {
        assert_eq!(corrected(Minor(1_000_000_000), Minor(90_000), Minor(91_680)), Some(Minor(1_018_670_000)));
        assert_eq!(corrected(Minor(1_000_000_000), Minor(0), Minor(1)), None);
        assert_eq!(
            (usdc(Minor(1_018_660_001)), fiat(Minor(5), Currency::EUR)),
            ("1018.67 USDC".into(), "0.05 EUR".into())
        );
    }
}
