//! Stops jobs.

use tokio::sync::watch;

/// The side that requests the stop. Dropping it requests the stop too.
#[derive(Debug)]
pub struct Stop(watch::Sender<bool>);

/// The job's side. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<bool>);

/// Both sides for one job.
#[must_use]
pub fn stopping() -> (Stop, Stopping) {
    let (stop, stopping) = watch::channel(false);
    (Stop(stop), Stopping(stopping))
}

impl Stop {
    /// Requests the stop.
    pub fn stop(&self) {
        // Fails only if the job has ended already.
        let _ = self.0.send(true);
    }
}

impl Stopping {
    /// Whether the job must stop.
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits for the request to stop.
    pub async fn set(&mut self) {
        // An error means that the requesting side was dropped.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}
