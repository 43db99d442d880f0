//! Breaks that need a person: drifting figures, settlements that tapgate declined, and old breaks.

use std::collections::BTreeMap;

use compact_str::{CompactString, format_compact};
use tapgate_engine::fact::{AlertKind, BreakKind, Condition, Severity};
use tapgate_engine::rows::Break;
use tapgate_engine::time::UnixMillis;

use super::facts;

/// The common subject of all limits.
const LIMITS: &str = "limits";

const DAY_MS: u64 = 86_400_000;

/// UR's balance of a pool, or its figures of limits, contradict the books: one alert for each pool, one for all limits.
#[must_use]
pub fn drift(open: &[Break]) -> Vec<Condition> {
    let mut subjects: BTreeMap<CompactString, Vec<&Break>> = BTreeMap::new();
    for found in open {
        let subject = match found.discrepancy.kind {
            BreakKind::PoolDrift => found.discrepancy.subject.clone(),
            BreakKind::LimitDrift => CompactString::const_new(LIMITS),
            _ => continue,
        };
        subjects.entry(subject).or_default().push(found);
    }
    let condition = |(subject, breaks): (CompactString, Vec<&Break>)| {
        let is_limits = subject == LIMITS;
        let title = if is_limits {
            format_compact!("UR's figures of limits are not what they must be: {}", breaks.len())
        } else {
            format_compact!("UR's balance of the {subject} pool is not what it must be")
        };
        let latest = breaks.last().map(|found| {
            let difference = &found.discrepancy;
            let (ours, theirs) = (difference.ours.clone(), difference.theirs.clone());
            facts([("break", format_compact!("{}", found.id)), ("ours", ours), ("theirs", theirs)])
        });
        let count = facts([("breaks", format_compact!("{}", breaks.len()))]);
        Condition {
            kind: AlertKind::Drift,
            subject,
            severity: if is_limits { Severity::Warning } else { Severity::Urgent },
            title,
            text: "Something moved at UR that tapgate was not told of, or a top-up was not recorded. `tapgate breaks` lists \
                   each difference; explain each to end this."
                .into(),
            facts: count.into_iter().chain(latest.into_iter().flatten()).collect(),
        }
    };
    subjects.into_iter().map(condition).collect()
}

/// UR settled an authorization that tapgate declined.
#[must_use]
pub fn stand_in(open: &[Break]) -> Option<Condition> {
    let breaks: Vec<_> = open.iter().filter(|found| found.discrepancy.kind == BreakKind::StandIn).collect();
    let latest = breaks.last()?;
    Some(Condition {
        kind: AlertKind::StandIn,
        subject: CompactString::default(),
        severity: Severity::Urgent,
        title: format_compact!("UR settled what was declined: {}", breaks.len()),
        text: "UR, or the scheme, approved in our place: it did not get our answer in time, or decided without it. The money \
               has left the pool. Look at the callbacks' response times, then at each break."
            .into(),
        facts: facts([
            ("breaks", format_compact!("{}", breaks.len())),
            ("latest", format_compact!("{}", latest.id)),
            ("authorization", latest.discrepancy.subject.clone()),
        ]),
    })
}

/// Breaks that are open for more than `days`.
#[must_use]
pub fn break_ageing(open: &[Break], days: u16, now: UnixMillis) -> Option<Condition> {
    let is_old = |found: &&Break| now.0.saturating_sub(found.opened_at.0) > u64::from(days) * DAY_MS;
    let old: Vec<_> = open.iter().filter(is_old).collect();
    let oldest = old.first()?;
    let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
    old.iter().for_each(|found| *kinds.entry(found.discrepancy.kind.name()).or_default() += 1);
    let kinds: Vec<_> = kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    Some(Condition {
        kind: AlertKind::BreakAgeing,
        subject: CompactString::default(),
        severity: Severity::Warning,
        title: format_compact!("Breaks older than {days} days: {}", old.len()),
        text: format_compact!(
            "Nobody and no rule has explained them: {}. `tapgate breaks` lists them, oldest first.",
            kinds.join(", ")
        ),
        facts: facts([
            ("breaks", format_compact!("{}", old.len())),
            ("oldest", format_compact!("{}", oldest.id)),
            ("age_days", format_compact!("{}", now.0.saturating_sub(oldest.opened_at.0) / DAY_MS)),
        ]),
    })
}

#[cfg(test)]
mod tests {
    use tapgate_engine::fact::Discrepancy;
    use tapgate_engine::ids::{BreakId, Sequence};

    use super::*;

    const NOW: UnixMillis = UnixMillis(100 * DAY_MS);

    fn open(kind: BreakKind, subject: &str, days: u64) -> Break {
        let discrepancy = Discrepancy {
            kind,
            subject: subject.into(),
            field: "balance".into(),
            ours: "1".into(),
            theirs: "2".into(),
        };
        let id = BreakId { opened: Sequence(9), number: 0 };
        Break::opened(id, UnixMillis(NOW.0 - days * DAY_MS), discrepancy)
    }

    #[test]
    fn drift_is_one_alert_for_each_pool_and_one_for_all_limits() {
        let breaks = [
            open(BreakKind::LimitDrift, "12345", 0),
            open(BreakKind::PoolDrift, "EUR", 0),
            open(BreakKind::LimitDrift, "12346", 0),
            open(BreakKind::PoolDrift, "USD", 0),
            open(BreakKind::AmountMismatch, "auth_1", 0),
        ];
        let found = drift(&breaks);
        let named: Vec<_> = found.iter().map(|found| (found.subject.as_str(), found.severity)).collect();
        assert_eq!(named, [("EUR", Severity::Urgent), ("USD", Severity::Urgent), (LIMITS, Severity::Warning)]);
        assert_eq!(found[2].facts[0].1, "2");
        assert!(drift(&[]).is_empty());
    }

    #[test]
    fn a_stand_in_alert_is_open_until_every_break_is_resolved() {
        assert_eq!(stand_in(&[open(BreakKind::PoolDrift, "EUR", 0)]), None);
        let found = stand_in(&[open(BreakKind::StandIn, "auth_1", 0), open(BreakKind::StandIn, "auth_2", 0)]).unwrap();
        assert_eq!((found.facts[0].1.as_str(), found.facts[2].1.as_str()), ("2", "auth_2"));
    }

    #[test]
    fn breaks_age_after_the_configured_days() {
        let breaks = [open(BreakKind::Duplicate, "a", 4), open(BreakKind::PoolDrift, "EUR", 3)];
        let found = break_ageing(&breaks, 3, NOW).unwrap();
        assert_eq!(found.title, "Breaks older than 3 days: 1");
        assert!(found.text.contains("1 duplicate"), "{}", found.text);
        assert_eq!(break_ageing(&breaks, 4, NOW), None);
        assert!(break_ageing(&breaks, 2, NOW).is_some_and(|found| found.title.ends_with(": 2")));
    }
}
