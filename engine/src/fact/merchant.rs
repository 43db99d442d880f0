//! What a callback says about the merchant. It describes: it never decides whether a callback can be read. So every text
//! has a form here, and controls are read by the same functions.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::country::Country;

/// How the card was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Channel {
    /// Chip or stripe at a terminal.
    Pos,
    /// Tapped at a terminal.
    Contactless,
    /// Card not present.
    Ecommerce,
    /// A merchant-initiated, repeated charge.
    Recurring,
    /// Cash.
    Atm,
    /// Anything else, or not given.
    Other,
}

impl Channel {
    /// All channels.
    pub const ALL: [Channel; 6] =
        [Channel::Pos, Channel::Contactless, Channel::Ecommerce, Channel::Recurring, Channel::Atm, Channel::Other];

    /// The channel's name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Channel::Pos => "pos",
            Channel::Contactless => "contactless",
            Channel::Ecommerce => "ecommerce",
            Channel::Recurring => "recurring",
            Channel::Atm => "atm",
            Channel::Other => "other",
        }
    }

    /// The channel of this name; case, spaces and hyphens do not matter.
    #[must_use]
    pub fn named(text: &str) -> Option<Channel> {
        let exact = Channel::ALL.into_iter().find(|channel| channel.name() == text);
        exact.or_else(|| {
            let name: String = text.chars().filter(|letter| letter.is_ascii_alphanumeric()).collect();
            Channel::ALL.into_iter().find(|channel| name.eq_ignore_ascii_case(channel.name()))
        })
    }
}

/// The merchant, as far as UR names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merchant {
    /// The acquirer's merchant id.
    pub id: Option<CompactString>,
    /// The name on the slip.
    pub name: Option<CompactString>,
    /// ISO 18245 category, 0 to 9999.
    pub mcc: Option<u16>,
    /// City on the slip.
    pub city: Option<CompactString>,
    pub country: Option<Country>,
}

impl Merchant {
    /// Maximum length of a text, in bytes.
    pub const TEXT_BYTES_MAX: usize = 256;

    /// A text without its padding, cut where it is too long; `None` where nothing is left.
    #[must_use]
    pub fn text(given: &str) -> Option<CompactString> {
        // Other control characters are part of the text: where it is shown, they are escaped.
        let is_padding = |letter: char| letter.is_whitespace() || letter == '\0';
        let text = match given.as_bytes() {
            // Most texts have no padding.
            [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => given,
            _ => given.trim_matches(is_padding),
        };
        let text = match text.get(..text.floor_char_boundary(Merchant::TEXT_BYTES_MAX)) {
            Some(cut) if cut.len() < text.len() => cut.trim_end_matches(is_padding),
            _ => text,
        };
        (!text.is_empty()).then(|| CompactString::from(text))
    }

    /// A category from its digits; `None` for any other text.
    #[must_use]
    pub fn category(given: &str) -> Option<u16> {
        let digits = given.trim();
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|category| is_number && *category <= 9_999)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_loses_its_padding_and_what_is_too_long() {
        let check = |given: &str, text: Option<&str>| assert_eq!(Merchant::text(given).as_deref(), text, "{given:?}");
        check("Café", Some("Café"));
        check("é", Some("é"));
        check("m", Some("m"));
        check("  CAFE \u{a0}\0\0", Some("CAFE"));
        check("\u{1b}]0;m\u{7}", Some("\u{1b}]0;m\u{7}"));
        check("", None);
        check(" \t\0", None);
        check(&"x".repeat(257), Some(&"x".repeat(256)));
        check(&format!("{}é", "x".repeat(255)), Some(&"x".repeat(255)));
        check(&format!("{} y", "x".repeat(255)), Some(&"x".repeat(255)));
    }

    #[test]
    fn a_category_is_a_number_of_four_digits() {
        let check = |given: &str, category: Option<u16>| assert_eq!(Merchant::category(given), category, "{given:?}");
        check("5812", Some(5_812));
        check(" 0742 ", Some(742));
        check("742", Some(742));
        check("005812", Some(5_812));
        check("0000", Some(0));
        for other in ["", "    ", "58AB", "+742", "10000", "99999999999999999999"] {
            check(other, None);
        }
    }

    #[test]
    fn a_channel_has_many_spellings() {
        for channel in Channel::ALL {
            assert_eq!(Channel::named(channel.name()), Some(channel));
        }
        for (given, channel) in [("POS", Channel::Pos), ("e-commerce", Channel::Ecommerce), (" Atm ", Channel::Atm)] {
            assert_eq!(Channel::named(given), Some(channel), "{given:?}");
        }
        for other in ["", " ", "moto", "atm1"] {
            assert_eq!(Channel::named(other), None, "{other:?}");
        }
    }
}
