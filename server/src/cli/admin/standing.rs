//! What stands of an authorization, and the debits of its user, as tables.

use serde::Deserialize;

use crate::cli::ui::amounts::amount;
use crate::cli::ui::screen::{Screen, Text};
use crate::cli::ui::table::{left, right, table};

/// The standing, in smallest units of the currency paid in.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Standing {
    currency: Text,
    approved: Text,
    announced: Text,
    taken: Text,
    pending: Text,
    returned: Text,
    awaited: Text,
    held: Text,
    upcharge: Text,
    debit: Text,
}

impl Standing {
    /// One line a figure; nothing where nothing was ever approved or shown.
    pub(in crate::cli) fn view(&self, screen: Screen) -> String {
        let figures = [
            ("approved", &self.approved, "approved and not rejected by UR"),
            ("announced", &self.announced, "UR announced as returned"),
            ("taken", &self.taken, "UR took"),
            ("pending", &self.pending, "UR is about to take"),
            ("returned", &self.returned, "UR shows as returned"),
            ("awaited", &self.awaited, "announced, taken, not shown as returned"),
            ("held", &self.held, "the source still claims"),
            ("upcharge", &self.upcharge, "held above that, for a tip or fuel"),
            ("debit", &self.debit, "the user is to be debited"),
        ];
        if figures.iter().all(|(_, minor, _)| matches!(minor.as_str(), "" | "0")) {
            return String::new();
        }
        let row = |(name, minor, meaning): &(&str, &Text, &str)| {
            let figure = amount(minor.as_str(), self.currency.as_str());
            vec![left(&format!("  {name}")), right(&figure), left(meaning)]
        };
        let rows = table(screen, &["  FIGURE", "AMOUNT", "MEANING"], figures.iter().map(row).collect());
        format!("{}\n{rows}", screen.strong("Standing"))
    }
}

/// One debit of the user, in smallest units.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::cli) struct Debit {
    debit_id: Text,
    currency: Text,
    requested: Text,
    returned: Text,
}

impl Debit {
    /// One line a debit; nothing without any.
    pub(in crate::cli) fn table(debits: &[Debit], screen: Screen) -> String {
        if debits.is_empty() {
            return String::new();
        }
        let row = |debit: &Debit| {
            let figure = |minor: &Text| amount(minor.as_str(), debit.currency.as_str());
            let id = left(&format!("  {}", debit.debit_id));
            vec![id, right(&figure(&debit.requested)), right(&figure(&debit.returned))]
        };
        let rows = table(screen, &["  DEBIT", "REQUESTED", "RETURNED"], debits.iter().map(row).collect());
        format!("{}\n{rows}", screen.strong("Debits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(taken: &str, debit: &str) -> Standing {
        let zero = || Text::of("0");
        Standing {
            currency: Text::of("EUR"),
            approved: zero(),
            announced: zero(),
            taken: Text::of(taken),
            pending: zero(),
            returned: zero(),
            awaited: zero(),
            held: zero(),
            upcharge: zero(),
            debit: Text::of(debit),
        }
    }

    #[test]
    fn the_standing_fits_a_narrow_terminal() {
        let shown = standing("100000000000000", "-1250").view(Screen::plain());
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.first(), Some(&"Standing"));
        assert_eq!(lines.get(4), Some(&"  taken      1000000000000.00 EUR  UR took"));
        assert_eq!(lines.last(), Some(&"  debit                -12.50 EUR  the user is to be debited"));
        assert!(lines.iter().all(|line| line.chars().count() <= 76), "{shown}");
    }

    #[test]
    fn what_never_stood_takes_no_room() {
        assert_eq!(standing("0", "0").view(Screen::plain()), "");
        assert_eq!(Standing::default().view(Screen::plain()), "");
        assert_eq!(Debit::table(&[], Screen::plain()), "");
    }
}
