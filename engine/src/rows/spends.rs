//! A user's recent spends: the unreflected uses of the CHF limit and the velocity windows, in one bounded ring.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::contract::limit::LIMIT_PERIOD_SECONDS;
use crate::fact::Window;
use crate::fact::controls::VELOCITY_COUNT_MAX;
use crate::ids::Sequence;
use crate::money::ChfMinor;
use crate::time::UnixSeconds;

const _: () = assert!((VELOCITY_COUNT_MAX as usize) < SPENDS_MAX);

/// Maximum spends in a user's ring. Beyond it the two oldest merge into one with the later time: the merged spend can
/// only count longer than it should, never shorter.
pub const SPENDS_MAX: usize = 2_048;

/// From this length on, the ring grows as the collection does by default.
const GROWN: usize = 4;

/// The card number of spends merged across cards: it counts for every card.
const ANY_CARD: u16 = u16::MAX;

/// One approved decision (or UR's reversal, which uses the limit again), or several merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Spend {
    /// The spend's records lie in `first..=last`.
    first: Sequence,
    last: Sequence,
    at: UnixSeconds,
    card: u16,
    /// Approvals counted by velocity.
    count: u32,
    /// Francs counted by velocity; reversals and releases lower it. Saturating: a merged sum at the end of `i64` stays
    /// there until it drops out, and so does `unreflected`. Such spends count longer than they should, never shorter.
    spent: ChfMinor,
    /// Francs that count against the client limit and are not known to be in UR's `usedLimit`.
    unreflected: ChfMinor,
    /// The record that showed UR's use of the limit; zero while none has.
    completed: Sequence,
}

impl Spend {
    fn is_completed_by(&self, through: Sequence) -> bool {
        self.completed > Sequence::ZERO && self.completed <= through
    }
}

/// A user's spends of the last 30 days, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spends {
    ring: VecDeque<Spend>,
}

/// A record's addition to a user's spends.
#[derive(Clone, Copy, Debug)]
pub struct NewSpend {
    pub sequence: Sequence,
    pub at: UnixSeconds,
    /// The number of the card within its user.
    pub card: u16,
    /// 1 for an approval, 0 for a reversal's use of the limit.
    pub count: u32,
    /// Francs counted by velocity.
    pub spent: ChfMinor,
    /// Francs counted against the limit.
    pub unreflected: ChfMinor,
    /// Whether UR has counted the use already.
    pub is_completed: bool,
}

impl Spends {
    pub const NONE: Spends = Spends { ring: VecDeque::new() };

    /// Adds a spend and drops spends that no window can include any more.
    pub fn add(&mut self, new: NewSpend) {
        // Two requests may be recorded in the opposite order of their stamps; the ring stays sorted by time.
        let at = self.ring.back().map_or(new.at, |latest| latest.at.max(new.at));
        while self.ring.front().is_some_and(|oldest| outlived(oldest.at, at)) {
            self.ring.pop_front();
        }
        let spend = Spend {
            first: new.sequence,
            last: new.sequence,
            at,
            card: new.card,
            count: new.count,
            spent: new.spent,
            unreflected: new.unreflected,
            completed: if new.is_completed { new.sequence } else { Sequence::ZERO },
        };
        if self.ring.len() == self.ring.capacity() && self.ring.len() < GROWN {
            // Many users spend once or twice in a month: room for four at once would be most of their row.
            self.ring.reserve_exact(self.ring.len().max(1));
        }
        self.ring.push_back(spend);
        if self.ring.len() > SPENDS_MAX {
            self.merge_oldest();
        }
    }

