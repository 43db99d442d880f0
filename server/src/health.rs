//! Whether the process takes requests, and the reason if it does not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Reasons to take no requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// The process shuts down as requested.
    Stopping,
    /// The journal failed; the process ends.
    Failed,
    /// No sync has completed for a while.
    Stalled,
    /// The disk might be too full for the store's buffers.
    DiskFull,
    /// Every place for a connection has a request of somebody who has proven who they are.
    Crowded,
}

impl NotReady {
    /// The text for the operator.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            NotReady::Stopping => "shutting down",
            NotReady::Failed => "the journal has failed",
            NotReady::Stalled => "the disk has not completed a write for a second",
            NotReady::DiskFull => "the disk is full",
            NotReady::Crowded => "every place for a connection has a request in",
        }
    }
}

/// Whether the process takes requests. Each reason against it is set and cleared by the job that watches it.
#[derive(Debug, Default)]
pub struct Health {
    stopping: AtomicBool,
    failed: AtomicBool,
    stalled: AtomicBool,
    disk_full: AtomicBool,
    disk_low: AtomicBool,
    crowded: AtomicBool,
    damage: Found,
    head_late: Found,
    head_changed: Found,
}

/// What a job found wrong, if anything, for people to take on; requests are taken all the same. Nothing is known before
/// the job's first look.
#[derive(Debug, Default)]
pub struct Found(Mutex<Option<Option<String>>>);

impl Found {
    /// Records what was found, or that nothing is wrong.
    pub fn set(&self, wrong: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(wrong);
    }

    /// What was found last; the outer `None`: nobody has looked yet.
    #[must_use]
    pub fn get(&self) -> Option<Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Health {
    /// What the disk has changed of what was written.
    #[must_use]
    pub fn damage(&self) -> &Found {
        &self.damage
    }

    /// That the journal no longer has what was signed as its head.
    #[must_use]
    pub fn head_changed(&self) -> &Found {
        &self.head_changed
    }

    /// Why the day's head of the journal is not signed and published.
    #[must_use]
    pub fn head_late(&self) -> &Found {
        &self.head_late
    }

    /// The process is shutting down.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The journal failed; the process ends.
    pub fn set_failed(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Records whether syncs have stopped completing.
    pub fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Release);
    }

    /// Whether syncs have stopped completing.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// Records whether the disk is so full that requests are shed.
    pub fn set_disk_full(&self, full: bool) {
        self.disk_full.store(full, Ordering::Release);
    }

    /// Records whether the disk is nearly full: decisions decline then, and nothing is shed.
    pub fn set_disk_low(&self, low: bool) {
        self.disk_low.store(low, Ordering::Release);
    }

    /// Whether the disk is nearly full.
    #[must_use]
    pub fn is_disk_low(&self) -> bool {
        self.disk_low.load(Ordering::Acquire)
    }

    /// Records whether nobody finds a place on the public listener.
    pub fn set_crowded(&self, crowded: bool) {
        self.crowded.store(crowded, Ordering::Release);
    }

    /// Whether the listener takes a request. It takes requests after a journal failure too: they are declined.
    ///
    /// # Errors
    /// The reason to shed the request.
    pub fn admit(&self) -> Result<(), NotReady> {
        if self.stalled.load(Ordering::Acquire) {
            return Err(NotReady::Stalled);
        }
        if self.disk_full.load(Ordering::Acquire) {
            return Err(NotReady::DiskFull);
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
        if self.crowded.load(Ordering::Acquire) {
            return Err(NotReady::Crowded);
        }
        self.admit()
    }
}
