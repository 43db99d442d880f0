//! Top-ups that arrive late or short.

use compact_str::{CompactString, format_compact};
use tapgate_engine::fact::{AlertKind, Condition, Severity};
use tapgate_engine::money::Minor;
use tapgate_engine::rows::{Prefund, PrefundState};
use tapgate_engine::time::UnixMillis;

use super::{facts, figure};
use crate::treasury::calendar::CreditCalendar;
use crate::treasury::words::major;

/// The expected time has passed without a credit.
#[must_use]
pub fn prefund_overdue(prefund: &Prefund, calendar: &CreditCalendar, now: UnixMillis) -> Option<Condition> {
    let expected_at = prefund.expected_at.filter(|_| prefund.state(now) == PrefundState::Overdue)?;
    let (amount, currency) = (major(prefund.amount), prefund.currency);
    Some(Condition {
        kind: AlertKind::PrefundOverdue,
        severity: Severity::Urgent,
        title: format_compact!("A top-up of {amount} {currency} is overdue"),
        text: format_compact!(
            "{} of {amount} {currency} was expected {} and nothing of it is credited. Ask UR for it by its reference, or \
             record the credit; no forecast counts on it any more.",
            name(prefund),
            calendar.wall_time(expected_at),
        ),
        ..about(prefund)
    })
}

/// The credit is smaller than the amount sent.
#[must_use]
pub fn prefund_short(prefund: &Prefund, now: UnixMillis) -> Option<Condition> {
    if prefund.state(now) != PrefundState::Short {
        return None;
    }
    let currency = prefund.currency;
    let missing = Minor(prefund.amount.0.saturating_sub(prefund.credited.0));
    Some(Condition {
        kind: AlertKind::PrefundShort,
        severity: Severity::Warning,
        title: format_compact!("{} {currency} of a top-up are missing", major(missing)),
        text: format_compact!(
            "{} was sent with {} {currency}, and {} were credited. Ask UR for the rest by its reference, or cancel what is \
             missing if it was a fee.",
            name(prefund),
            major(prefund.amount),
            major(prefund.credited),
        ),
        ..about(prefund)
    })
}

fn name(prefund: &Prefund) -> CompactString {
    format_compact!("Prefund {} ({})", prefund.id, prefund.reference)
}

/// The part that both conditions share.
fn about(prefund: &Prefund) -> Condition {
    Condition {
        kind: AlertKind::PrefundOverdue,
        subject: format_compact!("{}", prefund.id),
        severity: Severity::Warning,
        title: CompactString::default(),
        text: CompactString::default(),
        facts: facts([
            ("pool", prefund.currency.as_str().into()),
            ("amount", figure(prefund.amount, prefund.currency)),
            ("credited", figure(prefund.credited, prefund.currency)),
            ("reference", prefund.reference.clone()),
        ]),
    }
}

#[cfg(test)]
mod tests {
    use tapgate_engine::ids::{PrefundId, Sequence};
    use tapgate_engine::money::Currency;
    use tapgate_engine::rows::PrefundStep;

    use super::*;
    use crate::treasury::calendar::tests::zurich;

    #[test]
    fn a_top_up_is_overdue_until_something_of_it_comes_and_then_short_until_all_does() {
        let sent = Prefund {
            sequence: Sequence(5),
            id: PrefundId(Sequence(5)),
            currency: Currency::EUR,
            amount: Minor(100_000),
            reference: "PF-5".into(),
            request_id: None,
            expected_at: Some(UnixMillis(2_000)),
            proposed: None,
            approved: None,
            ordered: None,
            sent: Some(PrefundStep { at: UnixMillis(1), by: "ops".into() }),
            credited: Minor::ZERO,
            credited_at: None,
            cancelled: None,
        };
        let check = |prefund: &Prefund, now: u64, overdue: bool, short: bool| {
            let found = (
                prefund_overdue(prefund, &zurich(), UnixMillis(now)).is_some(),
                prefund_short(prefund, UnixMillis(now)).is_some(),
            );
            assert_eq!(found, (overdue, short), "{prefund:?} at {now}");
        };
        check(&sent, 2_000, false, false);
        check(&sent, 2_001, true, false);
        check(&Prefund { sent: None, ..sent.clone() }, 2_001, false, false);
        check(&Prefund { expected_at: None, ..sent.clone() }, 2_001, false, false);
        check(&Prefund { credited: Minor(99_999), ..sent.clone() }, 2_001, false, true);
        check(&Prefund { credited: Minor(100_000), ..sent.clone() }, 2_001, false, false);
        let overdue = prefund_overdue(&sent, &zurich(), UnixMillis(9_999)).unwrap();
        assert_eq!((overdue.subject.as_str(), overdue.title.as_str()), ("5", "A top-up of 1,000 EUR is overdue"));
    }
}
