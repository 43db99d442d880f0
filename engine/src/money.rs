//! Money as checked integers in the smallest unit of a currency.
//!
//! Decimals exist only at UR's edge; inside the engine an amount is an integer, and every operation on it either
//! is exact or says its rounding aloud.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The largest single amount: of a request, of UR's transactions and balances, of a figure that a person sets. 10^15
/// smallest units (`docs/interface.md`, order of checks). Products with rates stay inside `i128`.
pub const AMOUNT_MAX: Minor = Minor(1_000_000_000_000_000);

/// What an accumulated figure may have reached when one more amount is added: 500 amounts. Beyond it a record that would
/// raise the figure is refused before it is written.
pub const ROOM_MAX: Minor = Minor(500 * AMOUNT_MAX.0);

/// What no figure of a legal journal exceeds: 2,000 amounts. [`ROOM_MAX`], one more amount from each of the threads that
/// saw room at once, and what one authorization of at most 1,000 draws gives back, stay below it.
pub const SUM_MAX: Minor = Minor(2_000 * AMOUNT_MAX.0);

// No expression adds or subtracts more than four figures.
const _: () = assert!(SUM_MAX.0.checked_mul(4).is_some());

/// An amount in the smallest unit of some currency (cents for EUR). Signed, because a pool's available figure can
/// fall below zero by force-posts and reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Minor(pub i64);

/// An amount in centimes of a Swiss franc: the unit of `usedLimit` and `clientLimit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChfMinor(pub i64);

