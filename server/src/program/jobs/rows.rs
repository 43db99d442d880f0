//! Writes rows behind the journal, with which ids leave memory, and ends the journal's days.

use std::sync::Arc;
use std::time::Duration;

use tapgate_engine::ledger::Ledger;
use tapgate_engine::store::StoreError;

use super::OnFailure;
use crate::clock::Clock;
use crate::stopping::Stopping;

/// Interval of writing rows, or number of records: bounds the fold after a restart to about a second. A user's row that
/// many records touched in between is written once.
const WRITE_INTERVAL: Duration = Duration::from_secs(60);
const RECORDS_MAX: u64 = 500_000;
/// Interval of checking this.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// A rest takes four times the work before it, at most 10 ms, which spreads the work over the interval; beyond this
/// many records behind, the job works without rest.
const REST: u32 = 4;
const REST_MAX: Duration = Duration::from_millis(10);
const BEHIND_MAX: u64 = 2 * RECORDS_MAX;

/// The job that writes rows. It blocks its thread, so it needs its own.
pub(super) struct Rows {
    pub(super) ledger: Arc<Ledger>,
    pub(super) clock: Arc<Clock>,
    /// Blocks the thread between two pieces of work.
    pub(super) rest: Box<dyn Fn(Duration) + Send>,
    /// Receives the error after which no row can be written.
    pub(super) on_failure: OnFailure,
}

/// The start of the last write, by [`Clock::running`], and the record up to which the rows are complete. `None` after a
/// start, so that the first write is immediate: otherwise a process that always dies early would have ever more to fold.
type Written = Option<(Duration, u64)>;

impl Rows {
    /// Writes until asked to stop, or until a write fails.
    pub(super) async fn run(self, stopping: Stopping) {
        let mut written = None;
        while !stopping.is_set() {
            if let Err(error) = self.turn(&mut written, &stopping) {
                (self.on_failure)(error);
                return;
            }
            self.clock.rest(Duration::ZERO, LOOK_INTERVAL, &stopping).await;
        }
    }

    fn turn(&self, written: &mut Written, stopping: &Stopping) -> Result<(), StoreError> {
        let (clock, journal) = (&self.clock, self.ledger.journal());
        let behind =
            |written: Written| written.map_or(0, |(_, watermark)| journal.durable().0.saturating_sub(watermark));
        let before = *written;
        let mut worked = clock.running();
        let mut rest = || {
            if behind(before) < BEHIND_MAX && !stopping.is_set() {
                (self.rest)(((clock.running() - worked) * REST).min(REST_MAX));
            }
            worked = clock.running();
        };
        let now = clock.running();
        if before.is_none_or(|(at, _)| now - at > WRITE_INTERVAL) || behind(before) > RECORDS_MAX {
            let mut wrote = self.ledger.write_rows_with_rests(&mut rest)?;
            while wrote.more && !stopping.is_set() {
                wrote = self.ledger.write_rows_with_rests(&mut rest)?;
            }
            *written = Some((now, wrote.watermark.0));
        }
        self.ledger.age_with_rests(clock.now(), &mut rest)?;
        Ok(())
    }
}