    fn merge_oldest(&mut self) {
        let Some(oldest) = self.ring.pop_front() else { return };
        if let Some(next) = self.ring.front_mut() {
            next.first = oldest.first;
            next.card = if next.card == oldest.card { next.card } else { ANY_CARD };
            next.count = next.count.saturating_add(oldest.count);
            next.spent = next.spent.saturating_add(oldest.spent);
            // A part that UR has not shown keeps the whole counted.
            let both = oldest.completed > Sequence::ZERO && next.completed > Sequence::ZERO;
            next.completed = if both { next.completed.max(oldest.completed) } else { Sequence::ZERO };
            next.unreflected = next.unreflected.saturating_add(oldest.unreflected);
        }
    }

    /// Marks the spend of `record` as counted by UR, as shown by the later record `shown`.
    pub fn complete(&mut self, record: Sequence, shown: Sequence) {
        let place = self.ring.partition_point(|spend| spend.last < record);
        // Evidence for one of several merged spends proves nothing about the others.
        if let Some(spend) = self.ring.get_mut(place).filter(|spend| (spend.first, spend.last) == (record, record)) {
            spend.completed = shown;
        }
    }

    /// Francs used after the record `since` that UR showed completed by `through` and no figure provably includes yet.
    /// Excludes uses from UR's own transactions: when UR counted those is unknown.
    #[must_use]
    pub fn completed(&self, since: Sequence, through: Sequence) -> ChfMinor {
        let was_ours = |spend: &Spend| spend.first > since && spend.completed > spend.last;
        let done = self.ring.iter().filter(|spend| was_ours(spend) && spend.is_completed_by(through));
        total(done.map(|spend| spend.unreflected))
    }

    /// Time of the oldest use later than `after` that counts and that UR has not shown completed.
    #[must_use]
    pub fn unshown_since(&self, after: UnixSeconds) -> Option<UnixSeconds> {
        let is_unshown = |spend: &&Spend| spend.completed == Sequence::ZERO && !spend.unreflected.is_zero();
        self.ring.iter().filter(|spend| spend.at > after).find(is_unshown).map(|spend| spend.at)
    }

    /// Stops counting uses completed by `through`: UR's figure, requested later, includes them.
    pub fn reflect(&mut self, through: Sequence) {
        for spend in self.ring.iter_mut().filter(|spend| spend.is_completed_by(through)) {
            spend.unreflected = ChfMinor::ZERO;
        }
    }

    /// Lowers the counts of the spend of `record`, if it is still in the ring.
    pub fn lower(&mut self, record: Sequence, spent: ChfMinor, unreflected: ChfMinor) {
        let place = self.ring.partition_point(|spend| spend.last < record);
        if let Some(spend) = self.ring.get_mut(place).filter(|spend| spend.first <= record) {
            spend.spent = lowered(spend.spent, spent);
            spend.unreflected = lowered(spend.unreflected, unreflected);
        }
    }

    /// Francs that count against the limit in addition to UR's own figure. A use drops out after 30 days.
    #[must_use]
    pub fn unreflected(&self, now: UnixSeconds) -> ChfMinor {
        let live = self.ring.iter().filter(|spend| !outlived(spend.at, now));
        total(live.map(|spend| spend.unreflected))
    }

    /// The spends in `(now − window, now]`, of one card or of all.
    #[must_use]
    pub fn window(&self, now: UnixSeconds, window_seconds: u32, card: Option<u16>) -> Window {
        let since = now.plus(-i64::from(window_seconds));
        let seen = self.ring.iter().rev().take_while(|spend| spend.at > since);
        let seen = seen.filter(|spend| card.is_none_or(|card| spend.card == card || spend.card == ANY_CARD));
        // Saturating: sums at their ends exceed every bound.
        seen.fold(Window::default(), |window, spend| Window {
            count: window.count.saturating_add(spend.count),
            spent: window.spent.saturating_add(spend.spent),
        })
    }

    /// Time when the oldest approval leaves a window, so that a declined request may be retried; `None` for an empty
    /// window.
    #[must_use]
    pub fn relief_at(&self, now: UnixSeconds, window_seconds: u32, card: Option<u16>) -> Option<UnixSeconds> {
        let since = now.plus(-i64::from(window_seconds));
        let counts = |spend: &&Spend| card.is_none_or(|card| spend.card == card || spend.card == ANY_CARD);
        let oldest = self.ring.iter().filter(|spend| spend.at > since && spend.count > 0).find(counts)?;
        Some(oldest.at.plus(i64::from(window_seconds)))
    }
}

