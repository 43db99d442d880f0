//! The budget of calls a minute, shared by priority.

use std::time::Duration;

/// A call's priority. Each is guaranteed a share of the budget, so that none starves another; what it leaves goes to
/// the others, the higher ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Figures that every decision needs, and money: the pools' balance, rates, prefunds.
    High,
    /// Sweeps of open holds.
    Sweep,
    /// Figures of accounts with open holds, or behind.
    Normal,
    /// Figures of all other accounts, by age.
    Low,
}

impl Priority {
    const ALL: [Priority; 4] = [Priority::High, Priority::Sweep, Priority::Normal, Priority::Low];

    /// The guaranteed share, in percent: the sum is 100. Accounts with open holds are more than the figures of pools
    /// and rates, and a stale one declines its taps.
    fn share_percent(self) -> f64 {
        match self {
            Priority::High | Priority::Sweep | Priority::Normal => 30.0,
            Priority::Low => 10.0,
        }
    }

    /// The part of the spare calls that a call of this priority leaves to the others.
    fn left_to_others(self) -> f64 {
        match self {
            Priority::High => 0.0,
            Priority::Sweep | Priority::Normal => 0.2,
            Priority::Low => 0.5,
        }
    }
}

/// Longest wait before a caller asks again: spare calls may have come by then.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// A bucket of calls for each priority, and one of the calls that overflow from them. All fill evenly with the budget;
/// together they hold a tenth of a minute's worth. The caller supplies the time, counted from any fixed point.
#[derive(Debug)]
pub struct Budget {
    per_second: f64,
    own: [f64; 4],
    spare: f64,
    spare_capacity: f64,
    own_capacity: [f64; 4],
    at: Duration,
    paused_until: Duration,
}

impl Budget {
    /// Full buckets for `per_minute` calls, at least one.
    #[must_use]
    pub fn new(per_minute: u32) -> Budget {
        let per_minute = f64::from(per_minute.max(1));
        let half = per_minute / 20.0;
        let own_capacity = Priority::ALL.map(|priority| (half * priority.share_percent() / 100.0).max(1.0));
        let spare_capacity = half.max(2.0);
        Budget {
            per_second: per_minute / 60.0,
            own: own_capacity,
            spare: spare_capacity,
            spare_capacity,
            own_capacity,
            at: Duration::ZERO,
            paused_until: Duration::ZERO,
        }
    }

    fn fill(&mut self, now: Duration) {
        let come = now.saturating_sub(self.at).as_secs_f64() * self.per_second;
        self.at = self.at.max(now);
        let buckets = self.own.iter_mut().zip(self.own_capacity).zip(Priority::ALL);
        for ((own, capacity), priority) in buckets {
            let filled = *own + come * priority.share_percent() / 100.0;
            *own = filled.min(capacity);
            self.spare = (self.spare + filled - *own).min(self.spare_capacity);
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
        self.fill(now);
        let needed = 1.0 + (self.spare_capacity - 1.0) * priority.left_to_others();
        let own = match (&mut self.own, priority) {
            ([own, ..], Priority::High) | ([_, own, ..], Priority::Sweep) => own,
            ([_, _, own, _], Priority::Normal) | ([.., own], Priority::Low) => own,
        };
        if *own >= 1.0 {
            *own -= 1.0;
            return Ok(());
        }
        if self.spare >= needed {
            self.spare -= 1.0;
            return Ok(());
        }
        let guaranteed = (1.0 - *own) * 100.0 / (self.per_second * priority.share_percent());
        // A call of the budget may also come as a spare one: no caller sleeps through it.
        let spare = (needed - self.spare) / self.per_second;
        Err(Duration::from_secs_f64(guaranteed.min(spare)).clamp(Duration::from_millis(1), WAIT_MAX))
    }

    /// UR reported too many calls: nothing goes out for `pause`, and the bucket is empty after it.
    pub fn pause(&mut self, pause: Duration, now: Duration) {
        self.paused_until = self.paused_until.max(now + pause);
        self.at = self.paused_until;
        (self.own, self.spare) = ([0.0; 4], 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &mut Budget, priority: Priority, now: Duration) -> usize {
        std::iter::from_fn(|| budget.take(priority, now).ok()).count()
    }

    /// Callers of every priority in `busy` always have a call to make, which UR answers in `latency`: their calls within some hours.
    fn within(hours: u64, per_minute: u32, busy: &[Priority], latency: Duration) -> Vec<u32> {
        let mut budget = Budget::new(per_minute);
        let mut callers: Vec<_> = busy.iter().map(|priority| (*priority, Duration::ZERO, 0_u32)).collect();
        loop {
            let (priority, at, calls) = callers.iter_mut().min_by_key(|(_, at, _)| *at).unwrap();
            if *at > Duration::from_secs(hours * 3_600) {
                return callers.iter().map(|(_, _, calls)| *calls).collect();
            }
            match budget.take(*priority, *at) {
                Ok(()) => (*calls, *at) = (*calls + 1, *at + latency),
                Err(wait) => *at += wait,
            }
        }
    }

    #[test]
    fn no_priority_starves_and_none_wastes_what_others_leave() {
        for (per_minute, latency) in [(80_u32, 200), (80, 50), (500, 50), (500, 200)] {
            let latency = Duration::from_millis(latency);
            let calls = within(1, per_minute, &Priority::ALL, latency);
            let hour = f64::from(per_minute) * 60.0;
            for (priority, calls) in Priority::ALL.iter().zip(&calls) {
                let guaranteed = hour * priority.share_percent() / 100.0;
                // One caller can make no more calls than UR answers.
                let least = guaranteed.min(3_600.0 / latency.as_secs_f64() * 0.8);
                assert!(f64::from(*calls) >= least * 0.98, "{per_minute} {latency:?} {priority:?}: {calls} of {least}");
            }
            assert!(f64::from(calls.iter().sum::<u32>()) <= hour * 1.05);
        }
        let alone = within(1, 80, &[Priority::Low], Duration::from_millis(200));
        assert!(f64::from(alone[0]) >= 80.0 * 60.0 * 0.95, "{alone:?}");
    }

    #[test]
    fn ten_thousand_accounts_with_holds_are_read_within_a_day() {
        // A profile and a balance each, in the order of age: whoever waits longest comes first.
        const CALLS: u32 = 10_000 * 2;
        let calls = within(24, 80, &Priority::ALL, Duration::from_millis(200));
        assert!(calls[2] > CALLS, "{calls:?}");
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
        assert!((760..=808).contains(&calls), "{calls} in ten minutes");
    }

    #[test]
    fn a_pause_stops_everybody() {
        let mut budget = Budget::new(600);
        budget.pause(Duration::from_secs(4), Duration::from_secs(1));
        assert_eq!(budget.take(Priority::High, Duration::from_secs(2)), Err(Duration::from_secs(3)));
        assert_eq!(
            taken(&mut budget, Priority::High, Duration::from_secs(6)),
            3,
            "its share of one second's after the pause"
        );
    }
}
