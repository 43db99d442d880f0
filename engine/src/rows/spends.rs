//! A user's recent spends: the unreflected uses of the CHF limit and the velocity windows, in one bounded ring.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::spend_bytes::{pack, unpack};
use super::spend_ring::Ring;
use crate::contract::limit::LIMIT_PERIOD_SECONDS;
use crate::fact::Window;
use crate::fact::controls::VELOCITY_COUNT_MAX;
use crate::ids::Sequence;
use crate::money::ChfMinor;
use crate::time::UnixSeconds;

const _: () = assert!((VELOCITY_COUNT_MAX as usize) < SPENDS_MAX);

/// Spends that a user's ring keeps one by one: the newest. Older ones of one hour merge into one with the latest time:
/// it counts an hour longer than it should at most, never shorter.
pub const SPENDS_MAX: usize = 2_048;

/// How long a spend is kept: longer than any calendar month of any zone, whose last day may have 25 hours.
pub const SPENDS_KEPT_SECONDS: i64 = 32 * 24 * 3_600;

/// The hour, in seconds, whose older spends merge: a ring has at most one a hour of its period beyond [`SPENDS_MAX`].
const MERGED_SECONDS: i64 = 3_600;

/// The card number of spends merged across cards: it counts for every card.
const ANY_CARD: u16 = u16::MAX;

/// One approved decision (or UR's reversal, which uses the limit again), or several merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spend {
    /// The spend's records lie in `first..=last`.
    pub(super) first: Sequence,
    pub(super) last: Sequence,
    pub(super) at: UnixSeconds,
    pub(super) card: u16,
    /// Approvals counted by velocity.
    pub(super) count: u32,
    /// Francs counted by velocity; reversals and releases lower it. Saturating: a merged sum at the end of `i64` stays
    /// there until it drops out, and so do `unshown` and `shown`. Such spends count longer than they should, never
    /// shorter.
    pub(super) spent: ChfMinor,
    /// Francs that count against the client limit, whose use UR has not shown. A use that UR never shows stays here until
    /// it drops out, and keeps nothing else from being proven.
    pub(super) unshown: ChfMinor,
    /// Francs that count against the client limit, whose use UR showed by the record `completed`, and that are not known
    /// to be in UR's `usedLimit`.
    pub(super) shown: ChfMinor,
    /// The record that showed UR's use of the limit; zero where nothing is shown.
    pub(super) completed: Sequence,
    /// UR made the use known, or we claim again what we had given up: UR may have counted it before these records.
    pub(super) is_urs: bool,
}

impl Spend {
    /// The spend before the first.
    pub(super) const NONE: Spend = Spend {
        first: Sequence::ZERO,
        last: Sequence::ZERO,
        at: UnixSeconds(0),
        card: 0,
        count: 0,
        spent: ChfMinor::ZERO,
        unshown: ChfMinor::ZERO,
        shown: ChfMinor::ZERO,
        completed: Sequence::ZERO,
        is_urs: false,
    };

    fn is_completed_by(&self, through: Sequence) -> bool {
        self.completed > Sequence::ZERO && self.completed <= through
    }

    /// Whether it counts for this card; a merged one may be any card's.
    fn is_of(&self, card: Option<u16>) -> bool {
        card.is_none_or(|card| self.card == card || self.card == ANY_CARD)
    }

    /// Francs that count against the limit.
    fn counted(&self) -> i128 {
        i128::from(self.unshown.0) + i128::from(self.shown.0)
    }

    /// Takes an older spend in.
    fn merge(&mut self, older: &Spend) {
        self.first = older.first;
        self.card = if self.card == older.card { self.card } else { ANY_CARD };
        self.count = self.count.saturating_add(older.count);
        self.spent = self.spent.saturating_add(older.spent);
        self.unshown = self.unshown.saturating_add(older.unshown);
        self.shown = self.shown.saturating_add(older.shown);
        self.completed = self.completed.max(older.completed);
        self.is_urs |= older.is_urs;
    }
}

/// A user's spends of the last 32 days, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Spends {
    ring: Ring,
    /// The first spends of the ring that are too old for the limit, and known to be so.
    lapsed: usize,
    /// Francs of the spends after those that count against the limit: a decision does not walk them.
    counted: Counted,
}

/// Aligned as the other fields are, so that no bytes of a row are lost to it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(Rust, packed(8))]
struct Counted(i128);

