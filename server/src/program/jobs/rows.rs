//! Writes rows behind the journal, and relieves memory of old answers.

use std::sync::Arc;
use std::time::Duration;

use tapgate_engine::ledger::Ledger;
use tapgate_engine::store::StoreError;

use crate::clock::Clock;
use crate::stopping::Stopping;

/// How often rows follow the journal, or after how many records: bounds what a restart must fold, to about a second. A
/// user's row that many records touched meanwhile is written once.
const WRITE_INTERVAL: Duration = Duration::from_secs(60);
const RECORDS_MAX: u64 = 500_000;
/// How often this is checked.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long a rest takes, in times of the work before it and at most, so that the work is spread over the interval; and how many
/// records rows may be behind before there is no more rest.
const REST: u32 = 4;
const REST_MAX: Duration = Duration::from_millis(10);
const BEHIND_MAX: u64 = 2 * RECORDS_MAX;
/// How often memory is relieved of old answers.
const EVICTION_INTERVAL: Duration = Duration::from_secs(30);

/// What the job is given. It writes for long without a pause: it needs a thread of its own.
pub struct Rows {
    /// Whose rows.
    pub ledger: Arc<Ledger>,
    /// Measures the intervals.
    pub clock: Arc<Clock>,
    /// Holds the thread for a while, in the middle of the work.
    pub rest: Box<dyn Fn(Duration) + Send>,
    /// Hears why nothing can be written any more.
    pub on_failure: Box<dyn FnOnce(StoreError) + Send>,
}

/// When something was done last, by [`Clock::running`].
struct Done {
    /// When the rows were begun, and up to which record they hold everything. None yet after a start: a process that never lives
    /// for long must not leave ever more to fold.
    written: Option<(Duration, u64)>,
    evicted: Duration,
}

impl Rows {
    /// Writes until the end is asked for, or writing fails.
    pub async fn run(self, mut stopping: Stopping) {
        let mut done = Done { written: None, evicted: self.clock.running() };
        while !stopping.is_set() {
            if let Err(error) = self.turn(&mut done, &stopping) {
                (self.on_failure)(error);
                return;
            }
            self.clock.rest(Duration::ZERO, LOOK_INTERVAL, &mut stopping).await;
        }
    }

    fn turn(&self, done: &mut Done, stopping: &Stopping) -> Result<(), StoreError> {
        let (clock, journal) = (&self.clock, self.ledger.journal());
        let behind = |written: Option<(Duration, u64)>| {
            written.map_or(0, |(_, watermark)| journal.durable().0.saturating_sub(watermark))
        };
        let before = done.written;
        let mut worked = clock.running();
        let mut rest = || {
            if behind(before) < BEHIND_MAX && !stopping.is_set() {
                (self.rest)(((clock.running() - worked) * REST).min(REST_MAX));
            }
            worked = clock.running();
        };
        let now = clock.running();
        if before.is_none_or(|(at, _)| now - at > WRITE_INTERVAL) || behind(before) > RECORDS_MAX {
            let mut wrote = self.ledger.write_rows_by_and_by(&mut rest)?;
            while wrote.more && !stopping.is_set() {
                wrote = self.ledger.write_rows_by_and_by(&mut rest)?;
            }
            done.written = Some((now, wrote.watermark.0));
        }
        if now - done.evicted > EVICTION_INTERVAL {
            done.evicted = now;
            self.ledger.evict_by_and_by(clock.now().at, &mut rest)?;
        }
        Ok(())
    }
}
