//! Records that wait long for the disk.

use compact_str::{CompactString, format_compact};
use tapgate_engine::alert::{AlertKind, Condition, Severity};
use tapgate_engine::journal::QUEUE_RECORDS_MAX;

use super::facts;

/// So many records wait at two looks: a sixteenth of the queue, more than any group, so the disk does not follow.
const WAITING_MAX: u64 = QUEUE_RECORDS_MAX / 16;

/// What is seen of the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalSeen {
    /// Records without a sync.
    pub waiting: u64,
    /// The same at the look before.
    pub waited: u64,
    /// No sync was completed for a second: requests are being shed.
    pub is_stalled: bool,
}

/// The disk does not follow.
#[must_use]
pub fn journal_slow(seen: JournalSeen) -> Option<Condition> {
    let is_behind = seen.waiting.min(seen.waited) >= WAITING_MAX;
    let (severity, title) = match seen.is_stalled {
        true => (Severity::Critical, "The disk does not complete writes: requests are shed".into()),
        false if is_behind => (Severity::Urgent, format_compact!("{} records wait for the disk", seen.waiting)),
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
        facts: facts([("records_waiting", format_compact!("{}", seen.waiting))]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_burst_is_no_slow_disk() {
        let check = |waiting: u64, waited: u64, is_stalled: bool, expected: Option<Severity>| {
            let found = journal_slow(JournalSeen { waiting, waited, is_stalled });
            assert_eq!(found.map(|found| found.severity), expected, "{waiting} {waited} {is_stalled}");
        };
        check(0, 0, false, None);
        check(WAITING_MAX, WAITING_MAX - 1, false, None);
        check(WAITING_MAX - 1, WAITING_MAX, false, None);
        check(WAITING_MAX, WAITING_MAX, false, Some(Severity::Urgent));
        check(0, 0, true, Some(Severity::Critical));
    }
}