macro_rules! amount {
    ($name:ident) => {
        impl $name {
            /// Nothing.
            pub const ZERO: $name = $name(0);

            /// The exact sum, or `None` where it leaves `i64`.
            #[must_use]
            pub fn checked_add(self, other: $name) -> Option<$name> {
                self.0.checked_add(other.0).map($name)
            }

            /// The exact difference, or `None` where it leaves `i64`.
            #[must_use]
            pub fn checked_sub(self, other: $name) -> Option<$name> {
                self.0.checked_sub(other.0).map($name)
            }

            /// The sum, held at the ends of `i64`. Only where the end means "nothing left" or "more than anything".
            #[must_use]
            pub fn saturating_add(self, other: $name) -> $name {
                $name(self.0.saturating_add(other.0))
            }

            /// The difference, held at the ends of `i64`. Only as [`Self::saturating_add`].
            #[must_use]
            pub fn saturating_sub(self, other: $name) -> $name {
                $name(self.0.saturating_sub(other.0))
            }

            /// The figure counted `weight` times.
            ///
            /// # Panics
            /// The product leaves `i64`: no bound was checked before.
            #[must_use]
            #[track_caller]
            pub fn times(self, weight: u8) -> $name {
                let product = self.0.checked_mul(i64::from(weight));
                product.map_or_else(|| overflow(stringify!($name), self.0, "times", i64::from(weight)), $name)
            }

            /// Whether an accumulated figure has room for one more amount ([`ROOM_MAX`]).
            #[must_use]
            pub fn has_room(self) -> bool {
                (-ROOM_MAX.0..=ROOM_MAX.0).contains(&self.0)
            }

            /// Whether this is exactly nothing.
            #[must_use]
            pub fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// `ceil(self × part / whole)` for non-negative figures with `part <= whole`: the share that still
            /// stands when `part` of `whole` remains. Rounds up, so that a hold never falls short of what it covers;
            /// 0 of anything is exactly 0.
            #[must_use]
            pub fn share_rounded_up(self, part: i64, whole: i64) -> $name {
                if part <= 0 || whole <= 0 {
                    return $name(0);
                }
                if part >= whole {
                    return self;
                }
                let whole = i128::from(whole);
                let share = (i128::from(self.0) * i128::from(part) + whole - 1) / whole;
                // The share is at most `self`, which fits.
                $name(i64::try_from(share).unwrap_or(self.0))
            }
        }

        impl Add for $name {
            type Output = $name;

            #[inline]
            #[track_caller]
            fn add(self, other: $name) -> $name {
                match self.0.checked_add(other.0) {
                    Some(sum) => $name(sum),
                    None => overflow(stringify!($name), self.0, "plus", other.0),
                }
            }
        }

        impl Sub for $name {
            type Output = $name;

            #[inline]
            #[track_caller]
            fn sub(self, other: $name) -> $name {
                match self.0.checked_sub(other.0) {
                    Some(difference) => $name(difference),
                    None => overflow(stringify!($name), self.0, "minus", other.0),
                }
            }
        }

        impl Neg for $name {
            type Output = $name;

            #[inline]
            #[track_caller]
            fn neg(self) -> $name {
                $name::ZERO - self
            }
        }

        impl AddAssign for $name {
            #[inline]
            #[track_caller]
            fn add_assign(&mut self, other: $name) {
                *self = *self + other;
            }
        }

        impl SubAssign for $name {
            #[inline]
            #[track_caller]
            fn sub_assign(&mut self, other: $name) {
                *self = *self - other;
            }
        }

        impl Sum for $name {
            #[track_caller]
            fn sum<I: Iterator<Item = $name>>(figures: I) -> $name {
                figures.fold($name::ZERO, |sum, figure| sum + figure)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

amount!(Minor);
amount!(ChfMinor);

/// Every figure is bounded before it is added ([`SUM_MAX`]): one that leaves `i64` is a bug, and no wrong figure may stand
/// in the books.
#[cold]
#[inline(never)]
#[track_caller]
#[expect(clippy::panic, reason = "a bug in the bounds of money ends the process")]
fn overflow(unit: &str, figure: i64, operation: &str, other: i64) -> ! {
    panic!("money overflows: {figure} {operation} {other} in {unit} leaves 64 bits")
}

/// A currency by its ISO 4217 code, three capital letters. UR books onshore `CNY` as offshore `CNH`, so both are the one
/// currency `CNH` from the moment that they are read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "[u8; 3]", into = "[u8; 3]")]
pub struct Currency([u8; 3]);

impl Currency {
    /// Euro: the settlement currency of UR's card scheme.
    pub const EUR: Currency = Currency(*b"EUR");
    /// US dollar: the base of UR's rates.
    pub const USD: Currency = Currency(*b"USD");
    /// Swiss franc: the currency of the client limit.
    pub const CHF: Currency = Currency(*b"CHF");
    /// Pound sterling.
    pub const GBP: Currency = Currency(*b"GBP");
    /// Renminbi.
    pub const CNH: Currency = Currency(*b"CNH");
    /// Singapore dollar.
    pub const SGD: Currency = Currency(*b"SGD");
    /// Yen; UR counts hundredths of it.
    pub const JPY: Currency = Currency(*b"JPY");
    /// Hong Kong dollar.
    pub const HKD: Currency = Currency(*b"HKD");

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Construction admits capital ASCII letters only.
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// Whether UR itself holds balances in it, so that an authorization in it is priced from its transaction amount
    /// and not from the settlement amount (docs/ur-facts.md, token list).
    #[must_use]
    pub fn is_held_by_ur(self) -> bool {
        matches!(&self.0, b"USD" | b"EUR" | b"CHF" | b"GBP" | b"CNH" | b"JPY" | b"SGD" | b"HKD")
    }
}

/// A currency code as its sender wrote it, which an answer repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "[u8; 3]", into = "[u8; 3]")]
pub struct CurrencyCode([u8; 3]);

impl CurrencyCode {
    const CNY: CurrencyCode = CurrencyCode(*b"CNY");

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Construction admits capital ASCII letters only.
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// The currency that the code names.
    #[must_use]
    pub fn currency(self) -> Currency {
        if self == CurrencyCode::CNY { Currency::CNH } else { Currency(self.0) }
    }

    /// The code, where it is not the currency's own.
    #[must_use]
    pub fn alias(self) -> Option<CurrencyCode> {
        (self != CurrencyCode::from(self.currency())).then_some(self)
    }
}

/// A currency code was not three capital ASCII letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a currency is three capital letters, such as EUR")]
pub struct CurrencyError;

impl TryFrom<[u8; 3]> for CurrencyCode {
    type Error = CurrencyError;

    fn try_from(code: [u8; 3]) -> Result<Self, CurrencyError> {
        if code.iter().all(u8::is_ascii_uppercase) { Ok(CurrencyCode(code)) } else { Err(CurrencyError) }
    }
}

impl From<CurrencyCode> for [u8; 3] {
    fn from(code: CurrencyCode) -> [u8; 3] {
        code.0
    }
}

impl From<Currency> for CurrencyCode {
    fn from(currency: Currency) -> CurrencyCode {
        CurrencyCode(currency.0)
    }
}

impl FromStr for CurrencyCode {
    type Err = CurrencyError;

    fn from_str(text: &str) -> Result<Self, CurrencyError> {
        let code: [u8; 3] = text.as_bytes().try_into().map_err(|_| CurrencyError)?;
        CurrencyCode::try_from(code)
    }
}

impl TryFrom<[u8; 3]> for Currency {
    type Error = CurrencyError;

    fn try_from(code: [u8; 3]) -> Result<Self, CurrencyError> {
        // No record is written with another name of a currency, so each has one encoding.
        CurrencyCode::try_from(code)
            .map(CurrencyCode::currency)
            .and_then(|currency| if currency.0 == code { Ok(currency) } else { Err(CurrencyError) })
    }
}

impl From<Currency> for [u8; 3] {
    fn from(currency: Currency) -> [u8; 3] {
        currency.0
    }
}

impl FromStr for Currency {
    type Err = CurrencyError;

    fn from_str(text: &str) -> Result<Self, CurrencyError> {
        text.parse().map(CurrencyCode::currency)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount with its currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// The amount, in the smallest unit of `currency`.
    pub amount: Minor,
    /// Its currency.
    pub currency: Currency,
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_rounds_up_and_ends_exactly_at_zero_and_at_the_whole() {
        let check = |paid: i64, part: i64, whole: i64, expected: i64| {
            assert_eq!(Minor(paid).share_rounded_up(part, whole), Minor(expected), "{paid} x {part}/{whole}");
        };
        check(1000, 1000, 1000, 1000);
        check(1000, 0, 1000, 0);
        check(1000, 1, 3, 334);
        check(1, 1, 1000, 1);
        check(AMOUNT_MAX.0, AMOUNT_MAX.0 - 1, AMOUNT_MAX.0, AMOUNT_MAX.0 - 1);
    }

    #[test]
    fn sums_are_exact_up_to_the_bounds() {
        assert_eq!(Minor(2) + Minor(3) - Minor(6), -Minor(1));
        assert_eq!([SUM_MAX; 4].into_iter().sum::<Minor>(), Minor(4 * SUM_MAX.0));
        assert_eq!(ChfMinor(7).times(2), ChfMinor(14));
        assert!(ROOM_MAX.has_room() && (-ROOM_MAX).has_room() && !(ROOM_MAX + Minor(1)).has_room());
    }

    #[test]
    #[should_panic(expected = "money overflows: 9223372036854775807 plus 1 in Minor leaves 64 bits")]
    fn a_sum_that_leaves_64_bits_ends_the_process() {
        let _ = Minor(i64::MAX) + Minor(1);
    }

    #[test]
    #[should_panic(expected = "money overflows: -9223372036854775808 minus 1 in ChfMinor leaves 64 bits")]
    fn a_difference_that_leaves_64_bits_ends_the_process() {
        let _ = ChfMinor(i64::MIN) - ChfMinor(1);
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!("EUR".parse(), Ok(Currency::EUR));
        for bad in ["", "eur", "Eur", "EUR ", "EURO", "EU", "E1R", "ÄB"] {
            assert_eq!(bad.parse::<Currency>(), Err(CurrencyError), "{bad}");
        }
        for renminbi in ["CNY", "CNH"] {
            assert_eq!(renminbi.parse(), Ok(Currency::CNH), "{renminbi}");
            assert_eq!(renminbi.parse::<CurrencyCode>().as_ref().map(CurrencyCode::as_str), Ok(renminbi));
        }
        for bytes in [*b"CNY", *b"eur"] {
            assert_eq!(Currency::try_from(bytes), Err(CurrencyError), "bytes of a record have one form");
        }
    }
}
