//! UR shows a transaction under words that nobody knows: before, between and after the known ones, early and late, and
//! in parts.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::play::Stage;
use super::settle::{Faults, Notification, Settled, notify};
use super::ur::Shown;

/// Statuses that tapgate does not understand.
const WORDS: [&str; 6] = ["", "processing", "in_review", "Settling", "unknown", "on_hold"];

/// The longest delay of a notification, in seconds.
const HELD_BACK_SECONDS_MAX: u64 = 6 * 3_600;

impl Stage {
    /// Shows new transactions before they settle, under any word.
    pub(super) async fn show_early(
        &self,
        settled: &mut Settled,
        faults: Faults,
        random: &mut ChaCha8Rng,
    ) -> Result<(), String> {
        let fresh = self.books().statement.take_fresh();
        // What UR shows as pending claims all of it, reversed or not, until a report says otherwise. Without reports the
        // books are exact, and the order of events would count.
        if !self.is_fed {
            return Ok(());
        }
        for number in fresh {
            if random.random_range(0..1_000) >= faults.worded {
                continue;
            }
            let word = WORDS.choose(random).copied().unwrap_or("");
            let Some(shown) = self.books().statement.show_as(number, word) else { continue };
            let early = notifications(&shown, &[word, "pending", word], random);
            for notification in early {
                self.notify(&notification).await?;
                settled.told += 1;
            }
        }
        Ok(())
    }

    /// Settles a transaction, perhaps in parts, and adds its notifications.
    pub(super) fn settle_worded(
        &self,
        number: usize,
        settled: &mut Settled,
        faults: Faults,
        random: &mut ChaCha8Rng,
        told: &mut Vec<Notification>,
    ) {
        let now = self.now();
        let mut shown = Vec::new();
        {
            let mut books = self.books();
            if random.random_range(0..1_000) < faults.split {
                let parts = books.split(number, random.random_range(2..=3));
                settled.transactions += parts.len();
                shown.extend(parts.into_iter().filter_map(|part| books.statement.settle(part)));
            }
            shown.extend(books.statement.settle(number));
        }
        for shown in shown {
            if random.random_range(0..1_000) >= faults.worded {
                notify(&shown, faults, random, told);
                continue;
            }
            let word = WORDS.choose(random).copied().unwrap_or("");
            let mut worded = notifications(&shown, &["pending", "completed", word, "completed", "", "pending"], random);
            // At least one is in time: the others may be late.
            let held_back = random.random_range(0..worded.len());
            for notification in worded.drain(..held_back) {
                settled.held_back.push((now + random.random_range(0..HELD_BACK_SECONDS_MAX), notification));
            }
            told.append(&mut worded);
        }
    }

    /// Sends what was held back until `now`.
    pub(super) async fn show_late(&self, settled: &mut Settled, now: u64) -> Result<(), String> {
        let due: Vec<_> = settled.held_back.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, notification) in due {
            self.notify(&notification).await?;
            settled.told += 1;
        }
        Ok(())
    }
}

/// On a fast clock the time of a notification is minutes: more of them would let holds expire.
const NOTIFICATIONS_MAX: usize = 3;

/// Some of these statuses, in any order.
fn notifications(shown: &Shown, statuses: &[&str], random: &mut ChaCha8Rng) -> Vec<Notification> {
    let mut statuses = statuses.to_vec();
    statuses.shuffle(random);
    statuses.truncate(random.random_range(1..=NOTIFICATIONS_MAX));
    let of = |status: &&str| Notification { number: shown.number, data: shown.with_status(status) };
    statuses.iter().map(of).collect()
}
