//! Sheds requests while no sync completes or the disk is nearly full.

use std::sync::Arc;
use std::time::Duration;

use tapgate_engine::ledger::Ledger;

use crate::clock::Clock;
use crate::health::Health;
use crate::stopping::Stopping;

/// Interval of the checks.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Time without a completed sync after which requests are shed.
const STALL_AFTER: Duration = Duration::from_secs(1);
/// Free space below which requests are shed: the store keeps at most four buffers of 64 MiB in memory and must still
/// have room to write them.
const DISK_FREE_BYTES_MIN: u64 = 256 << 20;

/// Free space below which nothing is approved: what ends holds still finds room, and a person has time, before the disk
/// is so full that every request is shed.
const DISK_FREE_BYTES_GATE: u64 = 2 * DISK_FREE_BYTES_MIN;

/// The job that watches the journal's syncs and the free space.
pub(super) struct Watchdog {
    pub(super) ledger: Arc<Ledger>,
    pub(super) clock: Arc<Clock>,
    pub(super) health: Arc<Health>,
    /// The free space; `None` if the system does not report it: a missing figure must not stop the service.
    pub(super) free_bytes: Box<dyn Fn() -> Option<u64> + Send + Sync>,
}

impl Watchdog {
    /// Watches until asked to stop.
    pub(super) async fn run(self, stopping: Stopping) {
        let Watchdog { ledger, clock, health, free_bytes } = &self;
        let journal = ledger.journal();
        let mut last = (journal.durable(), clock.running());
        while !stopping.is_set() {
            let (durable, now) = (journal.durable(), clock.running());
            if durable != last.0 || journal.claimed() == durable {
                last = (durable, now);
            }
            health.set_stalled(now - last.1 > STALL_AFTER);
            let free = free_bytes();
            health.set_disk_full(free.is_some_and(|free| free < DISK_FREE_BYTES_MIN));
            let is_low = free.is_some_and(|free| free < DISK_FREE_BYTES_GATE);
            health.set_disk_low(is_low);
            ledger.set_disk_low(is_low);
            clock.rest(Duration::ZERO, LOOK_INTERVAL, &stopping).await;
        }
    }
}