/// The rest of a spend, at least zero. A sum at the end of `i64` stays there: how far its parts exceeded `i64` is
/// unknown.
fn lowered(francs: ChfMinor, by: ChfMinor) -> ChfMinor {
    if francs.0 == i64::MAX { francs } else { (francs - by).max(ChfMinor::ZERO) }
}

/// Sums non-negative francs, saturating at the end of `i64`: there they exceed every limit and every bound.
fn total(francs: impl Iterator<Item = ChfMinor>) -> ChfMinor {
    francs.fold(ChfMinor::ZERO, ChfMinor::saturating_add)
}

/// Whether a use has dropped out of the limit: 30 days after it happened, as strictly as the contract ends a period.
fn outlived(at: UnixSeconds, now: UnixSeconds) -> bool {
    at.plus(LIMIT_PERIOD_SECONDS) < now
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spend(sequence: u64, at: i64, francs: i64) -> NewSpend {
        let chf = ChfMinor(francs);
        NewSpend {
            sequence: Sequence(sequence),
            at: UnixSeconds(at),
            card: 1,
            count: 1,
            spent: chf,
            unreflected: chf,
            is_completed: false,
        }
    }

    #[test]
    fn a_window_is_open_at_its_start_and_closed_at_its_end() {
        let mut spends = Spends::default();
        spends.add(spend(1, 1000, 5));
        spends.add(spend(2, 1010, 7));
        let check = |now: i64, count: u32, francs: i64| {
            let expected = Window { count, spent: ChfMinor(francs) };
            assert_eq!(spends.window(UnixSeconds(now), 60, None), expected, "at {now}");
        };
        check(1010, 2, 12);
        check(1059, 2, 12);
        check(1060, 1, 7);
        check(1070, 0, 0);
    }

    #[test]
    fn a_use_of_the_limit_drops_out_strictly_after_thirty_days() {
        let mut spends = Spends::default();
        spends.add(spend(1, 1000, 5));
        assert_eq!(spends.unreflected(UnixSeconds(1000 + LIMIT_PERIOD_SECONDS)), ChfMinor(5));
        assert_eq!(spends.unreflected(UnixSeconds(1001 + LIMIT_PERIOD_SECONDS)), ChfMinor(0));
    }

    #[test]
    fn a_full_ring_merges_its_oldest_and_forgets_nothing() {
        let mut spends = Spends::default();
        let total = i64::try_from(SPENDS_MAX).unwrap() + 100;
        for n in 1..=total {
            spends.add(spend(n.unsigned_abs(), n, 1));
        }
        assert_eq!(spends.ring.len(), SPENDS_MAX);
        assert_eq!(spends.unreflected(UnixSeconds(total)), ChfMinor(total));
        spends.lower(Sequence(3), ChfMinor(1), ChfMinor(1));
        assert_eq!(spends.unreflected(UnixSeconds(total)), ChfMinor(total - 1), "found inside the merged one");
        spends.lower(Sequence(total.unsigned_abs() + 5), ChfMinor(1), ChfMinor(1));
        assert_eq!(spends.unreflected(UnixSeconds(total)), ChfMinor(total - 1), "an unknown record lowers nothing");
    }

    #[test]
    fn one_cards_window_does_not_see_another_card() {
        let mut spends = Spends::default();
        spends.add(spend(1, 1000, 5));
        spends.add(NewSpend { card: 2, ..spend(2, 1000, 7) });
        assert_eq!(spends.window(UnixSeconds(1000), 60, Some(2)), Window { count: 1, spent: ChfMinor(7) });
        assert_eq!(spends.window(UnixSeconds(1000), 60, None).count, 2);
    }
}
