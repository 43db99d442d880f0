//! Countries by ISO 3166-1: one form of each, however it was spelled.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An ISO 3166-1 country, by its alpha-3 code. Read from alpha-2, alpha-3 or numeric codes, so that countries are
/// compared and not spellings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "[u8; 3]", into = "[u8; 3]")]
pub struct Country([u8; 3]);

/// Not a country of ISO 3166-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a country is an ISO 3166 code, such as CHE, CH or 756")]
pub struct CountryError;

impl Country {
    /// Kosovo has no code in the standard; card schemes and the European Union use one of those left to users.
    const KOSOVO: Country = Country(*b"XKX");

    /// The alpha-3 code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Construction admits capital ASCII letters only.
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    fn of(known: Option<rust_iso3166::CountryCode>) -> Result<Country, CountryError> {
        let code = known.and_then(|known| known.alpha3.as_bytes().try_into().ok());
        code.map(Country).ok_or(CountryError)
    }
}

impl FromStr for Country {
    type Err = CountryError;

    fn from_str(text: &str) -> Result<Self, CountryError> {
        // Nearly every callback has the canonical form.
        if let Some(known) = rust_iso3166::from_alpha3(text) {
            return Country::of(Some(known));
        }
        let code = text.trim().to_ascii_uppercase();
        match code.as_str() {
            "XK" | "XKX" => return Ok(Country::KOSOVO),
            // EMV writes the three digits into four.
            digits if matches!(digits.len(), 1..=4) && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Country::of(digits.parse().ok().and_then(rust_iso3166::from_numeric));
            }
            _ => {}
        }
        Country::of(rust_iso3166::from_alpha3(&code).or_else(|| rust_iso3166::from_alpha2(&code)))
    }
}

// A record keeps the code that was known when it was written, whatever the standard has become since.
impl TryFrom<[u8; 3]> for Country {
    type Error = CountryError;

    fn try_from(code: [u8; 3]) -> Result<Self, CountryError> {
        if code.iter().all(u8::is_ascii_uppercase) { Ok(Country(code)) } else { Err(CountryError) }
    }
}

impl From<Country> for [u8; 3] {
    fn from(country: Country) -> [u8; 3] {
        country.0
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_country_is_that_country() {
        let check = |spellings: &[&str], code: &str| {
            for spelling in spellings {
                let country = spelling.parse::<Country>().map(|country| country.to_string());
                assert_eq!(country.as_deref(), Ok(code), "{spelling:?}");
            }
        };
        check(&["PRK", "prk", "KP", "kp", "408", "0408", " PRK "], "PRK");
        check(&["AFG", "AF", "004", "4", "04", "0004"], "AFG");
        check(&["XK", "xkx"], "XKX");
    }

    #[test]
    fn any_other_text_is_no_country() {
        for text in ["", " ", "P1K", "ZZZ", "ZZ", "North Korea", "999", "00408", "-4", "PRKX", "É"] {
            assert_eq!(text.parse::<Country>(), Err(CountryError), "{text:?}");
        }
    }
}
