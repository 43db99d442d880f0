//! What names the person behind a user. No record holds it, so that it can be erased.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::bytes::Buffer;
use crate::text::is_printable;

/// A text was empty, too long, had spaces around, or held a character that is not printable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be 1 to {bytes_max} bytes of printable text, without control characters, marks of direction or spaces around"
)]
pub struct NameError {
    /// The longest form allowed, in bytes.
    pub bytes_max: usize,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $bytes_max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The longest form, in bytes.
            pub const BYTES_MAX: usize = $bytes_max;

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                let fits = (1..=Self::BYTES_MAX).contains(&text.len()) && text.trim() == text;
                if fits && text.chars().all(is_printable) {
                    Ok($name(text))
                } else {
                    Err(NameError { bytes_max: Self::BYTES_MAX })
                }
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        /// Shows nothing: debug output ends in logs, which are not erased.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

name!(
    /// The partner's own id of a user (1–128 bytes).
    ExternalId,
    128
);

name!(
    /// What people call a user (1–200 bytes).
    Label,
    200
);

/// What names the person behind a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub external_id: Option<ExternalId>,
    pub label: Option<Label>,
}

/// The version of a person's bytes. Not that of rows: these cannot be made again from the journal, so each version stays
/// readable.
const PERSON_VERSION: u8 = 1;

/// The bytes are not a person's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PersonBytesError {
    #[error("a person's version {0} is not known to this tapgate: run the version that wrote it")]
    Version(u8),
    #[error("not a person: {0}")]
    Malformed(String),
}

impl Person {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut buffer = Buffer(Vec::with_capacity(64));
        buffer.put(&(PERSON_VERSION, self));
        buffer.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Person, PersonBytesError> {
        let (version, rest) = bytes.split_first().ok_or_else(|| PersonBytesError::Malformed("no bytes".to_owned()))?;
        match *version {
            PERSON_VERSION => {
                postcard::from_bytes(rest).map_err(|error| PersonBytesError::Malformed(error.to_string()))
            }
            other => Err(PersonBytesError::Version(other)),
        }
    }

    /// Nothing names the person.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Person::default()
    }

    /// Takes what is given; what is not given stays.
    pub fn update(&mut self, given: &Person) {
        if given.external_id.is_some() {
            self.external_id.clone_from(&given.external_id);
        }
        if given.label.is_some() {
            self.label.clone_from(&given.label);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_printable_text() {
        for fits in ["c", "customer 7/a", "Ærøskøbing 郵便", &"x".repeat(128)] {
            assert_eq!(fits.parse::<ExternalId>().unwrap().as_str(), fits);
        }
        let control = ["", " ", " a", "a ", "a\nb", "\u{1b}[2J", "\0", "a\u{202e}b", "a\u{2067}b", "a\u{200b}b"];
        for refused in control.into_iter().chain([&*"x".repeat(129), &"é".repeat(65)]) {
            assert_eq!(refused.parse::<ExternalId>(), Err(NameError { bytes_max: 128 }), "{refused:?}");
        }
        assert!("x".repeat(200).parse::<Label>().is_ok() && "x".repeat(201).parse::<Label>().is_err());
    }

    #[test]
    fn bytes_once_written_stay_readable() {
        let bytes = b"\x01\x01\x03c-7\x01\x03Ann";
        let ann = Person { external_id: "c-7".parse().ok(), label: "Ann".parse().ok() };
        assert_eq!((ann.encode().as_slice(), Person::decode(bytes)), (bytes.as_slice(), Ok(ann)));
        assert_eq!(Person::decode(b"\x01\x00\x00"), Ok(Person::default()));
        assert_eq!(Person::decode(b"\x02\x00\x00"), Err(PersonBytesError::Version(2)));
        for other in [b"".as_slice(), b"\x01\x01\x03c-", b"\x01\x01\x01\x1b\x00"] {
            let error = Person::decode(other).unwrap_err();
            assert!(matches!(error, PersonBytesError::Malformed(_)), "{error}");
        }
    }

    #[test]
    fn what_is_not_given_stays_and_nothing_is_shown_by_accident() {
        let both = Person { external_id: "c-7".parse().ok(), label: "Ann".parse().ok() };
        let mut person = both.clone();
        person.update(&Person::default());
        assert_eq!(person, both);
        person.update(&Person { label: "Anna".parse().ok(), ..Person::default() });
        assert_eq!(person, Person { external_id: "c-7".parse().ok(), label: "Anna".parse().ok() });
        assert_eq!(format!("{person:?}"), "Person { external_id: Some(ExternalId(…)), label: Some(Label(…)) }");
    }
}
