//! Approvals of an hour above the program's cap.

use compact_str::{CompactString, format_compact};
use tapgate_engine::fact::{AlertKind, Condition, Severity};
use tapgate_engine::money::{ChfMinor, Minor};

use super::facts;
use crate::treasury::words::major;

/// Centimes of a franc.
const CENTIMES: u64 = 100;

/// The cap is in francs; 0 means no cap.
#[must_use]
pub fn reaches_cap(approved: ChfMinor, cap_chf: u64) -> bool {
    cap_chf > 0 && u64::try_from(approved.0).is_ok_and(|approved| approved >= cap_chf.saturating_mul(CENTIMES))
}

/// Approvals of the last 60 minutes reach the cap. With `is_told`, the condition holds until they are below half of it,
/// so that a program at its cap notifies once.
#[must_use]
pub fn hourly_cap(approved: ChfMinor, cap_chf: u64, suspends: bool, is_told: bool) -> Option<Condition> {
    // At the end of i64 it exceeds every cap.
    let counted = if is_told { ChfMinor(approved.0.saturating_mul(2)) } else { approved };
    if !reaches_cap(counted, cap_chf) {
        return None;
    }
    let what_now = if suspends {
        "This suspends the program: `tapgate program resume` takes it up again, until as much is approved after that."
    } else {
        "Nothing is stopped by this: `tapgate program suspend` would."
    };
    Some(Condition {
        kind: AlertKind::HourlyCap,
        subject: CompactString::default(),
        severity: Severity::Critical,
        title: format_compact!("{} CHF were approved within an hour", major(Minor(approved.0))),
        text: format_compact!(
            "[treasury] hourly_cap_chf = {cap_chf} was reached: more users than usual, or an attack. {what_now}"
        ),
        facts: facts([("approved", format_compact!("{approved} CHF")), ("cap_chf", format_compact!("{cap_chf}"))]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_is_in_francs_and_may_be_off() {
        let check = |approved: i64, cap: u64, reached: bool| {
            assert_eq!(hourly_cap(ChfMinor(approved), cap, true, false).is_some(), reached, "{approved} {cap}");
        };
        check(99_999, 1_000, false);
        check(100_000, 1_000, true);
        check(i64::MAX, 0, false);
        check(0, 0, false);
        let found = hourly_cap(ChfMinor(12_345_678), 1_000, false, false).unwrap();
        assert_eq!(found.title, "123,456 CHF were approved within an hour");
        assert!(found.text.contains("Nothing is stopped"), "{}", found.text);
    }

    #[test]
    fn a_program_that_fluctuates_at_its_cap_notifies_once() {
        let check = |approved: i64, cap: u64, stands: bool| {
            assert_eq!(hourly_cap(ChfMinor(approved), cap, true, true).is_some(), stands, "{approved} {cap}");
        };
        check(99_999, 1_000, true);
        check(50_000, 1_000, true);
        check(49_999, 1_000, false);
        check(i64::MAX, 0, false);
    }
}
