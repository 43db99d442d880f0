//! Identifiers as UR and the partner give them: short, printable ASCII, compared byte by byte.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use ecow::EcoString;
use serde::{Deserialize, Serialize};

/// An identifier was empty, too long, or held a byte outside the printable ASCII range 0x21–0x7E.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 1 to {bytes_max} printable ASCII characters without spaces")]
pub struct IdError {
    /// The longest form allowed, in bytes.
    pub bytes_max: usize,
}

/// The name of a journal, which a copy of it keeps. `Display` shows 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JournalId([u8; 16]);

impl JournalId {
    /// Of a store's seed, which nobody learns from it.
    pub(crate) fn of_seed(seed: u64) -> JournalId {
        let name = blake3::derive_key("tapgate 2026-11-30 journal id", &seed.to_be_bytes());
        let mut id = [0; 16];
        id.iter_mut().zip(name).for_each(|(to, from)| *to = from);
        JournalId(id)
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes_max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "EcoString", into = "EcoString")]
        pub struct $name(EcoString);

        impl $name {
            /// The longest form, in bytes.
            pub const BYTES_MAX: usize = $bytes_max;

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            fn check(text: &str) -> Result<(), IdError> {
                let fits = (1..=Self::BYTES_MAX).contains(&text.len());
                // Not `all`: without an early end, many bytes are compared at once.
                let is_printable = text.bytes().fold(true, |is, byte| is & (0x21..=0x7E).contains(&byte));
                if fits && is_printable {
                    Ok(())
                } else {
                    Err(IdError { bytes_max: Self::BYTES_MAX })
                }
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::check(text)?;
                Ok($name(EcoString::from(text)))
            }
        }

        impl TryFrom<EcoString> for $name {
            type Error = IdError;

            fn try_from(text: EcoString) -> Result<Self, IdError> {
                Self::check(&text)?;
                Ok($name(text))
            }
        }

        impl From<$name> for EcoString {
            fn from(id: $name) -> EcoString {
                id.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// The id of one callback: an authorization, an increment, a reversal or an advice (1–128 bytes).
    AuthorizationId,
    128
);

id!(
    /// UR's id of an account holder; numeric at UR, compared as text (1–64 bytes).
    UrId,
    64
);

id!(
    /// The id of a card (1–128 bytes).
    CardId,
    128
);

impl UrId {
    /// UR's own accounts, 9100 to 9299, have no client limit (docs/ur-facts.md, limit).
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.0.len() == 4 && self.0.parse::<u32>().is_ok_and(|id| (9100..=9299).contains(&id))
    }
}

impl CardId {
    /// What stands for a card that UR did not name.
    #[must_use]
    pub fn unknown() -> CardId {
        CardId(EcoString::inline("unknown"))
    }
}

/// The position of a record in the journal; the first record is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Before the first record.
    pub const ZERO: Sequence = Sequence(0);

    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Sequence {
        Sequence(self.0 + 1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Not the number of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this id is a record's number, such as 1200")]
pub struct RecordIdError;

macro_rules! record_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub Sequence);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = RecordIdError;

            fn from_str(text: &str) -> Result<Self, RecordIdError> {
                let id = $name(text.parse().map(Sequence).map_err(|_| RecordIdError)?);
                // One form only: not 007, not +7.
                if id.to_string() == text { Ok(id) } else { Err(RecordIdError) }
            }
        }
    };
}

record_id!(
    /// Names an alert: the record that raised it.
    AlertId
);

record_id!(
    /// Names a prefund: the record that proposed it, or that said it was sent.
    PrefundId
);

record_id!(
    /// Names a closure of the calendar: the record that added it.
    ClosureId
);

/// Names a break: the record that opened it, and which of its differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BreakId {
    /// The record.
    pub opened: Sequence,
    /// From 0.
    pub number: u16,
}

/// Not a break's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a break's id is a record's number and its own, such as 1200-0")]
pub struct BreakIdError;

impl fmt::Display for BreakId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.opened, self.number)
    }
}

impl FromStr for BreakId {
    type Err = BreakIdError;

    fn from_str(text: &str) -> Result<Self, BreakIdError> {
        let (opened, number) = text.split_once('-').ok_or(BreakIdError)?;
        let opened = opened.parse().map(Sequence).map_err(|_| BreakIdError)?;
        let id = BreakId { opened, number: number.parse().map_err(|_| BreakIdError)? };
        if id.to_string() == text { Ok(id) } else { Err(BreakIdError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_by_record_has_one_form() {
        assert_eq!("1200".parse(), Ok(AlertId(Sequence(1200))));
        for bad in ["", "007", "+7", "-1", "1200-0", "x", "99999999999999999999"] {
            assert!(bad.parse::<AlertId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_id_is_short_printable_ascii() {
        for good in ["a", "auth_7Q2", "!~", &"x".repeat(128)] {
            assert!(good.parse::<AuthorizationId>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\0", "é", "a\n", "\u{7f}", &"x".repeat(129)] {
            assert!(bad.parse::<AuthorizationId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_four_digit_accounts_of_ur_itself_are_unlimited() {
        let check =
            |id: &str, unlimited: bool| assert_eq!(id.parse::<UrId>().unwrap().is_unlimited(), unlimited, "{id}");
        check("9100", true);
        check("9299", true);
        check("9099", false);
        check("9300", false);
        check("09100", false);
        check("91000", false);
    }
}