impl PartialEq for Spends {
    fn eq(&self, other: &Spends) -> bool {
        // The other fields follow from the ring, sooner or later.
        self.ring == other.ring
    }
}

impl Eq for Spends {}

impl Serialize for Spends {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&pack(self.ring.iter()))
    }
}

impl<'de> Deserialize<'de> for Spends {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Spends, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        let ring = unpack(&bytes).ok_or_else(|| D::Error::custom("not the bytes of spends"))?;
        Ok(Spends {
            counted: Counted(ring.iter().map(Spend::counted).sum()),
            lapsed: 0,
            ring: ring.into_iter().collect(),
        })
    }
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
    /// Of these, the part that UR has shown.
    pub shown: ChfMinor,
    /// Whether UR may have counted it before this record: no decision or return of ours is recorded by it.
    pub is_urs: bool,
}

impl Spends {
    pub const NONE: Spends = Spends { ring: Ring::EMPTY, lapsed: 0, counted: Counted(0) };

    /// Adds a spend and drops spends that no window can include any more.
    pub fn add(&mut self, new: NewSpend) {
        // Two requests may be recorded in the opposite order of their stamps; the ring stays sorted by time.
        let at = self.newest().map_or(new.at, |latest| latest.max(new.at));
        self.drop_before(at.plus(-SPENDS_KEPT_SECONDS));
        self.lapse_before(at.plus(-LIMIT_PERIOD_SECONDS));
        let shown = new.shown.min(new.unreflected).max(ChfMinor::ZERO);
        let spend = Spend {
            first: new.sequence,
            last: new.sequence,
            at,
            card: new.card,
            count: new.count,
            spent: new.spent,
            unshown: new.unreflected - shown,
            shown,
            completed: if shown.is_zero() { Sequence::ZERO } else { new.sequence },
            is_urs: new.is_urs,
        };
        self.counted.0 += spend.counted();
        self.ring.add(spend);
        self.merge_oldest();
    }

    /// Merges the spend that is no longer among the newest into the merged one of its hour.
    fn merge_oldest(&mut self) {
        let Some(place) = self.ring.len().checked_sub(SPENDS_MAX + 1) else { return };
        let Some(before) = place.checked_sub(1) else { return };
        let (Some(older), Some(mut newer)) = (self.ring.get(before), self.ring.get(place)) else { return };
        if older.at.0.div_euclid(MERGED_SECONDS) == newer.at.0.div_euclid(MERGED_SECONDS) {
            let counted = older.counted() + newer.counted();
            newer.merge(&older);
            match self.lapsed {
                lapsed if lapsed > place => self.lapsed -= 1,
                // The older one counts again, with the newer.
                lapsed if lapsed == place => {
                    self.lapsed -= 1;
                    self.counted.0 += newer.counted() - (counted - older.counted());
                }
                // A sum at its end counts less than its parts.
                _ => self.counted.0 += newer.counted() - counted,
            }
            self.ring.set(place, newer);
            self.ring.remove(before);
        }
    }

    /// Drops the spends before `before`, and brings times later than `latest` back to it.
    pub fn age(&mut self, before: UnixSeconds, latest: UnixSeconds) {
        self.drop_before(before);
        let back = self.ring.place_after(|spend| spend.at <= latest)..self.ring.len();
        if !back.is_empty() {
            back.for_each(|place| self.change_at(place, |spend| spend.at = latest));
            // What was too old for a clock that was wrong may count again.
            (self.lapsed, self.counted) = (0, Counted(self.ring.iter().map(|spend| spend.counted()).sum()));
        }
        self.ring.shrink();
    }

    /// Ends the uses of the limit before `before`: UR's period, in which they counted, is over. Velocity counts them on.
    pub fn end_uses(&mut self, before: UnixSeconds) {
        for place in 0..self.ring.place_after(|spend| spend.at < before) {
            self.change_at(place, |spend| {
                (spend.unshown, spend.shown, spend.completed) = (ChfMinor::ZERO, ChfMinor::ZERO, Sequence::ZERO);
            });
        }
    }

    /// Whether [`Spends::end_uses`] would change anything.
    #[must_use]
    pub fn uses_before(&self, before: UnixSeconds) -> bool {
        self.ring.iter().take_while(|spend| spend.at < before).any(|spend| spend.counted() > 0)
    }

