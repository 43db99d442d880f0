//! The only reader of wall time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tapgate_engine::time::{Moment, UnixMillis};
use tokio::time::Instant;

use crate::stopping::Stopping;

/// A jump of wall time against monotonic time beyond which decisions are gated: a forward jump would end every 30-day
/// window. Time synchronisation adjusts far less.
const JUMP_MILLIS_MAX: u64 = 60_000;

/// Wall time, watched against monotonic time; or, in the sandbox, a virtual time that runs faster.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    started_at: UnixMillis,
    /// The virtual time's speed relative to real time. 0: wall time.
    speed: u32,
    jumped: AtomicBool,
}

impl Clock {
    /// A clock that trusts the current wall time.
    #[must_use]
    pub fn start() -> Clock {
        Clock { started: Instant::now(), started_at: wall(), speed: 0, jumped: AtomicBool::new(false) }
    }

    /// Compares the clock with the newest of the stored times. If `latest` lies in the future, either the clock or the
    /// stored time is wrong, and the clock is not trusted.
    pub fn check_behind(&self, latest: UnixMillis) {
        let now = self.now().at;
        if latest.0 > now.0.saturating_add(JUMP_MILLIS_MAX) {
            tracing::error!(
                wall_millis = now.0,
                latest_millis = latest.0,
                "the journal's last record is more than a minute ahead of the wall clock: every decision is declined with \
                 state_stale; set the clock right, then restart tapgate"
            );
            self.jumped.store(true, Ordering::Release);
        }
    }

    /// A virtual clock that starts at wall time and runs at `speed` times real time.
    #[must_use]
    pub fn accelerated(speed: u32) -> Clock {
        Clock { speed, ..Clock::start() }
    }

    /// The current time. After a jump the clock is not trusted until the process restarts.
    pub fn now(&self) -> Moment {
        let elapsed = self.started.elapsed();
        if self.speed == 0 {
            return self.judge(wall(), elapsed);
        }
        let elapsed = u64::try_from((elapsed * self.speed).as_millis()).unwrap_or(u64::MAX);
        let at = UnixMillis(self.started_at.0.saturating_add(elapsed));
        Moment { at, trusted: !self.jumped.load(Ordering::Acquire) }
    }

    /// The time at start.
    #[must_use]
    pub fn started_at(&self) -> UnixMillis {
        self.started_at
    }

    /// The running time on this clock.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed() * self.speed.max(1)
    }

    /// The running time in real time, whatever the speed.
    pub fn running(&self) -> Duration {
        self.started.elapsed()
    }

    /// Sleeps for a duration on this clock, at least `real_min` in real time; returns early on a request to stop.
    pub async fn rest(&self, duration: Duration, real_min: Duration, stopping: &mut Stopping) {
        tokio::select! {
            () = stopping.set() => {}
            () = tokio::time::sleep(self.real(duration).max(real_min)) => {}
        }
    }

    /// Sleeps for a duration on this clock.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(self.real(duration)).await;
    }

    /// Converts a duration on this clock to real time.
    #[must_use]
    pub fn real(&self, duration: Duration) -> Duration {
        duration / self.speed.max(1)
    }

    fn judge(&self, at: UnixMillis, elapsed: Duration) -> Moment {
        let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let expected = self.started_at.0.saturating_add(elapsed);
        if at.0.abs_diff(expected) > JUMP_MILLIS_MAX && !self.jumped.swap(true, Ordering::AcqRel) {
            tracing::error!(
                wall_millis = at.0,
                expected_millis = expected,
                "the wall clock jumped by more than a minute: every decision is declined with state_stale; \
                 set the clock right, then restart tapgate"
            );
        }
        Moment { at, trusted: !self.jumped.load(Ordering::Acquire) }
    }
}

fn wall() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_against_monotonic_time_is_not_trusted_until_restart() {
        let clock = Clock { started_at: UnixMillis(1_000_000), ..Clock::start() };
        let check = |at: u64, elapsed_ms: u64, trusted: bool| {
            let moment = clock.judge(UnixMillis(at), Duration::from_millis(elapsed_ms));
            assert_eq!(moment, Moment { at: UnixMillis(at), trusted });
        };
        check(1_005_000, 5_000, true);
        check(1_065_000, 5_000, true);
        check(1_065_001, 5_000, false);
        check(1_006_000, 6_000, false);
    }
}
