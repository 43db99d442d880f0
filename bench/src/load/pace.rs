//! The open loop's clock: lets the n-th callback go at its time, whatever happened to those before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// The shortest sleep. The system wakes a sleeper some 50 µs late; at more than 20,000 a second several callbacks go at
/// once, and their latency counts from their own time all the same.
pub(crate) const SLEEP_MIN: Duration = Duration::from_micros(50);

/// When callbacks are due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) start: Instant,
    /// Callbacks a second, above 0.
    pub(crate) rate: f64,
    /// The shortest time between two that go by themselves.
    pub(crate) tick: Duration,
}

/// How long after the first the callback of that index is due.
pub(crate) fn after(rate: f64, index: u64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 callbacks")]
    let seconds = index as f64 / rate;
    Duration::from_secs_f64(seconds)
}

impl Pace {
    /// When the callback of that index is due.
    pub(crate) fn due(&self, index: u64) -> Instant {
        self.start + after(self.rate, index)
    }

    /// How many of the first `total` are due.
    fn count(&self, now: Instant, total: u64) -> u64 {
        let since = now.saturating_duration_since(self.start).as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
        let count = (since * self.rate) as u64 + 1;
        count.min(total)
    }

    /// Gives one permit for each callback when it is due; after the last, one for each of `waiting` to find that out.
    ///
    /// A thread of its own, because the runtime's timers have a resolution of 1 ms.
    pub(crate) fn give(self, permits: &Arc<Semaphore>, total: u64, waiting: usize) -> std::io::Result<()> {
        let permits = Arc::clone(permits);
        let give = move || {
            let mut given = 0;
            while given < total {
                let now = Instant::now();
                let next = self.due(given);
                if now < next {
                    std::thread::sleep(next.saturating_duration_since(now).max(self.tick));
                    continue;
                }
                let due = self.count(now, total).max(given + 1);
                permits.add_permits(usize::try_from(due - given).unwrap_or(usize::MAX));
                given = due;
            }
            permits.add_permits(waiting);
        };
        std::thread::Builder::new().name("pace".to_owned()).spawn(give).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callbacks_are_due_one_after_the_other() {
        let pace = Pace { start: Instant::now(), rate: 1_000.0, tick: SLEEP_MIN };
        assert_eq!(pace.due(0), pace.start);
        assert_eq!(pace.due(1_500), pace.start + Duration::from_millis(1_500));
        assert_eq!(pace.count(pace.start, 10), 1);
        assert_eq!(pace.count(pace.start + Duration::from_micros(2_500), 10), 3);
        assert_eq!(pace.count(pace.start + Duration::from_secs(1), 10), 10);
    }
}
