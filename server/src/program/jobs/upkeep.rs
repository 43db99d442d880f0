//! Folds histograms' samples: the recorder keeps each one until then, and a scrape that would do it may never come.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::stopping::Stopping;

/// At 20,000 decisions a second, a hundred thousand samples of 16 bytes.
const INTERVAL: Duration = Duration::from_secs(5);

/// The job that keeps up with the samples.
pub(super) struct Upkeep {
    pub(super) clock: Arc<Clock>,
    /// Folds what was sampled since the last time.
    pub(super) fold: Box<dyn Fn() + Send>,
}

impl Upkeep {
    /// Folds until asked to stop.
    pub(super) async fn run(self, stopping: Stopping) {
        while !stopping.is_set() {
            (self.fold)();
            self.clock.rest(Duration::ZERO, INTERVAL, &stopping).await;
        }
    }
}
