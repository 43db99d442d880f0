//! Whether the process takes requests, and why not.

use std::sync::atomic::{AtomicBool, Ordering};

/// Why requests are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// The process is about to end, as it was asked to.
    Stopping,
    /// The process is about to end: nothing more can be kept.
    Failed,
    /// Nothing has become durable for a while.
    Stalled,
    /// What the store holds in memory might find no room.
    DiskLow,
}

impl NotReady {
    /// For the operator who asks.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            NotReady::Stopping => "shutting down",
            NotReady::Failed => "the journal has failed",
            NotReady::Stalled => "the disk has not completed a write for a second",
            NotReady::DiskLow => "the disk is nearly full",
        }
    }
}

/// Whether requests are taken. Each cause against it is set and cleared by the job that watches it.
#[derive(Debug, Default)]
pub struct Health {
    stopping: AtomicBool,
    failed: AtomicBool,
    stalled: AtomicBool,
    disk_low: AtomicBool,
}

impl Health {
    /// The process is shutting down.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The journal failed; the process is about to end.
    pub fn set_failed(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Nothing has become durable for a while.
    pub fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Release);
    }

    /// Whether nothing has become durable for a while.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// The disk is nearly full.
    pub fn set_disk_low(&self, low: bool) {
        self.disk_low.store(low, Ordering::Release);
    }

    /// Whether a request may be taken at the edge. A failed journal is no reason to shed: it declines.
    ///
    /// # Errors
    /// The reason to shed it.
    pub fn admit(&self) -> Result<(), NotReady> {
        if self.stalled.load(Ordering::Acquire) {
            return Err(NotReady::Stalled);
        }
        if self.disk_low.load(Ordering::Acquire) {
            return Err(NotReady::DiskLow);
        }
        Ok(())
    }

    /// Whether a load balancer should send requests here.
    ///
    /// # Errors
    /// The reason not to.
    pub fn ready(&self) -> Result<(), NotReady> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(NotReady::Stopping);
        }
        if self.failed.load(Ordering::Acquire) {
            return Err(NotReady::Failed);
        }
        self.admit()
    }
}
