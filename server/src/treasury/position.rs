//! The forecast's view of a pool: its figures, and the money in flight.

use tapgate_engine::money::Minor;
use tapgate_engine::rows::{PoolFigures, Prefund};
use tapgate_engine::time::UnixMillis;

use super::calendar::CreditCalendar;
use super::forecast::{PoolNow, TopUp};

/// The pool at `now`, with its prefunds that have no credit yet.
///
/// A prefund without an expected time is expected when the calendar credits it. A recorded credit that no report shows
/// yet is in flight: the suggestion does not ask for it again, and no probability counts on it before UR shows it.
#[must_use]
pub fn position(figures: &PoolFigures, in_flight: &[Prefund], calendar: &CreditCalendar, now: UnixMillis) -> PoolNow {
    let expected = |prefund: &Prefund| {
        let by_calendar = || {
            let sent = prefund.sent.as_ref()?;
            calendar.window(sent.at).map(|window| window.credited_at)
        };
        prefund.expected_at.or_else(by_calendar).unwrap_or(now)
    };
    let top_up = |prefund: &Prefund| TopUp { amount: prefund.amount, credited_at: expected(prefund) };
    let recorded = TopUp { amount: figures.credits_due, credited_at: now };
    let recorded = (figures.credits_due > Minor::ZERO).then_some(recorded);
    PoolNow {
        currency: figures.currency,
        available: figures.available,
        reserve: figures.reserve,
        in_flight: in_flight.iter().map(top_up).chain(recorded).collect(),
    }
}

/// A pool that was never funded and never spent from: UR shows a balance of nothing in every currency it holds, and nobody
/// misses money there.
#[must_use]
pub fn is_unused(figures: &PoolFigures, has_spent: bool) -> bool {
    !has_spent && figures.reported.is_zero() && figures.floor.is_zero() && figures.reserve.is_zero()
}

#[cfg(test)]
mod tests {
    use tapgate_engine::ids::{PrefundId, Sequence};
    use tapgate_engine::money::Currency;
    use tapgate_engine::rows::PrefundStep;

    use super::*;
    use crate::treasury::calendar::tests::zurich;

    /// Friday 2026-09-11 10:00 in Zurich; money sent now is credited at 18:00.
    const FRIDAY: UnixMillis = UnixMillis(1_789_113_600_000);
    const EIGHT_HOURS_MS: u64 = 8 * 3_600_000;

    #[test]
    fn money_in_flight_is_expected_as_given_or_by_the_calendar() {
        let sent = |amount: i64, expected_at: Option<UnixMillis>| Prefund {
            sequence: Sequence(1),
            id: PrefundId(Sequence(1)),
            currency: Currency::EUR,
            amount: Minor(amount),
            reference: "r".into(),
            request_id: None,
            expected_at,
            proposed: None,
            approved: None,
            ordered: None,
            sent: Some(PrefundStep { at: FRIDAY, by: "ops".into() }),
            credited: Minor::ZERO,
            credited_at: None,
            cancelled: None,
        };
        let figures =
            PoolFigures { available: Minor(500), credits_due: Minor(30), ..PoolFigures::empty(Currency::EUR) };
        let at = UnixMillis(FRIDAY.0 + 60_000);
        let pool = position(&figures, &[sent(10, Some(UnixMillis(7))), sent(20, None)], &zurich(), at);
        let in_flight: Vec<_> = pool.in_flight.iter().map(|top_up| (top_up.amount.0, top_up.credited_at.0)).collect();
        assert_eq!(in_flight, [(10, 7), (20, FRIDAY.0 + EIGHT_HOURS_MS), (30, at.0)]);
    }

    #[test]
    fn a_pool_is_used_once_it_is_funded_spent_or_meant_to_be() {
        let check = |[reported, floor, reserve]: [i64; 3], has_spent: bool, unused: bool| {
            let figures = PoolFigures {
                reported: Minor(reported),
                floor: Minor(floor),
                reserve: Minor(reserve),
                ..PoolFigures::empty(Currency::EUR)
            };
            assert_eq!(is_unused(&figures, has_spent), unused, "{figures:?} {has_spent}");
        };
        check([0, 0, 0], false, true);
        check([0, 0, 0], true, false);
        for figures in [[1, 0, 0], [0, 1, 0], [0, 0, 1]] {
            check(figures, false, false);
        }
    }
}
