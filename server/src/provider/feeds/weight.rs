//! How often UR counts a spend against the CHF limit, measured between two reports that each include every spend: then it
//! does not matter whether UR counts a spend at its authorization or at its settlement.

use std::collections::HashMap;

use tapgate_engine::fact::Tolerance;
use tapgate_engine::ids::{Sequence, UrId};
use tapgate_engine::money::{ChfMinor, Minor};
use tapgate_engine::rows::User;
use tapgate_engine::time::UnixSeconds;

use crate::provider::findings::LimitWeight;

/// Spends in a row that must agree before the setting is doubted.
const SPENDS_MIN: u32 = 10;

/// An account's figures at a report that includes every spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    /// Start of UR's limit period, and the record at which the count of this period begins.
    pub(super) period: (UnixSeconds, Sequence),
    /// `usedLimit`.
    pub(super) used: ChfMinor,
    /// Our spends of the period that UR has settled, times the setting.
    pub(super) confirmed: ChfMinor,
}

impl Settled {
    /// `None` while a spend may not be in UR's figure.
    pub(super) fn of(row: &User, now: UnixSeconds) -> Option<Settled> {
        let (limit, base) = (row.limit, row.limit_base);
        let is_settled = row.spends().unreflected(now).is_zero();
        is_settled.then_some(Settled { period: (limit.start, base.since), used: limit.used, confirmed: base.confirmed })
    }
}

/// The measurement. A restart begins it anew.
#[derive(Debug, Default)]
pub(super) struct Weights {
    settled: HashMap<UrId, Settled>,
    /// Spends in a row that UR counted so many times, for each other weight than the setting.
    others: [u32; 3],
}

impl Weights {
    /// Compares an account's figures with those before; the result where it says something about the setting.
    pub(super) fn note(&mut self, user: &UrId, now: Settled, set: u8, tolerance: Tolerance) -> Option<LimitWeight> {
        let before = self.settled.insert(user.clone(), now)?;
        let settled = now.confirmed.checked_sub(before.confirmed)?;
        if before.period != now.period || settled <= ChfMinor::ZERO || set == 0 {
            return None;
        }
        let (moved, set_times) = (i128::from(now.used.0) - i128::from(before.used.0), i128::from(set));
        let allowed = i128::from(tolerance.of(Minor(settled.0)).0);
        let fits = |times: i128| (moved * set_times - times * i128::from(settled.0)).abs() <= allowed * set_times;
        // The account's other operations move the figure, too: a move that fits no weight says nothing.
        let counted = (0_u8..=2).find(|times| fits(i128::from(*times)))?;
        let before = self.others;
        self.others = [0; 3];
        if counted == set {
            return Some(LimitWeight { set, counted });
        }
        let place = usize::from(counted);
        let spends = before.get(place).copied().unwrap_or(0).saturating_add(1);
        if let Some(other) = self.others.get_mut(place) {
            *other = spends;
        }
        (spends >= SPENDS_MIN).then_some(LimitWeight { set, counted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settlements of 100.00 francs at the setting 1, each with the move of `usedLimit`; the last result.
    #[track_caller]
    fn check(set: u8, moves: &[i64], expected: Option<u8>) {
        let (user, mut weights) = ("12345".parse::<UrId>().unwrap(), Weights::default());
        let tolerance = Tolerance { drift_bps: 200 };
        let mut now = Settled { period: (UnixSeconds(0), Sequence(1)), used: ChfMinor(500), confirmed: ChfMinor::ZERO };
        let mut last = weights.note(&user, now, set, tolerance);
        for moved in moves {
            now.used = ChfMinor(now.used.0 + moved);
            now.confirmed = ChfMinor(now.confirmed.0 + 10_000 * i64::from(set));
            last = weights.note(&user, now, set, tolerance);
        }
        assert_eq!(last, expected.map(|counted| LimitWeight { set, counted }), "{moves:?}");
    }

    #[test]
    fn ten_spends_in_a_row_that_agree_on_another_weight_are_told() {
        check(1, &[20_000; 9], None);
        check(1, &[20_000; 10], Some(2));
        check(1, &[19_800; 10], Some(2));
        check(1, &[0; 10], Some(0));
        check(2, &[10_000; 10], Some(1));
        check(1, &[10_000], Some(1));
        check(1, &[[20_000; 9].as_slice(), &[10_000], &[20_000; 9]].concat(), None);
        check(1, &[[20_000; 9].as_slice(), &[0], &[20_000; 9]].concat(), None);
        // A transfer of the account's own says nothing, and interrupts nothing.
        check(1, &[[20_000; 9].as_slice(), &[15_000], &[20_000]].concat(), Some(2));
        check(0, &[10_000; 12], None);
    }

    #[test]
    fn a_new_period_and_a_move_without_a_spend_say_nothing() {
        let (user, mut weights) = ("12345".parse::<UrId>().unwrap(), Weights::default());
        let tolerance = Tolerance { drift_bps: 200 };
        let at = |start, used, confirmed| Settled {
            period: (UnixSeconds(start), Sequence(1)),
            used: ChfMinor(used),
            confirmed: ChfMinor(confirmed),
        };
        for settled in [at(0, 0, 0), at(0, 700, 0), at(9, 0, 100), at(9, 50, 100)] {
            assert_eq!(weights.note(&user, settled, 1, tolerance), None);
        }
        let agreed = LimitWeight { set: 1, counted: 1 };
        assert_eq!(weights.note(&user, at(9, 150, 200), 1, tolerance), Some(agreed));
    }
}
