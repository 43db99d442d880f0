//! The spends of a user in memory, oldest first. Nearly all of them are one record's with figures below 2^32, and take half
//! of a [`Spend`]'s bytes: who spends takes more memory for it than for everything else.

use std::collections::VecDeque;

use super::spends::Spend;
use crate::ids::Sequence;
use crate::money::ChfMinor;
use crate::time::UnixSeconds;

/// From this length on, the ring grows as the collection does by default.
const GROWN: usize = 4;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ring(VecDeque<Slot>);

/// One form for each spend, so that equal spends have equal slots.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Slot {
    Small(Small),
    Large(Box<Spend>),
}

/// As [`Spend`], where `first` is `last`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Small {
    last: Sequence,
    at: u32,
    spent: u32,
    unshown: u32,
    shown: u32,
    /// `completed` as its distance from the record before `last`; zero where nothing is shown.
    completed: u32,
    card: u16,
    count: u8,
    is_urs: bool,
}

impl Small {
    /// `None` where it does not fit.
    fn of(spend: &Spend) -> Option<Small> {
        let Spend { first, last, at, card, count, spent, unshown, shown, completed, is_urs } = *spend;
        if first != last {
            return None;
        }
        let completed = match completed {
            Sequence::ZERO => 0,
            Sequence(completed) => completed.checked_sub(last.0)?.checked_add(1)?,
        };
        let small = |francs: ChfMinor| u32::try_from(francs.0).ok();
        Some(Small {
            last,
            at: u32::try_from(at.0).ok()?,
            spent: small(spent)?,
            unshown: small(unshown)?,
            shown: small(shown)?,
            completed: u32::try_from(completed).ok()?,
            card,
            count: u8::try_from(count).ok()?,
            is_urs,
        })
    }
}

impl Slot {
    fn of(spend: Spend) -> Slot {
        Small::of(&spend).map_or_else(|| Slot::Large(Box::new(spend)), Slot::Small)
    }

    fn spend(&self) -> Spend {
        let small = match self {
            Slot::Small(small) => small,
            Slot::Large(spend) => return **spend,
        };
        let completed = small.completed.checked_sub(1).map(|distance| Sequence(small.last.0 + u64::from(distance)));
        Spend {
            first: small.last,
            last: small.last,
            at: UnixSeconds(small.at.into()),
            card: small.card,
            count: small.count.into(),
            spent: ChfMinor(small.spent.into()),
            unshown: ChfMinor(small.unshown.into()),
            shown: ChfMinor(small.shown.into()),
            completed: completed.unwrap_or(Sequence::ZERO),
            is_urs: small.is_urs,
        }
    }
}

impl FromIterator<Spend> for Ring {
    fn from_iter<I: IntoIterator<Item = Spend>>(spends: I) -> Ring {
        Ring(spends.into_iter().map(Slot::of).collect())
    }
}

impl Ring {
    pub(super) const EMPTY: Ring = Ring(VecDeque::new());

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Spend> {
        self.from(0)
    }

    /// The spends from this place on.
    pub(super) fn from(&self, place: usize) -> impl DoubleEndedIterator<Item = Spend> {
        self.0.range(place..).map(Slot::spend)
    }

    pub(super) fn get(&self, place: usize) -> Option<Spend> {
        self.0.get(place).map(Slot::spend)
    }

    pub(super) fn oldest(&self) -> Option<Spend> {
        self.0.front().map(Slot::spend)
    }

    pub(super) fn newest(&self) -> Option<Spend> {
        self.0.back().map(Slot::spend)
    }

    /// The first place whose spend is not `is_before`, which holds for the first ones and for no later one.
    pub(super) fn place_after(&self, is_before: impl Fn(&Spend) -> bool) -> usize {
        self.0.partition_point(|slot| is_before(&slot.spend()))
    }

    pub(super) fn add(&mut self, spend: Spend) {
        if self.0.len() == self.0.capacity() && self.0.len() < GROWN {
            // Many users spend once or twice in a month: room for four at once would be most of their row.
            self.0.reserve_exact(self.0.len().max(1));
        }
        self.0.push_back(Slot::of(spend));
    }

    pub(super) fn set(&mut self, place: usize, spend: Spend) {
        if let Some(slot) = self.0.get_mut(place) {
            *slot = Slot::of(spend);
        }
    }

    pub(super) fn remove(&mut self, place: usize) {
        self.0.remove(place);
    }

    pub(super) fn remove_oldest(&mut self) {
        self.0.pop_front();
    }

    /// Returns the room of spends that are no longer there.
    pub(super) fn shrink(&mut self) {
        if self.0.is_empty() || self.0.capacity() > GROWN.max(4 * self.0.len()) {
            self.0.shrink_to_fit();
        }
    }

    /// Bytes of its room.
    #[cfg(feature = "testing")]
    pub(super) fn bytes(&self) -> usize {
        let large = self.0.iter().filter(|slot| matches!(slot, Slot::Large(_))).count();
        self.0.capacity() * size_of::<Slot>() + large * size_of::<Spend>()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rows::spends::any_spend;

    #[test]
    fn a_slot_takes_half_of_a_spend() {
        assert_eq!((size_of::<Slot>(), size_of::<Spend>()), (32, 64));
    }

    proptest! {
        #[test]
        fn a_slot_is_its_spend(spend in any_spend()) {
            prop_assert_eq!(Slot::of(spend).spend(), spend);
        }
    }

    #[test]
    fn a_usual_spend_is_small() {
        let usual = Spend {
            first: Sequence(1 << 40),
            last: Sequence(1 << 40),
            at: UnixSeconds(1_768_659_501),
            card: 1,
            count: 1,
            spent: ChfMinor(100_000_000),
            unshown: ChfMinor(100_000_000),
            ..Spend::NONE
        };
        let shown =
            Spend { unshown: ChfMinor::ZERO, shown: usual.unshown, completed: Sequence((1 << 40) + 7), ..usual };
        for spend in [usual, shown, Spend { completed: usual.last, ..shown }] {
            assert!(matches!(Slot::of(spend), Slot::Small(_)), "{spend:?}");
        }
    }
}
