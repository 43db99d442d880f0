//! The only reader of wall time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tapgate_engine::time::{Moment, UnixMillis};
use tokio::time::Instant;

use crate::stopping::Stopping;

/// A step of wall time against monotonic time beyond which decisions are gated: a forward jump would end every
/// 30-day window. Adjustments by time synchronisation are far smaller.
const JUMP_MILLIS_MAX: u64 = 60_000;

/// Wall time, watched against monotonic time; or, in the sandbox, a virtual time that runs faster.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    started_at: UnixMillis,
    /// How many times as fast as real time it runs; wall time is not looked at then. 0: wall time.
    speed: u32,
    jumped: AtomicBool,
}

impl Clock {
    /// A clock that trusts wall time as it is now.
    #[must_use]
    pub fn start() -> Clock {
        Clock { started: Instant::now(), started_at: wall(), speed: 0, jumped: AtomicBool::new(false) }
    }

    /// Looks at records that bear times up to `latest`. If those lie in the clock's future, one of the two was wrong: the
    /// clock is not trusted.
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

    /// A virtual clock that begins at wall time and runs `speed` times as fast as real time.
    #[must_use]
    pub fn accelerated(speed: u32) -> Clock {
        Clock { speed, ..Clock::start() }
    }

    /// The time now. Once wall time has jumped it is not trusted until the process is started again.
    pub fn now(&self) -> Moment {
        let elapsed = self.started.elapsed();
        if self.speed == 0 {
            return self.judge(wall(), elapsed);
        }
        let elapsed = u64::try_from((elapsed * self.speed).as_millis()).unwrap_or(u64::MAX);
        let at = UnixMillis(self.started_at.0.saturating_add(elapsed));
        Moment { at, trusted: !self.jumped.load(Ordering::Acquire) }
    }

    /// When it was started.
    #[must_use]
    pub fn started_at(&self) -> UnixMillis {
        self.started_at
    }

    /// How long it runs, in its own time.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed() * self.speed.max(1)
    }

    /// How long it runs in real time, whatever its speed.
    pub fn running(&self) -> Duration {
        self.started.elapsed()
    }

    /// Rests for a time of its own, and at least for another in real time; shorter where the end is asked for.
    pub async fn rest(&self, duration: Duration, real_min: Duration, stopping: &mut Stopping) {
        tokio::select! {
            () = stopping.set() => {}
            () = tokio::time::sleep(self.real(duration).max(real_min)) => {}
        }
    }

    /// Waits for so much of its own time.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(self.real(duration)).await;
    }

    /// How long so much of its own time takes.
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