    /// Whether [`Spends::age`] would change anything.
    #[must_use]
    pub fn ages(&self, before: UnixSeconds, latest: UnixSeconds) -> bool {
        self.ring.oldest().is_some_and(|oldest| oldest.at < before)
            || self.newest().is_some_and(|newest| newest > latest)
    }

    /// The record of the last approval on a card.
    #[must_use]
    pub(crate) fn last_approval(&self, card: u16) -> Option<Sequence> {
        self.ring.iter().rev().find(|spend| spend.card == card && spend.count > 0).map(|spend| spend.last)
    }

    /// Bytes of memory that the ring takes.
    #[cfg(feature = "testing")]
    pub(crate) fn bytes(&self) -> usize {
        self.ring.bytes()
    }

    /// Time of the newest spend.
    #[must_use]
    pub fn newest(&self) -> Option<UnixSeconds> {
        self.ring.newest().map(|spend| spend.at)
    }

    fn drop_before(&mut self, before: UnixSeconds) {
        while let Some(oldest) = self.ring.oldest().filter(|oldest| oldest.at < before) {
            match self.lapsed.checked_sub(1) {
                Some(lapsed) => self.lapsed = lapsed,
                None => self.counted.0 -= oldest.counted(),
            }
            self.ring.remove_oldest();
        }
    }

    /// Notes the spends that are too old for the limit: each is visited once.
    fn lapse_before(&mut self, before: UnixSeconds) {
        while let Some(oldest) = self.ring.get(self.lapsed).filter(|oldest| oldest.at < before) {
            self.counted.0 -= oldest.counted();
            self.lapsed += 1;
        }
    }

    /// Changes the spend of `record`, if it is in the ring.
    fn change(&mut self, record: Sequence, change: impl FnOnce(&mut Spend)) {
        let place = self.place_of(record);
        if self.ring.get(place).is_some_and(|spend| spend.first <= record) {
            self.change_at(place, change);
        }
    }

    fn change_at(&mut self, place: usize, change: impl FnOnce(&mut Spend)) {
        let Some(mut spend) = self.ring.get(place) else { return };
        let counted = spend.counted();
        change(&mut spend);
        if place >= self.lapsed {
            self.counted.0 += spend.counted() - counted;
        }
        self.ring.set(place, spend);
    }

    /// The place of the first spend that the record may be one of.
    fn place_of(&self, record: Sequence) -> usize {
        self.ring.place_after(|spend| spend.last < record)
    }

    /// Changes the use of the limit that `record` made, and the part of it that UR shows, by the later record `by`. What
    /// UR's figure includes already changes no more. Returns the francs that it should have lowered and did not.
    pub fn change_use(&mut self, record: Sequence, limit: ChfMinor, shown: ChfMinor, by: Sequence) -> ChfMinor {
        let mut rest = ChfMinor::ZERO;
        self.change(record, |spend| {
            let before = spend.counted();
            // Evidence for one of several merged spends proves nothing about the others.
            let is_one = spend.first == spend.last;
            if is_one && shown > ChfMinor::ZERO {
                let part = shown.min(spend.unshown);
                spend.unshown = lowered(spend.unshown, part);
                spend.shown = spend.shown.saturating_add(part);
                spend.completed = if part.is_zero() { spend.completed } else { by };
            }
            let back = if is_one { (-shown).max(ChfMinor::ZERO).min(spend.shown) } else { ChfMinor::ZERO };
            spend.shown = lowered(spend.shown, back);
            spend.unshown = spend.unshown.saturating_add(back);
            // What is lowered was not shown, as far as there is such a part: of several merged spends, what was.
            let less = -limit;
            let of_unshown = if is_one { less.min(spend.unshown) } else { less - less.min(spend.shown) };
            spend.unshown = lowered(spend.unshown, of_unshown);
            spend.shown = lowered(spend.shown, less - of_unshown);
            if spend.shown.is_zero() {
                spend.completed = Sequence::ZERO;
            }
            // Saturating: a sum at the end of `i64` stays there.
            let lowered = ChfMinor(i64::try_from(before - spend.counted()).unwrap_or(i64::MAX));
            rest = (-limit).saturating_sub(lowered).max(ChfMinor::ZERO);
        });
        rest
    }

