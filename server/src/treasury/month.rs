//! The shape of a month: pay-days make three days busy, which no day of the week explains.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// The weight of the previous hour of the same day of the month: it halves in a year, in which the day occurs twelve
/// times.
const DECAY_PER_HOUR_OF_DAY: f64 = 0.997_6;

/// The prior's weight for a factor of one, in days of usual spending.
const PRIOR_DAYS: f64 = 2.0;

/// Spending relative to the expectation by the week's shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Ratio {
    spent: f64,
    expected: f64,
}

impl Ratio {
    pub(super) fn add(&mut self, spent: f64, expected: f64, decay: f64) {
        self.spent = self.spent * decay + spent;
        self.expected = self.expected * decay + expected;
    }

    /// 1 is usual; `usual` is the weight of that prior, in spending.
    pub(super) fn factor(&self, usual: f64) -> f64 {
        if usual <= 0.0 { 1.0 } else { ((self.spent + usual) / (self.expected + usual)).max(0.0) }
    }
}

/// The spending on each day of the month relative to its day of the week.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Month {
    days: [Ratio; 31],
}

impl Month {
    /// Learns an hour.
    pub(super) fn add(&mut self, hour: u64, spent: f64, expected: f64) {
        if let Some(day) = self.days.get_mut(day_of_month(hour)) {
            day.add(spent, expected, DECAY_PER_HOUR_OF_DAY);
        }
    }

    /// The factor of each day; `hourly` is the usual spending of an hour.
    pub(super) fn factors(&self, hourly: f64) -> Factors {
        Factors(self.days.map(|day| day.factor(PRIOR_DAYS * 24.0 * hourly)))
    }
}

/// The factor of each day of the month; 1 is usual.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Factors([f64; 31]);

impl Factors {
    /// The factor of the day that contains an hour since 1970.
    pub(super) fn of(&self, hour: u64) -> f64 {
        self.0.get(day_of_month(hour)).copied().unwrap_or(1.0)
    }
}

/// From 0, in UTC. Times beyond the year 9999 have none.
fn day_of_month(hour: u64) -> usize {
    let seconds = i64::try_from(hour).ok().and_then(|hour| hour.checked_mul(3600));
    let date = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let day = date.and_then(|at| usize::try_from(at.to_zoned(TimeZone::UTC).day()).ok());
    day.map_or(usize::MAX, |day| day.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-09-07 00:00 UTC.
    const MONDAY: u64 = 1_788_739_200 / 3600;

    #[test]
    fn a_pay_day_is_learnt_and_other_days_stay_as_usual() {
        assert_eq!([MONDAY, MONDAY + 23, MONDAY + 24, MONDAY + 24 * 24].map(day_of_month), [6, 6, 7, 0]);
        assert_eq!(day_of_month(u64::MAX), usize::MAX);
        let mut month = Month::default();
        for hour in MONDAY..MONDAY + 365 * 24 {
            let spent = if day_of_month(hour) == 24 { 150.0 } else { 100.0 };
            month.add(hour, spent, 100.0);
        }
        let factors = month.factors(100.0);
        let pay_day = factors.of(MONDAY + 18 * 24);
        assert!((1.35..1.5).contains(&pay_day), "{pay_day}");
        assert!((factors.of(MONDAY) - 1.0).abs() < 1e-9);
        assert!((factors.of(u64::MAX) - 1.0).abs() < 1e-9);
    }
}
