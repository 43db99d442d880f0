//! Stops calls to UR while it is down.

use std::time::Duration;

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 5;
/// The first and the longest pause; each failed trial doubles it.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Closed: calls pass. Open: no call passes until the pause is over; then one tries, and its outcome decides. The
/// caller supplies the time, counted from any fixed point.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    pause: Duration,
    open_until: Option<Duration>,
    is_tried: bool,
}

impl Breaker {
    /// Whether a call may go out now. If it may, the caller must report its outcome.
    pub fn admit(&mut self, now: Duration) -> bool {
        match self.open_until {
            None => true,
            Some(until) if now < until || self.is_tried => false,
            Some(_) => {
                self.is_tried = true;
                true
            }
        }
    }

    /// Reports a call's outcome. Returns whether it opened or closed the breaker.
    pub fn ended(&mut self, failed: bool, now: Duration) -> bool {
        let was_open = self.open_until.is_some();
        if !failed {
            *self = Breaker::default();
            return was_open;
        }
        self.failures = self.failures.saturating_add(1);
        // Calls that were under way when it opened add no news.
        if (was_open && self.is_tried) || (!was_open && self.failures >= FAILURES_MAX) {
            self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
            self.open_until = Some(now + self.pause);
            self.is_tried = false;
        }
        !was_open && self.open_until.is_some()
    }

    /// A call was dropped without an outcome: the next one may try.
    pub fn abandoned(&mut self) {
        self.is_tried = false;
    }

    /// Whether the breaker holds calls back.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_opens_after_failures_in_a_row_and_tries_again_ever_later() {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_MAX - 1 {
            assert!(!breaker.ended(true, SECOND));
        }
        breaker.ended(false, SECOND);
        for _ in 0..FAILURES_MAX - 1 {
            assert!(!breaker.ended(true, SECOND) && breaker.admit(SECOND), "not in a row");
        }
        assert!(breaker.ended(true, SECOND), "now it opens");
        assert!(!breaker.admit(SECOND));
        let mut now = SECOND * 2;
        for pause in [2, 4, 8, 16, 32, 60, 60] {
            assert!(breaker.admit(now), "one tries");
            assert!(!breaker.admit(now), "and only one");
            breaker.ended(true, now);
            now += SECOND * pause;
            assert!(!breaker.admit(now - SECOND / 2));
        }
        assert!(breaker.admit(now));
        assert!(breaker.ended(false, now), "it closes");
        assert!(breaker.admit(now) && breaker.admit(now));
    }

    #[test]
    fn a_trial_that_is_given_up_leaves_room_for_another() {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            breaker.ended(true, SECOND);
        }
        let later = SECOND * 3;
        assert!(breaker.admit(later));
        breaker.abandoned();
        assert!(breaker.admit(later));
    }
}
