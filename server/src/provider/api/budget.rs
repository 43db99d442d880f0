//! The budget of calls a minute, shared by priority.

use std::time::Duration;

/// A call's priority: each level leaves a share of the full budget to the levels above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Calls that affect money or decisions: open holds, the pools' balance, rates.
    High,
    /// Users seen lately.
    Normal,
    /// All other users, by age.
    Low,
}

impl Priority {
    fn left_to_others(self) -> f64 {
        match self {
            Priority::High => 0.0,
            Priority::Normal => 0.2,
            Priority::Low => 0.5,
        }
    }
}

/// A bucket of calls that fills evenly and holds a tenth of a minute's worth. The caller supplies the time, counted
/// from any fixed point.
#[derive(Debug)]
pub struct Budget {
    per_second: f64,
    capacity: f64,
    calls: f64,
    at: Duration,
    paused_until: Duration,
}

impl Budget {
    /// A full bucket for `per_minute` calls, at least one.
    #[must_use]
    pub fn new(per_minute: u32) -> Budget {
        let per_minute = f64::from(per_minute.max(1));
        let capacity = (per_minute / 10.0).max(2.0);
        Budget {
            per_second: per_minute / 60.0,
            capacity,
            calls: capacity,
            at: Duration::ZERO,
            paused_until: Duration::ZERO,
        }
    }

    /// Takes a call.
    ///
    /// # Errors
    /// The time to wait before the next try.
    pub fn take(&mut self, priority: Priority, now: Duration) -> Result<(), Duration> {
        if let Some(pause) = self.paused_until.checked_sub(now).filter(|pause| !pause.is_zero()) {
            return Err(pause);
        }
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.calls = (self.calls + passed * self.per_second).min(self.capacity);
        let needed = 1.0 + (self.capacity - 1.0) * priority.left_to_others();
        if self.calls >= needed {
            self.calls -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((needed - self.calls) / self.per_second).max(Duration::from_millis(1)))
    }

    /// UR reported too many calls: nothing goes out for `pause`, and the bucket is empty after it.
    pub fn pause(&mut self, pause: Duration, now: Duration) {
        self.paused_until = self.paused_until.max(now + pause);
        self.at = self.paused_until;
        self.calls = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &mut Budget, priority: Priority, now: Duration) -> usize {
        std::iter::from_fn(|| budget.take(priority, now).ok()).count()
    }

    #[test]
    fn the_bucket_is_shared_by_priority() {
        let mut budget = Budget::new(600);
        let now = Duration::ZERO;
        assert_eq!(taken(&mut budget, Priority::Low, now), 30, "half is left to the others");
        assert_eq!(taken(&mut budget, Priority::Normal, now), 18);
        assert_eq!(taken(&mut budget, Priority::High, now), 12);
        assert_eq!(budget.take(Priority::High, now), Err(Duration::from_millis(100)), "ten a second come");
        assert_eq!(taken(&mut budget, Priority::High, now + Duration::from_secs(60)), 60, "a tenth of a minute's");
    }

    #[test]
    fn in_the_long_run_nobody_has_more_than_the_budget() {
        let mut budget = Budget::new(80);
        let mut calls = 0;
        let mut now = Duration::ZERO;
        while now < Duration::from_secs(600) {
            match budget.take(Priority::Low, now) {
                Ok(()) => calls += 1,
                Err(wait) => now += wait,
            }
        }
        assert!((800..=808).contains(&calls), "{calls} in ten minutes");
    }

    #[test]
    fn a_pause_stops_everybody() {
        let mut budget = Budget::new(600);
        budget.pause(Duration::from_secs(4), Duration::from_secs(1));
        assert_eq!(budget.take(Priority::High, Duration::from_secs(2)), Err(Duration::from_secs(3)));
        assert_eq!(taken(&mut budget, Priority::High, Duration::from_secs(6)), 10, "one second's after the pause");
    }
}
