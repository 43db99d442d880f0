//! Gates that decline every approval: the clock and the disk.

use compact_str::{CompactString, format_compact};
use tapgate_engine::fact::{AlertKind, Condition, Severity};

use super::facts;
use crate::clock::Doubt;

/// The clock cannot be trusted, so nothing is approved.
#[must_use]
pub fn clock_wrong(doubt: Doubt) -> Condition {
    let (title, text, time) = match doubt {
        Doubt::JournalAhead { latest } => (
            "The journal is ahead of the clock: every approval is declined",
            "The last record lies in the future: the clock was ahead before, or is behind now. Set the clock right; if it is \
             right, stop tapgate and run tapgate journal set-clock. Approvals resume by themselves once they agree.",
            latest,
        ),
        Doubt::Jumped { expected } => (
            "The clock jumped by more than a minute: every approval is declined",
            "Limits count 30 days by the clock. Set the clock right: approvals resume by themselves. If it is right now, \
             restart tapgate.",
            expected,
        ),
    };
    Condition {
        kind: AlertKind::ClockWrong,
        subject: CompactString::default(),
        severity: Severity::Critical,
        title: title.into(),
        text: text.into(),
        facts: facts([("expected_seconds", format_compact!("{}", time.seconds().0))]),
    }
}

/// The disk is nearly full, so nothing is approved.
#[must_use]
pub fn disk_low() -> Condition {
    Condition {
        kind: AlertKind::DiskLow,
        subject: CompactString::default(),
        severity: Severity::Critical,
        title: "The disk is nearly full: every approval is declined".into(),
        text: "Reversals and settlements are still recorded; below 256 MiB every request is shed. Free space on the disk of \
               data_dir, or move the directory to a larger one. Approvals resume by themselves above 512 MiB."
            .into(),
        facts: facts::<0>([]),
    }
}