    /// Francs used after the record `since` that UR showed completed by `through` and no figure provably includes yet.
    /// Excludes what UR may have counted before the record that uses it.
    #[must_use]
    pub fn completed(&self, since: Sequence, through: Sequence) -> ChfMinor {
        let is_later = |spend: &Spend| spend.first > since && !spend.is_urs;
        let done = self.ring.iter().filter(|spend| is_later(spend) && spend.is_completed_by(through));
        total(done.map(|spend| spend.shown))
    }

    /// Time of the oldest use later than `after` that counts and that UR has not shown completed.
    #[must_use]
    pub fn unshown_since(&self, after: UnixSeconds) -> Option<UnixSeconds> {
        self.later_than(after).find(|spend| !spend.unshown.is_zero()).map(|spend| spend.at)
    }

    /// Stops counting uses completed by `through`: UR's figure, requested later, includes them.
    pub fn reflect(&mut self, through: Sequence) {
        for place in 0..self.ring.len() {
            if self.ring.get(place).is_some_and(|spend| spend.is_completed_by(through)) {
                self.change_at(place, |spend| (spend.shown, spend.completed) = (ChfMinor::ZERO, Sequence::ZERO));
            }
        }
    }

    /// Whether the ring holds the spend of `record`.
    #[must_use]
    pub fn has(&self, record: Sequence) -> bool {
        self.ring.get(self.place_of(record)).is_some_and(|spend| spend.first <= record)
    }

    /// Lowers what velocity counts of `record`, if it is still in the ring.
    pub fn lower(&mut self, record: Sequence, spent: ChfMinor) {
        self.change(record, |spend| spend.spent = lowered(spend.spent, spent));
    }

    /// Counts the approval of `record` no more: its answer was a decline.
    pub fn uncount(&mut self, record: Sequence) {
        self.change(record, |spend| spend.count = spend.count.saturating_sub(1));
    }

    /// Francs that count against the limit in addition to UR's own figure. A use drops out after 30 days.
    #[must_use]
    pub fn unreflected(&self, now: UnixSeconds) -> ChfMinor {
        let over: i128 = self.over(now).map(|spend| spend.counted()).sum();
        // Saturating at the end of `i64`: there it exceeds every limit.
        ChfMinor(i64::try_from(self.counted.0 - over).unwrap_or(i64::MAX))
    }

    /// The spends that dropped out of the limit and are still in the ring: mostly none, because each new spend and each day
    /// takes them away.
    fn over(&self, now: UnixSeconds) -> impl Iterator<Item = Spend> {
        self.ring.from(self.lapsed).take_while(move |spend| outlived(spend.at, now))
    }

    /// The spends later than `since`, of one card or of all.
    #[must_use]
    pub fn window(&self, since: UnixSeconds, card: Option<u16>) -> Window {
        let seen = self.later_than(since).filter(|spend| spend.is_of(card));
        // Saturating: sums at their ends exceed every bound.
        seen.fold(Window::default(), |window, spend| Window {
            count: window.count.saturating_add(spend.count),
            spent: window.spent.saturating_add(spend.spent),
        })
    }

    /// Time of the oldest approval later than `since`, of one card or of all.
    #[must_use]
    pub fn oldest_approval(&self, since: UnixSeconds, card: Option<u16>) -> Option<UnixSeconds> {
        self.later_than(since).filter(|spend| spend.count > 0).find(|spend| spend.is_of(card)).map(|spend| spend.at)
    }

    /// The spends later than `since`, oldest first.
    fn later_than(&self, since: UnixSeconds) -> impl Iterator<Item = Spend> {
        self.ring.from(self.ring.place_after(|spend| spend.at <= since))
    }
}

/// The rest of a spend, at least zero. A sum at the end of `i64` stays there: how far its parts exceeded `i64` is
/// unknown.
fn lowered(francs: ChfMinor, by: ChfMinor) -> ChfMinor {
    if francs.0 == i64::MAX { francs } else { francs.saturating_sub(by).max(ChfMinor::ZERO) }
}

/// Sums non-negative francs, saturating at the end of `i64`: there they exceed every limit and every bound.
fn total(francs: impl Iterator<Item = ChfMinor>) -> ChfMinor {
    francs.fold(ChfMinor::ZERO, ChfMinor::saturating_add)
}

