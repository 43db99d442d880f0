//! How a job is asked to end.

use tokio::sync::watch;

/// Asks for the end. Dropping it asks, too.
#[derive(Debug)]
pub struct Stop(watch::Sender<bool>);

/// Hears of it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<bool>);

/// Both sides.
#[must_use]
pub fn stopping() -> (Stop, Stopping) {
    let (stop, stopping) = watch::channel(false);
    (Stop(stop), Stopping(stopping))
}

impl Stop {
    /// Asks for the end.
    pub fn stop(&self) {
        // Where nobody hears, the job has ended by itself.
        let _ = self.0.send(true);
    }
}

impl Stopping {
    /// Whether the end was asked for.
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until it is.
    pub async fn set(&mut self) {
        // An error means that the asking side is gone.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}
