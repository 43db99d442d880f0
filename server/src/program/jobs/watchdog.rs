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
    pub(super) async fn run(self, mut stopping: Stopping) {
        let Watchdog { ledger, clock, health, free_bytes } = &self;
        let journal = ledger.journal();
        let mut last = (journal.durable(), clock.running());
        while !stopping.is_set() {
            let (durable, now) = (journal.durable(), clock.running());
            if durable != last.0 || journal.claimed() == durable {
                last = (durable, now);
            }
            health.set_stalled(now - last.1 > STALL_AFTER);
            health.set_disk_low(free_bytes().is_some_and(|free| free < DISK_FREE_BYTES_MIN));
            clock.rest(Duration::ZERO, LOOK_INTERVAL, &mut stopping).await;
        }
    }
}
