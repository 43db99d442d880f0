//! From conditions to alerts: which to raise, repeat, or resolve.

use compact_str::CompactString;
use tapgate_engine::fact::{AlertKind, Condition};
use tapgate_engine::ids::AlertId;
use tapgate_engine::rows::Alert;
use tapgate_engine::time::UnixMillis;

/// The kinds of alerts of the watch; the delivery workers judge the others.
const JUDGED: &[AlertKind] = &[
    AlertKind::PoolLow,
    AlertKind::FloorBreached,
    AlertKind::PrefundOverdue,
    AlertKind::PrefundShort,
    AlertKind::ReportStale,
    AlertKind::Drift,
    AlertKind::BreakAgeing,
    AlertKind::DeclineSpike,
    AlertKind::StandIn,
    AlertKind::JournalSlow,
    AlertKind::HourlyCap,
    AlertKind::PrefundRefused,
    AlertKind::ClockWrong,
    AlertKind::DiskLow,
    AlertKind::FeedUnreadable,
    AlertKind::RatesImplausible,
    AlertKind::LimitWeightDiffers,
    AlertKind::OpsAccountLimited,
    AlertKind::ProviderSuspended,
    AlertKind::StoreDamaged,
    AlertKind::HeadLate,
    AlertKind::HeadChanged,
];

/// The result of one check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Every condition that holds.
    pub standing: Vec<Condition>,
    /// Kinds that this check cannot resolve, because their basis is not known yet.
    pub unknown: Vec<AlertKind>,
    /// Whether the hourly cap, whose condition then holds, suspends the program now.
    pub suspends: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Suspends the program, with this reason.
    Suspend(CompactString),
    /// A new alert, or a changed severity.
    Raise(Condition),
    /// An unacknowledged alert persists: receivers are notified again.
    Renotify(AlertId, Condition),
    Resolve(AlertKind, CompactString),
}

/// The records to write, given the open alerts.
#[must_use]
pub fn actions(open: &[Alert], found: Found, renotify_seconds: u32, now: UnixMillis) -> Vec<Action> {
    let of = |kind: AlertKind, subject: &str| {
        open.iter().find(|alert| alert.condition.kind == kind && alert.condition.subject == subject)
    };
    let is_over = |alert: &&Alert| {
        let kind = alert.condition.kind;
        let stands = |condition: &Condition| condition.kind == kind && condition.subject == alert.condition.subject;
        JUDGED.contains(&kind) && !found.unknown.contains(&kind) && !found.standing.iter().any(stands)
    };
    let over = open.iter().filter(is_over);
    let mut actions: Vec<_> =
        over.map(|alert| Action::Resolve(alert.condition.kind, alert.condition.subject.clone())).collect();
    for condition in found.standing {
        let known = of(condition.kind, &condition.subject);
        if found.suspends && condition.kind == AlertKind::HourlyCap {
            actions.push(Action::Suspend(condition.title.clone()));
            // The acknowledgement of an earlier suspension's alert does not cover this one.
            actions.extend(known.map(|_| Action::Resolve(condition.kind, condition.subject.clone())));
            actions.push(Action::Raise(condition));
            continue;
        }
        match known {
            Some(alert) if alert.condition.severity == condition.severity => {
                let again = alert.last_notified_at.0.saturating_add(u64::from(renotify_seconds) * 1_000);
                // A notification from the future was stamped by a clock that was wrong: it must not silence a year.
                if !alert.is_quiet(now) && (now.0 >= again || alert.last_notified_at > now) {
                    actions.push(Action::Renotify(alert.id, condition));
                }
            }
            _ => actions.push(Action::Raise(condition)),
        }
    }
    actions
}

