//! Stops jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// The side that requests the stop. Dropping it requests the stop too.
#[derive(Debug)]
pub struct Stop(Arc<Asked>);

/// The job's side. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stopping(Arc<Asked>);

/// Wakes in the order in which they wait, unlike a `watch`, so that one seed makes one history.
#[derive(Debug, Default)]
struct Asked {
    is_set: AtomicBool,
    told: Notify,
}

/// Both sides for one job.
#[must_use]
pub fn stopping() -> (Stop, Stopping) {
    let asked = Arc::<Asked>::default();
    (Stop(Arc::clone(&asked)), Stopping(asked))
}

impl Stop {
    /// Requests the stop.
    pub fn stop(&self) {
        self.0.is_set.store(true, Ordering::Release);
        self.0.told.notify_waiters();
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Stopping {
    /// Whether the job must stop.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.is_set.load(Ordering::Acquire)
    }

    /// Waits for the request to stop.
    pub async fn set(&self) {
        let mut told = std::pin::pin!(self.0.told.notified());
        // Waits from here on: what is set now is seen below, and what is set later wakes.
        told.as_mut().enable();
        if !self.is_set() {
            told.await;
        }
    }
}
