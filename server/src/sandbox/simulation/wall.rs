//! Time: the world's, and what the machine under the server takes for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tapgate_engine::time::UnixMillis;
use tokio::time::Instant;

/// The world's time, which passes as fast as is set, and the error of the machine's clock.
pub(super) struct Wall(Mutex<Inside>);

struct Inside {
    /// The time when the speed was set last.
    base: UnixMillis,
    since: Instant,
    speed: u32,
    /// How far the machine's clock is ahead, in milliseconds.
    ahead: i64,
}

impl Wall {
    pub(super) fn at(base: UnixMillis) -> Wall {
        Wall(Mutex::new(Inside { base, since: Instant::now(), speed: 1, ahead: 0 }))
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world's time.
    pub(super) fn now(&self) -> UnixMillis {
        self.inside().now()
    }

    pub(super) fn seconds(&self) -> u64 {
        self.now().0 / 1_000
    }

    /// How long ago a time of the world's was.
    pub(super) fn since(&self, time: UnixMillis) -> Duration {
        Duration::from_millis(self.now().0.saturating_sub(time.0))
    }

    /// What the machine takes for the time.
    pub(super) fn on_the_machine(&self) -> UnixMillis {
        let inside = self.inside();
        UnixMillis(inside.now().0.saturating_add_signed(inside.ahead))
    }

    /// From now on time passes so many times as fast as tokio's.
    pub(super) fn set_speed(&self, speed: u32) {
        let mut inside = self.inside();
        (inside.base, inside.since, inside.speed) = (inside.now(), Instant::now(), speed);
    }

    /// So much of tokio's time is this much of the world's.
    pub(super) fn real(&self, duration: Duration) -> Duration {
        duration / self.inside().speed
    }

    pub(super) fn jump(&self, millis: i64) {
        let mut inside = self.inside();
        inside.ahead = inside.ahead.saturating_add(millis);
    }

    pub(super) fn set_right(&self) {
        self.inside().ahead = 0;
    }
}

impl Inside {
    fn now(&self) -> UnixMillis {
        let passed = self.since.elapsed() * self.speed;
        UnixMillis(self.base.0.saturating_add(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)))
    }
}