#[cfg(test)]
mod tests {
    use tapgate_engine::fact::{Author, Fact, Record, Severity};
    use tapgate_engine::ids::Sequence;
    use tapgate_engine::rows::Row;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000_000);

    fn condition(kind: AlertKind, subject: &str, severity: Severity) -> Condition {
        Condition { kind, subject: subject.into(), severity, title: "t".into(), text: "t".into(), facts: Vec::new() }
    }

    /// An alert whose last notification was `seconds_ago`.
    fn open(condition: Condition, seconds_ago: u64) -> Alert {
        let at = UnixMillis(NOW.0 - seconds_ago * 1_000);
        let record = Record { at, author: Author::Engine, fact: Fact::AlertRaised(Box::new(condition)) };
        Alert::open(&AlertId(Sequence(7)), Sequence(7), &record).unwrap()
    }

    #[track_caller]
    fn check(open: &[Alert], standing: &[Condition], unknown: &[AlertKind], expected: &[Action]) {
        let found = Found { standing: standing.to_vec(), unknown: unknown.to_vec(), suspends: false };
        assert_eq!(actions(open, found, 600, NOW), expected);
    }

    #[test]
    fn alerts_follow_the_conditions() {
        let low = |severity| condition(AlertKind::PoolLow, "EUR", severity);
        let notice = low(Severity::Notice);
        let resolve = Action::Resolve(AlertKind::PoolLow, "EUR".into());
        check(&[], &[], &[], &[]);
        check(&[], std::slice::from_ref(&notice), &[], &[Action::Raise(notice.clone())]);
        check(&[open(notice.clone(), 599)], std::slice::from_ref(&notice), &[], &[]);
        let id = AlertId(Sequence(7));
        check(
            &[open(notice.clone(), 600)],
            std::slice::from_ref(&notice),
            &[],
            &[Action::Renotify(id, notice.clone())],
        );
        let mut future = open(notice.clone(), 1);
        future.last_notified_at = UnixMillis(NOW.0 + 1);
        check(&[future], std::slice::from_ref(&notice), &[], &[Action::Renotify(id, notice.clone())]);
        for other in [Severity::Urgent, Severity::Critical] {
            check(&[open(notice.clone(), 1)], &[low(other)], &[], &[Action::Raise(low(other))]);
        }
        check(&[open(notice.clone(), 1)], &[], &[], std::slice::from_ref(&resolve));
        let dollars = condition(AlertKind::PoolLow, "USD", Severity::Notice);
        check(
            &[open(notice.clone(), 1)],
            std::slice::from_ref(&dollars),
            &[],
            &[resolve, Action::Raise(dollars.clone())],
        );
    }

    #[test]
    fn unknown_kinds_stay_open_and_kinds_of_others_are_untouched() {
        let low = condition(AlertKind::PoolLow, "EUR", Severity::Urgent);
        check(&[open(low.clone(), 1)], &[], &[AlertKind::PoolLow], &[]);
        let dry = condition(AlertKind::PoolLow, "EUR", Severity::Critical);
        check(&[open(low, 1)], std::slice::from_ref(&dry), &[AlertKind::PoolLow], &[Action::Raise(dry.clone())]);
        check(&[open(condition(AlertKind::DeliveryParked, "webhook", Severity::Urgent), 1)], &[], &[], &[]);
    }

    #[test]
    fn every_suspension_is_an_alert_of_its_own() {
        let cap = condition(AlertKind::HourlyCap, "", Severity::Critical);
        let found = Found { standing: vec![cap.clone()], suspends: true, ..Found::default() };
        let (suspend, raise) = (Action::Suspend("t".into()), Action::Raise(cap.clone()));
        assert_eq!(actions(&[], found.clone(), 600, NOW), [suspend.clone(), raise.clone()]);
        let before = Action::Resolve(AlertKind::HourlyCap, "".into());
        assert_eq!(actions(&[open(cap, 1)], found, 600, NOW), [suspend, before, raise]);
    }

    #[test]
    fn an_acknowledged_alert_does_not_notify_again() {
        let low = condition(AlertKind::PoolLow, "EUR", Severity::Urgent);
        let mut alert = open(low.clone(), 100_000);
        alert.silenced_until = Some(UnixMillis(NOW.0 + 1));
        check(&[alert.clone()], std::slice::from_ref(&low), &[], &[]);
        alert.silenced_until = Some(NOW);
        check(&[alert], std::slice::from_ref(&low), &[], &[Action::Renotify(AlertId(Sequence(7)), low.clone())]);
    }
}
