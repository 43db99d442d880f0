//! Records that wait too long for the disk.

use compact_str::{CompactString, format_compact};
use tapgate_engine::fact::{AlertKind, Condition, Severity};
use tapgate_engine::journal::QUEUE_RECORDS_MAX;

use super::facts;

/// Records waiting at two checks: a sixteenth of the queue and more than any group, so the disk cannot keep up.
const WAITING_MAX: u64 = QUEUE_RECORDS_MAX / 16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalObservation {
    /// Records not synced yet.
    pub waiting: u64,
    /// The same at the previous check.
    pub waited: u64,
    /// No sync has completed for a second: tapgate sheds requests.
    pub is_stalled: bool,
    /// The same at the previous check.
    pub was_stalled: bool,
}

/// The disk cannot keep up; `told` is the severity of the open alert. The alert ends once two consecutive checks find
/// less than half of its threshold, and is no longer critical once two checks find completed writes.
#[must_use]
pub fn journal_slow(seen: JournalObservation, told: Option<Severity>) -> Option<Condition> {
    let most = seen.waiting.max(seen.waited);
    let is_behind = match told {
        None => seen.waiting.min(seen.waited) >= WAITING_MAX,
        Some(_) => most >= WAITING_MAX / 2,
    };
    let is_stalled = seen.is_stalled || (seen.was_stalled && told == Some(Severity::Critical));
    let (severity, title) = match is_stalled {
        true => (Severity::Critical, "The disk does not complete writes: requests are shed".into()),
        false if is_behind => (Severity::Urgent, format_compact!("{most} records wait for the disk")),
        false => return None,
    };
    Some(Condition {
        kind: AlertKind::JournalSlow,
        subject: CompactString::default(),
        severity,
        title,
        text: "Approvals are answered only once they are on the disk; those that wait too long become deadline_exceeded. Look \
               at the disk of data_dir: its latency, its free space, and who else writes to it."
            .into(),
        facts: facts([("records_waiting", format_compact!("{most}"))]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each check: the number of waiting records, whether syncs stall, and the expected severity.
    #[track_caller]
    fn check(looks: &[(u64, bool, Option<Severity>)]) {
        let (mut before, mut told) = (JournalObservation::default(), None);
        for (number, (waiting, is_stalled, expected)) in looks.iter().copied().enumerate() {
            before = JournalObservation { waiting, waited: before.waiting, is_stalled, was_stalled: before.is_stalled };
            told = journal_slow(before, told).map(|found| found.severity);
            assert_eq!(told, expected, "look {number}: {before:?}");
        }
    }

    #[test]
    fn one_burst_is_no_slow_disk() {
        check(&[
            (0, false, None),
            (WAITING_MAX, false, None),
            (WAITING_MAX - 1, false, None),
            (WAITING_MAX, false, None),
        ]);
        check(&[(WAITING_MAX, false, None), (WAITING_MAX, false, Some(Severity::Urgent))]);
        check(&[(0, true, Some(Severity::Critical))]);
    }

    #[test]
    fn a_fluctuating_disk_notifies_once_and_is_over_after_two_good_checks() {
        let (urgent, critical) = (Some(Severity::Urgent), Some(Severity::Critical));
        let half = WAITING_MAX / 2;
        check(&[
            (WAITING_MAX, false, None),
            (WAITING_MAX, false, urgent),
            (0, false, urgent),
            (half, false, urgent),
            (half - 1, false, urgent),
            (half - 1, false, None),
            (half, false, None),
        ]);
        check(&[
            (0, true, critical),
            (0, false, critical),
            (0, true, critical),
            (0, false, critical),
            (0, false, None),
        ]);
        check(&[
            (0, true, critical),
            (half, false, critical),
            (half, false, urgent),
            (0, false, urgent),
            (0, false, None),
        ]);
    }
}
