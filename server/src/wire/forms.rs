//! Forms that several shapes share: numbers as text, amounts, times.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use compact_str::CompactString;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::value::RawValue;
use tapgate_engine::money::Minor;
use tapgate_engine::time::UnixMillis;

/// The body does not have the required form. The message begins with the place or the field, and quotes values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl Malformed {
    /// The place or the field.
    #[must_use]
    pub fn field(&self) -> &str {
        self.0.split([' ', ':']).next().unwrap_or_default()
    }

    /// The message with the form of quoted values alone: their digits become 9, their letters x.
    #[must_use]
    pub fn redacted(&self) -> CompactString {
        let (mut is_quoted, mut is_escaped) = (false, false);
        let redact = |shown: char| {
            is_quoted ^= shown == '"' && !is_escaped;
            is_escaped = shown == '\\' && !is_escaped;
            match shown {
                _ if !is_quoted => shown,
                digit if digit.is_numeric() => '9',
                letter if letter.is_alphabetic() => 'x',
                other => other,
            }
        };
        self.0.chars().map(redact).collect()
    }
}

/// A JSON string or a JSON integer, as text.
#[derive(Debug)]
pub struct Digits(pub String);

impl<'de> Deserialize<'de> for Digits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digits, D::Error> {
        struct Either(PhantomData<()>);
        impl Visitor<'_> for Either {
            type Value = Digits;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an integer")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Digits, E> {
                Ok(Digits(number.to_string()))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Digits, E> {
                Ok(Digits(text.to_owned()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Digits, E> {
                Ok(Digits(number.to_string()))
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// A string, a number or a boolean as text. Half an emoji, where an acquirer cut a string by its UTF-16 units, becomes
/// the replacement character.
pub(super) fn text_of_raw(raw: &RawValue) -> Option<Cow<'_, str>> {
    struct Bytes;
    impl<'de> Visitor<'de> for Bytes {
        type Value = Cow<'de, str>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
            Ok(String::from_utf8_lossy(bytes))
        }
        fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
            Ok(Cow::Owned(String::from_utf8_lossy(bytes).into_owned()))
        }
    }
    let source = raw.get();
    match source.as_bytes().first()? {
        // Serde's JSON gives a string's bytes where its text is not Unicode.
        b'"' => serde_json::Deserializer::from_str(source).deserialize_bytes(Bytes).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(source)),
    }
}

/// `0|[1-9][0-9]{0,17}`, in smallest units.
///
/// # Errors
/// Any other form.
pub(super) fn amount(field: &str, text: &str) -> Result<Minor, Malformed> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| canonical && digits);
    number.map(Minor).ok_or_else(|| {
        Malformed(format!("{field} must be a whole number of smallest units, 1 to 18 digits without leading zeros"))
    })
}

/// As [`amount`], with a minus sign before an amount below zero.
///
/// # Errors
/// Any other form.
pub(super) fn signed_amount(field: &str, text: &str) -> Result<Minor, Malformed> {
    match text.strip_prefix('-').filter(|below| *below != "0") {
        Some(below) => amount(field, below).map(|amount| -amount),
        None => amount(field, text),
    }
}

/// The end of the year 9999: a later value is not in seconds.
const UNIX_SECONDS_MAX: u64 = 253_402_300_799;

/// A time in unix seconds.
///
/// # Errors
/// After the year 9999.
pub(super) fn unix_seconds(field: &str, seconds: u64) -> Result<UnixMillis, Malformed> {
    if seconds > UNIX_SECONDS_MAX {
        return Err(Malformed(format!("{field} must be in unix seconds, 0 to {UNIX_SECONDS_MAX}, got {seconds}")));
    }
    Ok(UnixMillis(seconds * 1_000))
}

pub(super) fn parsed<T: FromStr>(field: &str, text: &str) -> Result<T, Malformed>
where
    T::Err: fmt::Display,
{
    text.parse().map_err(|error| Malformed(format!("{field}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redacted_message_shows_the_form_of_values_and_no_value() {
        for (message, field, redacted) in [
            ("amount must be 1.0, got \"-1,234.5 EUR\"", "amount", "amount must be 1.0, got \"-9,999.9 xxx\""),
            ("urId: is missing", "urId", "urId: is missing"),
            (r#"title is "a\"b\\" or "7""#, "title", r#"title is "x\"x\\" or "9""#),
            ("", "", ""),
        ] {
            let error = Malformed(message.to_owned());
            assert_eq!((error.field(), error.redacted().as_str()), (field, redacted));
        }
    }
}
