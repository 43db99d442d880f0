//! The only reader of wall time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tapgate_engine::time::{Moment, UnixMillis};
use tokio::time::Instant;

use crate::stopping::Stopping;

/// A jump of wall time against monotonic time beyond which decisions are gated: a forward jump would end every 30-day
/// window. Time synchronisation adjusts far less.
const JUMP_MILLIS_MAX: u64 = 60_000;

/// Why the clock is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The journal's last record is later than the wall clock: one of them is wrong.
    JournalAhead {
        /// The time of the last record.
        latest: UnixMillis,
    },
    /// The wall clock jumped against monotonic time.
    Jumped {
        /// The time by monotonic time.
        expected: UnixMillis,
    },
}

/// Wall time, watched against monotonic time and the journal; or, in the sandbox, a virtual time that runs faster.
pub struct Clock {
    started: Instant,
    /// Wall time at the start, in milliseconds; or at that instant by the first wall time that the journal is not ahead of.
    started_at: AtomicU64,
    /// The clock's speed relative to real time, at least 1.
    speed: u32,
    /// Wall time, after so long a running time on this clock.
    wall: Box<dyn Fn(Duration) -> UnixMillis + Send + Sync>,
    /// The time of the journal's last record at the start, while it lies in the future; else 0.
    ahead: AtomicU64,
    doubted: AtomicBool,
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock")
            .field("started_at", &self.started_at())
            .field("speed", &self.speed)
            .finish_non_exhaustive()
    }
}

impl Clock {
    /// A clock that trusts the current wall time.
    #[must_use]
    pub fn start() -> Clock {
        Clock::of(1, |_| wall())
    }

    /// A clock that runs at `speed` times real time, at least 1, and reads its wall time from `wall`.
    fn of(speed: u32, wall: impl Fn(Duration) -> UnixMillis + Send + Sync + 'static) -> Clock {
        Clock {
            started: Instant::now(),
            started_at: AtomicU64::new(wall(Duration::ZERO).0),
            speed: speed.max(1),
            wall: Box::new(wall),
            ahead: AtomicU64::new(0),
            doubted: AtomicBool::new(false),
        }
    }

    /// Compares the clock with the newest of the stored times. While `latest` lies in the future, either the clock or the
    /// stored time is wrong, and the clock is not trusted.
    pub fn check_behind(&self, latest: UnixMillis) {
        self.ahead.store(latest.0, Ordering::Release);
        self.now();
    }

    /// A virtual clock that starts at wall time and runs at `speed` times real time.
    #[must_use]
    pub fn accelerated(speed: u32) -> Clock {
        let started_at = wall();
        Clock::of(speed, move |elapsed| after(started_at, elapsed))
    }

    /// The current time. It is not trusted while the clock has jumped, or while the journal is ahead of it; that ends by
    /// itself once the clock is right.
    pub fn now(&self) -> Moment {
        let elapsed = self.elapsed();
        let at = (self.wall)(elapsed);
        let doubt = self.judge(at, elapsed);
        if self.doubted.swap(doubt.is_some(), Ordering::AcqRel) != doubt.is_some() {
            tell(at, doubt);
        }
        Moment { at, trusted: doubt.is_none() }
    }

    /// The time by monotonic time, which no jump of wall time moves: for what is to be done after a while.
    #[must_use]
    pub fn steady(&self) -> UnixMillis {
        after(self.started_at(), self.elapsed())
    }

    /// The current time, by monotonic time while wall time is not trusted: what is noted for later under a jump would else be
    /// put off by it.
    pub fn reckoned(&self) -> Moment {
        let now = self.now();
        if now.trusted { now } else { Moment { at: self.steady(), trusted: false } }
    }

    /// Why the clock is not trusted; `None` while it is.
    pub fn doubt(&self) -> Option<Doubt> {
        let moment = self.now();
        if moment.trusted { None } else { self.judge(moment.at, self.elapsed()) }
    }

    /// The time at start.
    #[must_use]
    pub fn started_at(&self) -> UnixMillis {
        UnixMillis(self.started_at.load(Ordering::Acquire))
    }

