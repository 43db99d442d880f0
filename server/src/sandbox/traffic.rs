//! Card traffic, tap by tap: a pure function of the seed and of the earlier taps' outcomes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;

use super::tap::{Kind, Tap};
use super::ur::books::Books;
use super::world::{self, Habit, PLACES, Place};

/// The manner of a tap's delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Plain,
    /// Delivered again after the answer.
    Again,
    /// Delivered twice at the same moment.
    Twice,
    /// After the answer, the same id is sent with another amount.
    Altered,
    /// Signed by a stranger.
    ForgedKey,
    /// The body changes after signing.
    ForgedBody,
    /// The signature is valid, but so old that it may be a replay.
    Stale,
    /// The connection breaks before the answer, and UR retries.
    Lost,
    /// The reversal arrives before the authorization.
    Overtaken,
}

impl Manner {
    /// Whether tapgate must refuse it.
    pub(super) fn is_forged(self) -> bool {
        matches!(self, Manner::ForgedKey | Manner::ForgedBody | Manner::Stale)
    }
}

/// Fault rates, in thousandths of the taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Faults {
    pub(super) again: u32,
    pub(super) twice: u32,
    pub(super) altered: u32,
    pub(super) forged: u32,
    pub(super) stale: u32,
    pub(super) lost: u32,
    pub(super) overtaken: u32,
}

impl Faults {
    /// The faults of a healthy network in a hostile world.
    pub(super) const NONE: Faults =
        Faults { again: 10, twice: 5, altered: 2, forged: 12, stale: 3, lost: 0, overtaken: 0 };

    fn manner(&self, random: &mut ChaCha8Rng) -> Manner {
        let forged = if random.random() { Manner::ForgedKey } else { Manner::ForgedBody };
        let table = [
            (self.again, Manner::Again),
            (self.twice, Manner::Twice),
            (self.altered, Manner::Altered),
            (self.forged, forged),
            (self.stale, Manner::Stale),
            (self.lost, Manner::Lost),
            (self.overtaken, Manner::Overtaken),
        ];
        let mut drawn = random.random_range(0..1_000_u32);
        for (share, manner) in table {
            match drawn.checked_sub(share) {
                Some(rest) => drawn = rest,
                None => return manner,
            }
        }
        Manner::Plain
    }
}

#[derive(Debug)]
struct Due {
    at_millis: u64,
    number: u64,
    tap: Tap,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.number == other.number
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at_millis, self.number).cmp(&(other.at_millis, other.number))
    }
}

#[derive(Debug)]
pub(super) struct Traffic {
    random: ChaCha8Rng,
    faults: Faults,
    users: usize,
    number: u64,
    due: BinaryHeap<Reverse<Due>>,
    /// The follow-ups of each authorization that are not played yet.
    followed: BTreeMap<String, u32>,
}

/// The most follow-ups that wait; beyond it, purchases get none.
const DUE_MAX: usize = 100_000;

/// A quarter of a day, in milliseconds.
const QUARTER_MILLIS: u64 = 6 * 3_600_000;

impl Traffic {
    pub(super) fn new(users: usize, seed: u64, faults: Faults) -> Traffic {
        Traffic {
            random: world::random(seed, 2),
            faults,
            users,
            number: 0,
            due: BinaryHeap::new(),
            followed: BTreeMap::new(),
        }
    }

    /// The time until the next tap: exponentially distributed, like arrivals of many independent people.
    pub(super) fn gap(&mut self, per_second: f64) -> Duration {
        let uniform: f64 = self.random.random_range(f64::MIN_POSITIVE..1.0);
        Duration::from_secs_f64(-uniform.ln() / per_second)
    }

    /// A due follow-up, otherwise a new purchase.
    pub(super) fn next(&mut self, now_millis: u64, books: &Books) -> (Tap, Manner) {
        if self.due.peek().is_some_and(|Reverse(due)| due.at_millis <= now_millis)
            && let Some(Reverse(due)) = self.due.pop()
        {
            let again = self.random.random_ratio(self.faults.again, 1_000);
            return (due.tap, if again { Manner::Again } else { Manner::Plain });
        }
        self.number += 1;
        let tap = self.purchase(now_millis, books);
        let manner = self.faults.manner(&mut self.random);
        (tap, manner)
    }

