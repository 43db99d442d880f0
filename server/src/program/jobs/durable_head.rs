//! Makes the journal's durable head survive the machine, beside the appends that write it.

use std::sync::Arc;
use std::time::Duration;

use tapgate_engine::ledger::Ledger;

use super::OnFailure;
use crate::clock::Clock;
use crate::stopping::Stopping;

/// A machine that ends takes at most this much of it, and of the log with `durability = "os"`.
const INTERVAL: Duration = Duration::from_secs(1);

/// The job that waits for the disk: it needs its own thread.
pub(super) struct DurableHead {
    pub(super) ledger: Arc<Ledger>,
    pub(super) clock: Arc<Clock>,
    /// Receives the error after which the head says nothing any more.
    pub(super) on_failure: OnFailure,
}

impl DurableHead {
    /// Syncs until asked to stop, or until the disk fails.
    pub(super) async fn run(self, stopping: Stopping) {
        while !stopping.is_set() {
            if let Err(error) = self.ledger.sync_head() {
                (self.on_failure)(error);
                return;
            }
            self.clock.rest(Duration::ZERO, INTERVAL, &stopping).await;
        }
    }
}
