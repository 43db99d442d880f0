//! Reads the store again, at leisure, and says what the disk has changed.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tapgate_engine::ledger::{Ledger, Scrub, Scrubbed};

use crate::clock::Clock;
use crate::health::Health;
use crate::stopping::Stopping;

/// From the start, and from the end of one pass, to the beginning of the next.
const PASS_INTERVAL: Duration = Duration::from_secs(86_400);
/// The first pass begins once a start has done its own work.
const AFTER_START: Duration = Duration::from_secs(300);
/// A rest takes so many times the work before it: a hundred gigabytes take about six hours.
const REST: u32 = 20;
const REST_MIN: Duration = Duration::from_millis(5);

/// The job that reads. It waits for the disk, so it needs its own thread.
pub(super) struct Scrubbing {
    pub(super) ledger: Arc<Ledger>,
    pub(super) clock: Arc<Clock>,
    pub(super) health: Arc<Health>,
}

impl Scrubbing {
    /// Reads pass after pass until asked to stop.
    pub(super) async fn run(self, stopping: Stopping) {
        for name in ["tapgate_scrub_passes_total", "tapgate_scrub_damages_total"] {
            counter!(name).increment(0);
        }
        self.clock.rest(AFTER_START, AFTER_START, &stopping).await;
        while !stopping.is_set() {
            self.pass(&stopping).await;
            self.clock.rest(PASS_INTERVAL, PASS_INTERVAL, &stopping).await;
        }
    }

    /// One pass. What it finds stands until a later pass finds nothing.
    async fn pass(&self, stopping: &Stopping) {
        let (mut at, mut damage) = (Scrub::default(), None);
        while !stopping.is_set() {
            let began = self.clock.running();
            match self.ledger.scrub(&mut at) {
                Ok(Scrubbed::Part) => {}
                Ok(Scrubbed::All(last)) => {
                    tracing::info!(records = last.0, damaged = damage.is_some(), "the store was read through");
                    counter!("tapgate_scrub_passes_total").increment(1);
                    self.health.damage().set(damage);
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "what is stored cannot be read as it was written: runbook TapgateStoreFailing");
                    counter!("tapgate_scrub_damages_total").increment(1);
                    let first = damage.get_or_insert_with(|| error.to_string()).clone();
                    self.health.damage().set(Some(first));
                }
            }
            let worked = self.clock.running().saturating_sub(began);
            self.clock.rest(Duration::ZERO, (worked * REST).max(REST_MIN), stopping).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tapgate_engine::fact::Author;
    use tapgate_engine::ids::Sequence;
    use tapgate_engine::ledger::{Change, Policy};
    use tapgate_engine::recovery::recover;
    use tapgate_engine::store::Store;
    use tapgate_engine::testing::MemoryStore;

    use super::*;
    use crate::stopping::stopping;

    #[tokio::test(start_paused = true)]
    async fn what_the_disk_has_changed_is_told_until_a_pass_finds_nothing() {
        let memory = MemoryStore::new();
        let store: Arc<dyn Store> = memory.clone();
        let state = recover(&store).unwrap().state;
        let ledger = Ledger::start(store, state, Policy::default(), 1, Box::new(|error| panic!("{error}"))).unwrap();
        let clock = Arc::new(Clock::start());
        for number in 0..600 {
            let change = Change::SuspendProgram { suspended: number % 2 == 0, reason: "a test".into() };
            ledger.change(&Author::Engine, change, clock.now()).unwrap();
        }
        ledger.journal().close();
        let scrubbing = Scrubbing { ledger: Arc::new(ledger), clock, health: Arc::default() };
        let (_stop, stopping) = stopping();
        let found = || scrubbing.health.damage().get();
        assert_eq!(found(), None, "nobody has looked");
        scrubbing.pass(&stopping).await;
        assert_eq!(found(), Some(None));
        let flip = || {
            for sequence in [300, 301] {
                memory.alter(Sequence(sequence), |entry| entry.payload[3] ^= 1);
            }
        };
        flip();
        scrubbing.pass(&stopping).await;
        let said = found().unwrap().unwrap();
        assert!(said.contains("record 300 is not what was written"), "{said}");
        flip();
        scrubbing.pass(&stopping).await;
        assert_eq!(found(), Some(None));
    }
}