/// Whether a use has dropped out of the limit: 30 days after it happened, as strictly as the contract ends a period.
fn outlived(at: UnixSeconds, now: UnixSeconds) -> bool {
    at.plus(LIMIT_PERIOD_SECONDS) < now
}

/// Any spend at all, also one that no ledger makes.
#[cfg(test)]
pub(super) fn any_spend() -> impl proptest::strategy::Strategy<Value = Spend> {
    use proptest::prelude::*;
    let amount = || prop_oneof![Just(0), Just(500), any::<i64>()];
    let sequence = || prop_oneof![Just(0), 0_u64..1_000, any::<u64>()];
    let at = prop_oneof![0..i64::from(u32::MAX), any::<i64>()];
    let numbers = (sequence(), prop::option::of(sequence()), sequence(), at, any::<u16>(), 0_u32..300, any::<bool>());
    (numbers, amount(), amount(), amount()).prop_map(
        |((first, last, completed, at, card, count, is_urs), spent, unshown, shown)| Spend {
            first: Sequence(first),
            last: Sequence(last.unwrap_or(first)),
            at: UnixSeconds(at),
            card,
            count,
            spent: ChfMinor(spent),
            unshown: ChfMinor(unshown),
            shown: ChfMinor(shown),
            completed: Sequence(completed),
            is_urs,
        },
    )
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
            shown: ChfMinor::ZERO,
            is_urs: false,
        }
    }

    #[test]
    fn a_window_is_open_at_its_start_and_closed_at_its_end() {
        let mut spends = Spends::default();
        spends.add(spend(1, 1000, 5));
        spends.add(spend(2, 1010, 7));
        let check = |now: i64, count: u32, francs: i64| {
            let expected = Window { count, spent: ChfMinor(francs) };
            assert_eq!(spends.window(UnixSeconds(now - 60), None), expected, "at {now}");
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
    fn a_full_ring_merges_the_older_spends_of_an_hour_and_forgets_nothing() {
        let mut spends = Spends::default();
        let total = i64::try_from(SPENDS_MAX).unwrap() + 100;
        for n in 1..=total {
            spends.add(spend(n.unsigned_abs(), n, 1));
        }
        assert_eq!(spends.ring.len(), SPENDS_MAX + 1);
        assert_eq!(spends.unreflected(UnixSeconds(total)), ChfMinor(total));
        spends.lower(Sequence(3), ChfMinor(1));
        spends.change_use(Sequence(3), ChfMinor(-1), ChfMinor::ZERO, Sequence(3));
        assert_eq!(spends.unreflected(UnixSeconds(total)), ChfMinor(total - 1), "found inside the merged one");
        let unknown = Sequence(total.unsigned_abs() + 5);
        spends.lower(unknown, ChfMinor(1));
        spends.change_use(unknown, ChfMinor(-1), ChfMinor::ZERO, unknown);
        assert_eq!(spends.unreflected(UnixSeconds(total)), ChfMinor(total - 1), "an unknown record lowers nothing");
    }

    /// A tap every twenty minutes: seventy a day.
    const GAP_SECONDS: i64 = 24 * 3600 / 70;

    #[test]
    fn a_busy_year_keeps_no_more_than_its_last_thirty_days() {
        let mut spends = Spends::default();
        let taps = 365 * 70_i64;
        let mut walked = 0;
        for n in 1..=taps {
            let now = UnixSeconds(n * GAP_SECONDS);
            walked += spends.over(now).count();
            let expected = n.min(LIMIT_PERIOD_SECONDS / GAP_SECONDS + 1);
            spends.add(spend(n.unsigned_abs() * 50_000, now.0, 1_250));
            let exact = i128::from(expected) * 1_250;
            let late = i128::from(3_600 / GAP_SECONDS + 1) * 1_250;
            let counted = i128::from(spends.unreflected(now).0);
            assert!((exact..=exact + late).contains(&counted), "tap {n}: {counted}, exactly {exact}");
            let day = spends.window(now.plus(-86_400), None);
            assert_eq!(i64::from(day.count), n.min(86_400 / GAP_SECONDS + 1), "windows within the newest are exact");
        }
        assert!(i64::try_from(walked).unwrap() <= taps, "{walked} spends walked by {taps} decisions: one each");
        assert!(spends.ring.len() <= SPENDS_MAX + 769);
        assert!(pack(spends.ring.iter()).len() < 20_000, "{} bytes", pack(spends.ring.iter()).len());
    }

    #[test]
    fn however_many_spends_a_month_holds_the_ring_is_bounded() {
        let mut spends = Spends::default();
        for n in 1..=60_000_i64 {
            spends.add(spend(n.unsigned_abs(), n * 43, 1));
        }
        assert!(spends.ring.len() <= SPENDS_MAX + 769, "{}", spends.ring.len());
        assert_eq!(spends.unreflected(UnixSeconds(60_000 * 43)), ChfMinor(60_000), "30 days less a few seconds");
    }

    #[test]
    fn a_use_that_ur_never_shows_keeps_no_other_from_being_proven() {
        let mut spends = Spends::default();
        let total = u64::try_from(SPENDS_MAX).unwrap() + 100;
        for n in 1..=total {
            spends.add(spend(n, n.cast_signed(), 1));
            if n != 7 {
                spends.change_use(Sequence(n), ChfMinor::ZERO, ChfMinor(1), Sequence(n));
            }
        }
        spends.reflect(Sequence(total));
        assert_eq!(spends.unreflected(UnixSeconds(total.cast_signed())), ChfMinor(1), "the seventh alone");
        assert_eq!(spends.unreflected(UnixSeconds(3_600 + LIMIT_PERIOD_SECONDS)), ChfMinor(0), "and for 30 days");
    }

    #[test]
    fn what_ur_shows_of_a_use_ends_with_its_figure_and_the_rest_counts_on() {
        let left = |spends: &Spends| spends.unreflected(UnixSeconds(100));
        let change = |spends: &mut Spends, limit, shown, by| {
            spends.change_use(Sequence(1), ChfMinor(limit), ChfMinor(shown), Sequence(by));
        };
        let mut spends = Spends::default();
        spends.add(spend(1, 100, 90));
        change(&mut spends, 0, 50, 2);
        spends.reflect(Sequence(1));
        assert_eq!(left(&spends), ChfMinor(90), "the figure was asked for before UR showed it");
        spends.reflect(Sequence(2));
        assert_eq!(left(&spends), ChfMinor(40));
        change(&mut spends, 0, -50, 3);
        assert_eq!(left(&spends), ChfMinor(40), "what the figure includes comes back no more");
        change(&mut spends, 0, 30, 4);
        change(&mut spends, 0, -30, 5);
        spends.reflect(Sequence(5));
        assert_eq!(left(&spends), ChfMinor(40), "UR has more to show");
        change(&mut spends, -10, 25, 6);
        spends.reflect(Sequence(6));
        assert_eq!(left(&spends), ChfMinor(5));
    }

    #[test]
    fn uses_of_a_period_end_with_it_and_velocity_counts_them_on() {
        let mut spends = Spends::default();
        for n in 1..=3 {
            spends.add(spend(n, 100 * n.cast_signed(), 5));
        }
        assert!(!spends.uses_before(UnixSeconds(100)) && spends.uses_before(UnixSeconds(101)));
        spends.end_uses(UnixSeconds(300));
        assert_eq!(spends.unreflected(UnixSeconds(300)), ChfMinor(5));
        assert_eq!(spends.window(UnixSeconds(0), None), Window { count: 3, spent: ChfMinor(15) });
        assert!(!spends.uses_before(UnixSeconds(300)), "once");
    }

    #[test]
    fn a_use_that_was_too_old_already_is_not_taken_off_again_when_its_period_ends() {
        let mut spends = Spends::default();
        spends.add(spend(1, 0, 5));
        let later = LIMIT_PERIOD_SECONDS + 1;
        spends.add(spend(2, later, 7));
        assert_eq!(spends.unreflected(UnixSeconds(later)), ChfMinor(7));
        spends.end_uses(UnixSeconds(later));
        assert_eq!(spends.unreflected(UnixSeconds(later)), ChfMinor(7), "the second counts on");
    }

    #[test]
    fn spends_age_without_a_new_one_and_come_back_from_the_future() {
        let mut spends = Spends::default();
        for n in 1..=10 {
            spends.add(spend(n, 100 * n.cast_signed(), 5));
        }
        assert!(!spends.ages(UnixSeconds(100), UnixSeconds(1_000)));
        assert!(spends.ages(UnixSeconds(101), UnixSeconds(1_000)) && spends.ages(UnixSeconds(100), UnixSeconds(999)));
        spends.age(UnixSeconds(201), UnixSeconds(850));
        assert_eq!((spends.ring.len(), spends.newest()), (8, Some(UnixSeconds(850))));
        assert_eq!(spends.unreflected(UnixSeconds(1_000)), ChfMinor(40));
        assert_eq!(spends.window(UnixSeconds(750), None).count, 3);
        spends.age(UnixSeconds(10_000), UnixSeconds(10_000));
        assert_eq!((&spends, spends.ring.capacity()), (&Spends::default(), 0), "as one who never spent");
        for n in 11..=12 {
            spends.add(spend(n, 100 * n.cast_signed(), 5));
        }
        spends.age(UnixSeconds(10_000), UnixSeconds(10_000));
        assert_eq!(spends.ring.capacity(), 0, "of a few spends, too");
    }

    #[test]
    fn a_spend_that_is_too_old_for_the_limit_stays_for_a_calendar_month() {
        const DAY: i64 = 86_400;
        let mut spends = Spends::default();
        let mut counts = [1_i64; 61];
        for n in 1..=60_u64 {
            let at = n.cast_signed() * DAY;
            spends.add(spend(n, at, 1));
            // One of each pair is too old for the limit already.
            for gone in [9, 11].into_iter().filter(|_| n == 40) {
                spends.change_use(Sequence(gone), ChfMinor(-1), ChfMinor(0), Sequence(40));
                counts[usize::try_from(gone).unwrap()] = 0;
            }
            for shown in [19, 21].into_iter().filter(|_| n == 50) {
                spends.change_use(Sequence(shown), ChfMinor(0), ChfMinor(1), Sequence(50));
                spends.reflect(Sequence(50));
                counts[usize::try_from(shown).unwrap()] = 0;
            }
            let in_period =
                counts.iter().zip(0..).filter(|(_, day)| (n.cast_signed() - 30..=n.cast_signed()).contains(day));
            let counted = ChfMinor(in_period.filter(|(_, day)| *day > 0).map(|(count, _)| count).sum());
            assert_eq!(spends.unreflected(UnixSeconds(at)), counted, "on day {n}");
            let read: Spends = postcard::from_bytes(&postcard::to_allocvec(&spends).unwrap()).unwrap();
            assert_eq!((read.unreflected(UnixSeconds(at)), &read), (counted, &spends), "as read back on day {n}");
            let month = spends.window(UnixSeconds(at - 31 * DAY - 3_601), None);
            assert_eq!(u64::from(month.count), n.min(32), "within a month of 31 days and an hour, on day {n}");
        }
        spends.age(UnixSeconds(0), UnixSeconds(50 * DAY));
        assert_eq!(spends.unreflected(UnixSeconds(50 * DAY)), ChfMinor(33), "a clock that comes back counts again");
    }

    #[test]
    fn spends_are_stored_and_read_back() {
        let mut spends = Spends::default();
        for n in 1..=9 {
            spends.add(NewSpend {
                card: u16::from(n % 2 == 0),
                shown: if n % 3 == 0 { ChfMinor(90) } else { ChfMinor::ZERO },
                is_urs: n % 4 == 0,
                ..spend(n * 1_000, 7 * n.cast_signed(), 90)
            });
        }
        spends.change_use(Sequence(2_000), ChfMinor::ZERO, ChfMinor(50), Sequence(70_000));
        spends.lower(Sequence(4_000), ChfMinor(10));
        spends.change_use(Sequence(4_000), ChfMinor(-20), ChfMinor::ZERO, Sequence(70_001));
        let stored = postcard::to_allocvec(&spends).unwrap();
        assert_eq!(postcard::from_bytes::<Spends>(&stored).unwrap(), spends);
        assert!(postcard::from_bytes::<Spends>(&[1, 0x7F]).is_err(), "no spend is that short");
    }

    #[test]
    fn one_cards_window_does_not_see_another_card() {
        let mut spends = Spends::default();
        spends.add(spend(1, 1000, 5));
        spends.add(NewSpend { card: 2, ..spend(2, 1000, 7) });
        assert_eq!(spends.window(UnixSeconds(940), Some(2)), Window { count: 1, spent: ChfMinor(7) });
        assert_eq!(spends.window(UnixSeconds(940), None).count, 2);
    }
}