    /// The running time on this clock.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed() * self.speed
    }

    /// The running time in real time, whatever the speed.
    pub fn running(&self) -> Duration {
        self.started.elapsed()
    }

    /// Sleeps for a duration on this clock, at least `real_min` in real time; returns early on a request to stop.
    pub async fn rest(&self, duration: Duration, real_min: Duration, stopping: &Stopping) {
        tokio::select! {
            biased;
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
        duration / self.speed
    }

    fn judge(&self, at: UnixMillis, elapsed: Duration) -> Option<Doubt> {
        let elapsed = millis(elapsed);
        let latest = UnixMillis(self.ahead.load(Ordering::Acquire));
        if latest.0 > at.0.saturating_add(JUMP_MILLIS_MAX) {
            return Some(Doubt::JournalAhead { latest });
        }
        let was_ahead = latest.0 > self.started_at().0.saturating_add(JUMP_MILLIS_MAX);
        if was_ahead {
            // The clock was wrong at the start and has been set right: monotonic time is measured from here on.
            self.started_at.store(at.0.saturating_sub(elapsed), Ordering::Release);
        }
        let expected = UnixMillis(self.started_at().0.saturating_add(elapsed));
        (at.0.abs_diff(expected.0) > JUMP_MILLIS_MAX).then_some(Doubt::Jumped { expected })
    }
}

fn tell(at: UnixMillis, doubt: Option<Doubt>) {
    match doubt {
        None => tracing::info!(wall_millis = at.0, "the clock is trusted again: decisions are made"),
        Some(Doubt::JournalAhead { latest }) => tracing::error!(
            wall_millis = at.0,
            latest_millis = latest.0,
            "the journal's last record is more than a minute ahead of the wall clock: every decision is declined with \
             state_stale; set the clock right, or the journal with tapgate journal set-clock"
        ),
        Some(Doubt::Jumped { expected }) => tracing::error!(
            wall_millis = at.0,
            expected_millis = expected.0,
            "the wall clock jumped by more than a minute: every decision is declined with state_stale; set the clock right; \
             if it is right now, restart tapgate"
        ),
    }
}

fn wall() -> UnixMillis {
    UnixMillis(millis(since_epoch()))
}

fn after(at: UnixMillis, elapsed: Duration) -> UnixMillis {
    UnixMillis(at.0.saturating_add(millis(elapsed)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "the only reader of wall time")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// How long ago something was that the system noted as a time since 1970; zero where its clock was set back since.
pub(crate) fn ago(noted: Duration) -> Duration {
    since_epoch().saturating_sub(noted)
}

#[cfg(test)]
impl Clock {
    /// A virtual clock from a time on, at the speed of tokio's.
    pub(crate) fn from(started_at: UnixMillis) -> Clock {
        Clock::of(1, move |elapsed| after(started_at, elapsed))
    }

    /// A clock of a simulation, which says what its wall time is: it may jump.
    pub(crate) fn simulated(speed: u32, wall: impl Fn() -> UnixMillis + Send + Sync + 'static) -> Clock {
        Clock::of(speed, move |_| wall())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(started_at: u64) -> Clock {
        Clock { started_at: AtomicU64::new(started_at), ..Clock::start() }
    }

    #[test]
    fn a_jump_against_monotonic_time_is_not_trusted_until_it_is_undone() {
        let clock = clock(1_000_000);
        let check = |at: u64, elapsed_ms: u64, trusted: bool| {
            let doubt = clock.judge(UnixMillis(at), Duration::from_millis(elapsed_ms));
            assert_eq!(doubt.is_none(), trusted, "{doubt:?}");
        };
        check(1_005_000, 5_000, true);
        check(1_065_000, 5_000, true);
        check(1_065_001, 5_000, false);
        check(944_999, 5_000, false);
        check(1_006_000, 6_000, true);
    }

    #[test]
    fn a_journal_from_the_future_is_waited_for_or_met_by_a_clock_that_is_set_right() {
        let hour = 3_600_000;
        let elapsed = Duration::from_millis;
        let ahead = Doubt::JournalAhead { latest: UnixMillis(10 * hour) };
        let clock = clock(9 * hour);
        clock.ahead.store(10 * hour, Ordering::Release);
        assert_eq!(clock.judge(UnixMillis(9 * hour), elapsed(0)), Some(ahead));
        assert_eq!(clock.judge(UnixMillis(9 * hour + 60_000), elapsed(60_000)), Some(ahead));
        // It was an hour slow, and is set.
        assert_eq!(clock.judge(UnixMillis(10 * hour + 120_000), elapsed(120_000)), None);
        assert_eq!(clock.judge(UnixMillis(10 * hour + 180_000), elapsed(180_000)), None);
        let jumped = clock.judge(UnixMillis(12 * hour), elapsed(240_000));
        assert_eq!(jumped, Some(Doubt::Jumped { expected: UnixMillis(10 * hour + 240_000) }), "once is enough");
    }
}