    fn purchase(&mut self, now_millis: u64, books: &Books) -> Tap {
        let quarter = usize::try_from(now_millis / QUARTER_MILLIS % 4).unwrap_or(0);
        let busy = |place: &&Place| place.busy.get(quarter).copied().unwrap_or(1);
        let places: Vec<_> = PLACES.iter().collect();
        let place = places.choose_weighted(&mut self.random, busy).copied().unwrap_or(&PLACES[0]);
        // One in a thousand names neither a known user nor a known card.
        let stranger = self.random.random_ratio(1, 1_000);
        let user = if stranger { self.users } else { self.random.random_range(0..self.users) };
        let ur_id = world::ur_id(user);
        let cards = books.accounts.get(&ur_id).map_or(&[][..], |account| &account.cards);
        let card = cards.choose(&mut self.random).map_or_else(|| format!("card_{ur_id}_9"), |card| card.id.clone());
        let amount = world::amount(&mut self.random, place);
        Tap {
            id: format!("auth_{:08}", self.number),
            kind: Kind::Authorization,
            original: None,
            user,
            ur_id,
            card,
            amount,
            settlement: world::settlement(amount, place.merchant.currency),
            merchant: &place.merchant,
        }
    }

    /// Schedules the follow-ups of an approval.
    pub(super) fn approved(&mut self, tap: &Tap, now_millis: u64) {
        if self.due.len() >= DUE_MAX {
            return;
        }
        let place = PLACES.iter().find(|place| place.merchant == *tap.merchant).unwrap_or(&PLACES[0]);
        let called_off = self.random.random_ratio(1, 25);
        match (place.habit, tap.kind) {
            (_, Kind::Authorization | Kind::Incremental) if called_off => {
                let part = if self.random.random() { tap.amount } else { self.random.random_range(1..=tap.amount) };
                self.follow(tap, Kind::Reversal, part, now_millis, 600);
            }
            (Habit::Fuel, Kind::Authorization) => {
                let unused = self.random.random_range(1..tap.amount);
                self.follow(tap, Kind::Advice, unused, now_millis, 240);
            }
            (Habit::Lodging, Kind::Authorization | Kind::Incremental) if self.random.random_ratio(2, 3) => {
                let more = world::amount(&mut self.random, place) / 2 + 1;
                self.follow(tap, Kind::Incremental, more, now_millis, 6 * 3_600);
            }
            (Habit::Ride, Kind::Authorization) if self.random.random_ratio(1, 3) => {
                self.follow(tap, Kind::Incremental, (tap.amount / 10).max(1), now_millis, 1_800);
            }
            _ => {}
        }
    }

    fn follow(&mut self, tap: &Tap, kind: Kind, amount: u64, now_millis: u64, within_seconds: u64) {
        self.number += 1;
        let root = tap.root().to_owned();
        let delay = self.random.random_range(1_000..=within_seconds * 1_000);
        *self.followed.entry(root.clone()).or_default() += 1;
        let follow_up = Tap {
            id: follow_up_id(kind, &root, self.number),
            kind,
            original: Some(root),
            amount,
            settlement: world::settlement(amount, tap.merchant.currency),
            ..tap.clone()
        };
        self.due.push(Reverse(Due { at_millis: now_millis + delay, number: self.number, tap: follow_up }));
    }

    /// Whether an authorization still has follow-ups to come.
    pub(super) fn is_followed(&self, root: &str) -> bool {
        self.followed.contains_key(root)
    }

    pub(super) fn played(&mut self, tap: &Tap) {
        if tap.original.is_some()
            && let Some(left) = self.followed.get_mut(tap.root())
        {
            *left -= 1;
            if *left == 0 {
                self.followed.remove(tap.root());
            }
        }
    }

    /// The reversal of a whole tap, which may arrive first.
    pub(super) fn reversal_of(&mut self, tap: &Tap) -> Tap {
        self.number += 1;
        let root = tap.root().to_owned();
        Tap {
            id: follow_up_id(Kind::Reversal, &root, self.number),
            kind: Kind::Reversal,
            original: Some(root),
            ..tap.clone()
        }
    }
}

/// An increment's id begins with its root's id; the books rely on it.
fn follow_up_id(kind: Kind, root: &str, number: u64) -> String {
    match kind {
        Kind::Reversal => format!("rev_{number:08}"),
        Kind::Advice => format!("adv_{number:08}"),
        Kind::Authorization | Kind::Incremental => format!("{root}+{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authorization_is_followed_until_all_that_follows_was_played() {
        let books = world::books(5, 1, 0);
        let mut traffic = Traffic::new(5, 1, Faults::NONE);
        for _ in 0..100 {
            let (tap, _) = traffic.next(0, &books);
            assert!(tap.original.is_none(), "nothing is due yet");
            traffic.approved(&tap, 0);
            traffic.played(&tap);
        }
        let waiting: u32 = traffic.followed.values().sum();
        assert!(waiting > 10, "{waiting}");
        for _ in 0..waiting {
            let (tap, _) = traffic.next(u64::MAX, &books);
            assert!(tap.original.is_some() && traffic.is_followed(tap.root()), "{tap:?}");
            traffic.played(&tap);
        }
        assert!(traffic.followed.is_empty());
    }
}
