//! One setting's value, and the forms it may take.

use std::fmt::Display;
use std::ops::RangeInclusive;

use rust_decimal::Decimal;
use toml::de::{DeInteger, DeValue};

use super::errors::Place;

/// Longest piece of a bad value that a message repeats, in characters.
const ECHO_CHARS_MAX: usize = 60;

/// Longest unknown name that a message repeats, in characters: longer than every known name, shorter than any key.
const NAME_CHARS_MAX: usize = 32;

/// A value with its path and its place.
pub(super) struct Setting<'a> {
    pub(super) path: String,
    pub(super) place: Place,
    pub(super) given: Given<'a>,
}

/// The raw value.
#[derive(Clone, Copy)]
pub(super) enum Given<'a> {
    /// From the file.
    Toml(&'a DeValue<'a>),
    /// From a variable: its text is a string, or TOML.
    Text { text: &'a str, value: Option<&'a DeValue<'a>> },
}

impl<'a> Setting<'a> {
    /// A string. No error of this function repeats its content, so it may be a secret.
    pub(super) fn text(&self) -> Result<&'a str, String> {
        match self.given {
            Given::Toml(DeValue::String(text)) | Given::Text { value: Some(DeValue::String(text)), .. } => Ok(text),
            Given::Text { text, .. } => Ok(text),
            Given::Toml(other) => Err(wrong_type("a string", other)),
        }
    }

    /// A string that `parse` accepts; the error repeats one that it rejects.
    pub(super) fn parsed<T, E: Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, String> {
        let text = self.text()?;
        parse(text).map_err(|error| format!("{error}, got {}", quoted(text)))
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, String> {
        let one_of = || format!("must be {}", either(words.iter().map(|(word, _)| format!("\"{word}\""))));
        self.parsed(|text| words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(one_of))
    }

    /// An integer within a range.
    pub(super) fn integer<T>(&self, range: RangeInclusive<T>) -> Result<T, String>
    where
        T: Copy + Into<u64> + TryFrom<u64>,
    {
        let (low, high): (u64, u64) = ((*range.start()).into(), (*range.end()).into());
        let must_be = || match high - low {
            0..=2 => format!("must be {}", either((low..=high).map(|number| number.to_string()))),
            _ => format!("must be {low} to {high}"),
        };
        let DeValue::Integer(integer) = self.toml("an integer")? else {
            return Err(self.not("an integer"));
        };
        unsigned(integer)
            .filter(|number| (low..=high).contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| format!("{}, got {}", must_be(), cut(&integer.to_string())))
    }

    /// A number within a range, with or without a decimal point.
    pub(super) fn decimal(&self, range: RangeInclusive<Decimal>) -> Result<Decimal, String> {
        let text = match self.toml("a number")? {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
            DeValue::Float(float) => float.as_str(),
            _ => return Err(self.not("a number")),
        };
        let number = Decimal::from_str_exact(text).ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("must be {} to {}, got {}", range.start(), range.end(), cut(text)))
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool, String> {
        match self.toml("true or false")? {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.not("true or false")),
        }
    }

    /// The value as TOML, for every type but strings.
    pub(super) fn toml(&self, expected: &str) -> Result<&'a DeValue<'a>, String> {
        match self.given {
            Given::Toml(value) | Given::Text { value: Some(value), .. } => Ok(value),
            Given::Text { value: None, .. } => Err(self.not(expected)),
        }
    }

    /// The message on a wrong type.
    pub(super) fn not(&self, expected: &str) -> String {
        match self.given {
            Given::Toml(value) => wrong_type(expected, value),
            // An unquoted address is an integer in TOML: naming that type would confuse.
            Given::Text { .. } => format!("must be {expected}, in TOML"),
        }
    }
}

pub(super) fn wrong_type(expected: &str, given: &DeValue<'_>) -> String {
    let article = if matches!(given, DeValue::Integer(_) | DeValue::Array(_)) { "an" } else { "a" };
    format!("must be {expected}, got {article} {}", given.type_str())
}

/// A piece of a bad value, short and on one line.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", cut(&text.escape_debug().to_string()))
}

/// An unknown name, unless its length suggests a secret on the wrong side of the `=`.
pub(super) fn shown_name(name: &str) -> String {
    match name.chars().count() {
        0..=NAME_CHARS_MAX => name.to_owned(),
        length => format!("(a name of {length} characters)"),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(ECHO_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn unsigned(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// "a, b or c".
fn either(words: impl IntoIterator<Item = String>) -> String {
    let mut words: Vec<String> = words.into_iter().collect();
    match (words.pop(), words.is_empty()) {
        (Some(last), false) => format!("{} or {last}", words.join(", ")),
        (last, _) => last.unwrap_or_default(),
    }
}
