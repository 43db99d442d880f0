//! Amounts that tapgate cannot know yet: UR's figures reach it by reports, and a report only proves settlements that UR
//! showed before.
//!
//! Until then tapgate subtracts a debit from a figure that may already include it. So tapgate's available balance lies
//! between two bounds, and an answer is right if the books give it for some figure within them. Without feeds there is
//! no doubt: both bounds are equal.

use super::contract::Code;

/// The longest time, in seconds of real time, from showing a transaction to tapgate until tapgate has recorded it.
const RECORDED_WITHIN_SECONDS: u64 = 3;

/// The part of one figure that no report provably includes yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sandbox) struct Doubt {
    waiting: Vec<Waiting>,
    /// Included in the last report, which tapgate has once it asks for the next.
    reported: u64,
    total: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    /// The row in the statement; `None`: the next report proves it at once.
    row: Option<usize>,
    amount: u64,
}

impl Doubt {
    /// A transaction, or, without a row number, a change that the next report shows.
    pub(in crate::sandbox) fn add(&mut self, row: Option<usize>, amount: u64) {
        self.waiting.push(Waiting { row, amount });
        self.total += amount;
    }

    /// In smallest units, or francs with two decimals.
    pub(in crate::sandbox) fn total(&self) -> u64 {
        self.total
    }

    /// Notes a report of the figure to tapgate, which has recorded the given rows.
    pub(in crate::sandbox) fn report(&mut self, is_recorded: impl Fn(usize) -> bool) {
        self.total -= std::mem::take(&mut self.reported);
        let is_proven = |waiting: &mut Waiting| waiting.row.is_none_or(&is_recorded);
        self.reported = self.waiting.extract_if(.., is_proven).map(|proven| proven.amount).sum();
    }
}

/// Whether tapgate has recorded, by `now`, a transaction shown at `shown_at`, on a clock of this speed.
pub(in crate::sandbox) fn is_recorded(shown_at: Option<u64>, now: u64, speed: u64) -> bool {
    shown_at.is_some_and(|shown_at| shown_at + RECORDED_WITHIN_SECONDS * speed < now)
}

/// The range of a figure in tapgate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sandbox) struct Bounds {
    pub(in crate::sandbox) least: u64,
    pub(in crate::sandbox) most: u64,
}

/// One possible set of figures for a decision: an amount of the limit, and one end of each balance's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Belief {
    /// In francs.
    pub(in crate::sandbox) limit: u64,
    ends: u16,
}

impl Belief {
    /// All sets that can change a decision, the largest figures first. The limit is one figure for all ways to pay, so
    /// the need of each way is a threshold, too. `doubted`: the balances whose bounds differ, and whether upcharges may be
    /// held of the funds.
    pub(in crate::sandbox) fn all(
        limit: Bounds,
        needed: Vec<u64>,
        (doubted, upcharges): (&[(bool, Code)], bool),
    ) -> Vec<Belief> {
        let between = needed.into_iter().filter(|needed| (limit.least..limit.most).contains(needed));
        let limits: Vec<_> = [limit.most, limit.least].into_iter().chain(between).collect();
        let of_upcharges = if upcharges { UPCHARGES } else { 0 };
        let bits = doubted.iter().fold(of_upcharges, |bits, (is_pool, code)| bits | bit(*is_pool, code));
        let ends: Vec<u16> = (0..=bits).filter(|ends| ends & !bits == 0).collect();
        limits.into_iter().flat_map(|limit| ends.iter().map(move |ends| Belief { limit, ends: *ends })).collect()
    }

    /// For a pool or a fiat balance in a currency.
    pub(in crate::sandbox) fn of_balance(self, is_pool: bool, code: Code, bounds: Bounds) -> u64 {
        if self.ends & bit(is_pool, code) == 0 { bounds.most } else { bounds.least }
    }

    /// What is held of the user's funds for upcharges.
    pub(in crate::sandbox) fn of_upcharges(self, held: u64) -> u64 {
        if self.ends & UPCHARGES == 0 { 0 } else { held }
    }
}

/// The place of the upcharges of the funds.
const UPCHARGES: u16 = 1 << 10;

/// The place of a balance among the ends; the currencies of the traffic each have their own.
fn bit(is_pool: bool, code: Code) -> u16 {
    let place = ["EUR", "USD", "CHF", "GBP"].iter().position(|known| *known == code).unwrap_or(4);
    1 << (2 * place + usize::from(is_pool))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debit_is_doubtful_until_the_report_after_the_one_that_proves_it() {
        let mut doubt = Doubt::default();
        doubt.add(Some(1), 100);
        doubt.add(Some(2), 20);
        doubt.add(None, 3);
        doubt.report(|_| false);
        assert_eq!(doubt.total(), 123, "what was just reported may not have arrived");
        doubt.report(|row| row == 1);
        assert_eq!(doubt.total(), 120, "the credit has arrived");
        doubt.report(|_| true);
        assert_eq!(doubt.total(), 20);
        doubt.report(|_| true);
        assert_eq!(doubt.total(), 0);
    }
}
