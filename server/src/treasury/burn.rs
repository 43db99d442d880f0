//! A pool's burn rate, learnt hour by hour from approvals and returns.

use serde::{Deserialize, Serialize};
use tapgate_engine::money::Minor;
use tapgate_engine::time::UnixMillis;

use super::accuracy::{Accuracy, HORIZONS, Scatter};
use super::month::{Factors, Month, Ratio};
use super::profile::{Profile, Shape, WEEK_HOURS};
use super::spend::Spend;

const HOUR_MS: u64 = 3_600_000;

/// No forecast before every hour of the week was seen once.
pub const HISTORY_HOURS_MIN: u64 = WEEK_HOURS;

/// Forecasts are checked from the fourth week on: the errors of the first ones would count against later forecasts for
/// months.
const CHECKED_HOURS_MIN: u64 = 3 * WEEK_HOURS;

/// After half a year without records, the learnt state is dropped.
const SILENCE_HOURS_MAX: u64 = 26 * WEEK_HOURS;

/// The weight of the previous hour in the level: it halves in five days, so that a busy week is expected to continue,
/// and growth is followed.
const LEVEL_DECAY_PER_HOUR: f64 = 0.994_24;

/// The prior's weight for a level of one, in hours of usual spending.
const LEVEL_PRIOR_HOURS: f64 = 36.0;

/// Spending from one pool: by hour of the week and day of the month, the recent level, and the errors of earlier
/// forecasts.
///
/// Spending is approvals less returns, in the pool's currency. The state is a fold; it is stored with serde (exactly in
/// a binary form; JSON may lose the last bit of a figure), or folded again from the journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Burn {
    /// The current hour, counted from 1970.
    hour: Option<u64>,
    /// Its spending so far, in smallest units.
    spent: f64,
    hours_seen: u64,
    profile: Profile,
    month: Month,
    /// The recent spending relative to the expectation.
    level: Ratio,
    accuracy: Accuracy,
}

impl Burn {
    /// Adds an approval (positive) or a return (negative), in the journal's order. An hour without records is an hour
    /// without spending. A record from before the current hour counts in the current hour. After more than 26 weeks
    /// without records, everything is learnt anew.
    pub fn add(&mut self, at: UnixMillis, amount: Minor) {
        self.roll(at);
        self.spent += amount.0 as f64;
    }

    /// Lets time pass and learns the hours that have ended. Call it before a forecast, for the hours without traffic.
    pub fn roll(&mut self, now: UnixMillis) {
        let now = now.0 / HOUR_MS;
        let Some(hour) = self.hour else {
            self.hour = Some(now);
            return;
        };
        if now.saturating_sub(hour) > SILENCE_HOURS_MAX {
            *self = Burn { hour: Some(now), ..Burn::default() };
            return;
        }
        for hour in hour..now {
            self.end(hour);
            self.hour = Some(hour + 1);
        }
    }

    fn end(&mut self, hour: u64) {
        let spent = std::mem::take(&mut self.spent);
        if let Some(Outlook { usual, level, .. }) = self.outlook() {
            // The expectation uses only earlier hours: no forecast is judged by data that it has learnt from.
            let (mut ahead, mut before, mut sum) = (usual.from(hour), 0, 0.0);
            let stretches = HORIZONS.map(|hours| {
                sum += ahead.by_ref().take((hours - before).into()).sum::<f64>();
                before = hours;
                level * sum
            });
            let (of_week, of_day) = (usual.shape.of(hour), usual.month.of(hour));
            if self.hours_seen >= CHECKED_HOURS_MIN {
                self.accuracy.begin(stretches);
                self.accuracy.end(level * of_week * of_day, spent);
            }
            self.month.add(hour, spent, level * of_week);
            self.level.add(spent, of_week * of_day, LEVEL_DECAY_PER_HOUR);
        }
        self.profile.add(hour, spent);
        self.hours_seen += 1;
    }

    /// `None` before every hour of the week was seen once.
    #[must_use]
    pub fn outlook(&self) -> Option<Outlook> {
        if self.hours_seen < HISTORY_HOURS_MIN {
            return None;
        }
        let shape = self.profile.shape();
        let hourly = shape.mean();
        let level = self.level.factor(LEVEL_PRIOR_HOURS * hourly);
        let usual = Usual { shape, month: self.month.factors(hourly) };
        Some(Outlook { usual, level, scatter: self.accuracy.scatter() })
    }
}

/// The usual spending of an hour, by its hour of the week and its day of the month.
#[derive(Clone, Debug, PartialEq)]
struct Usual {
    shape: Shape,
    month: Factors,
}

impl Usual {
    /// From this hour since 1970 on.
    fn from(&self, hour: u64) -> impl Iterator<Item = f64> {
        let mut of_day = self.month.of(hour);
        (hour..).map(move |at| {
            if at % 24 == 0 {
                of_day = self.month.of(at);
            }
            self.shape.of(at) * of_day
        })
    }
}

/// The expected spending of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    usual: Usual,
    level: f64,
    scatter: Scatter,
}

impl Outlook {
    /// The spending between two moments, with parts of hours.
    #[must_use]
    pub fn spend(&self, from: UnixMillis, until: UnixMillis) -> Spend {
        let mean = self.running(from, until).last().map_or(0.0, |(_, mean)| mean);
        self.around(mean, from, until)
    }

    /// The cumulative expected spending from `from`, at the end of each hour and at `until`.
    pub(super) fn running(&self, from: UnixMillis, until: UnixMillis) -> impl Iterator<Item = (UnixMillis, f64)> {
        let (mut at, mut mean) = (from.0, 0.0);
        self.usual.from(from.0 / HOUR_MS).map_while(move |usual| {
            if at >= until.0 {
                return None;
            }
            let end = (at / HOUR_MS + 1).saturating_mul(HOUR_MS).min(until.0);
            mean += self.level * usual * in_hours(end - at);
            at = end;
            Some((UnixMillis(at), mean))
        })
    }

    /// The distribution around an expectation, by the errors of past forecasts.
    pub(super) fn around(&self, mean: f64, from: UnixMillis, until: UnixMillis) -> Spend {
        self.scatter.around(mean, in_hours(until.0.saturating_sub(from.0)))
    }
}

fn in_hours(millis: u64) -> f64 {
    millis as f64 / HOUR_MS as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tapgate_engine::testing::cases;

    use super::*;

    /// 2026-09-07 00:00 UTC, a Monday.
    const MONDAY_MS: u64 = 1_788_739_200_000;

    fn hour(number: u64) -> UnixMillis {
        UnixMillis(MONDAY_MS + number * HOUR_MS)
    }

    /// Weeks with the same spending every hour.
    fn steady(weeks: u64, spent: i64) -> Burn {
        let mut burn = Burn::default();
        (0..weeks * WEEK_HOURS).for_each(|number| burn.add(hour(number), Minor(spent)));
        burn.roll(hour(weeks * WEEK_HOURS));
        burn
    }

    #[test]
    fn no_forecast_before_a_week_of_history() {
        let mut burn = Burn::default();
        assert_eq!(burn.outlook(), None);
        burn.add(hour(0), Minor(100));
        burn.roll(hour(WEEK_HOURS - 1));
        assert_eq!(burn.outlook(), None);
        burn.roll(hour(WEEK_HOURS));
        assert!(burn.outlook().is_some());
    }

    #[test]
    fn steady_spending_goes_on_and_parts_of_hours_count_as_such() {
        let outlook = steady(8, 1_000).outlook().unwrap();
        let from = hour(8 * WEEK_HOURS);
        let check = |until: u64, expected: f64| {
            let spend = outlook.spend(from, UnixMillis(until));
            assert!((spend.mean - expected).abs() < 1e-6 * expected.max(1.0), "{}", spend.mean);
        };
        check(from.0 + HOUR_MS, 1_000.0);
        check(from.0 + HOUR_MS / 4, 250.0);
        check(from.0 + 60 * HOUR_MS + HOUR_MS / 2, 60_500.0);
        check(from.0, 0.0);
        check(from.0 - 1, 0.0);
    }

    #[test]
    fn growth_is_followed_and_silence_is_no_spending() {
        let mut burn = steady(8, 1_000);
        for number in 8 * WEEK_HOURS..9 * WEEK_HOURS {
            burn.add(hour(number), Minor(2_000));
        }
        let mean =
            |burn: &Burn, from: u64| burn.outlook().unwrap().spend(hour(from), hour(from + WEEK_HOURS)).mean / 168.0;
        let doubled = mean(&burn, 9 * WEEK_HOURS);
        assert!((1_500.0..2_000.0).contains(&doubled), "{doubled}");
        burn.roll(hour(13 * WEEK_HOURS));
        let silent = mean(&burn, 13 * WEEK_HOURS);
        assert!((0.0..150.0).contains(&silent), "{silent}");
        burn.roll(hour(40 * WEEK_HOURS));
        assert_eq!(burn.outlook(), None);
    }

    #[test]
    fn the_state_is_kept_without_loss() {
        let burn = steady(3, 1_234);
        let kept: Burn = postcard::from_bytes(&postcard::to_stdvec(&burn).unwrap()).unwrap();
        assert!(kept == burn);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(64)))]

        #[test]
        fn how_spending_is_cut_into_records_does_not_matter(
            hours in proptest::collection::vec((0_u64..9, 0_i64..1_000_000, 0_i64..1_000), 1..400),
        ) {
            let (mut whole, mut cut, mut number) = (Burn::default(), Burn::default(), 0);
            for (gap, spent, given_back) in hours {
                number += gap;
                whole.add(hour(number), Minor(spent));
                for amount in [spent + given_back, 0, -given_back] {
                    cut.roll(hour(number));
                    cut.add(hour(number), Minor(amount));
                }
            }
            prop_assert_eq!(&whole, &cut);
            if let Some(outlook) = whole.outlook() {
                let running: Vec<_> = outlook.running(hour(number), hour(number + 300)).collect();
                prop_assert!(running.iter().all(|(_, mean)| *mean >= 0.0));
                prop_assert!(running.is_sorted_by(|(_, before), (_, after)| before <= after));
                prop_assert!(outlook.spend(hour(number), hour(number + 300)).variance.is_finite());
            }
        }

        #[test]
        fn any_times_are_taken(times in proptest::collection::vec(any::<u64>(), 0..20)) {
            let mut burn = Burn::default();
            times.into_iter().for_each(|at| burn.add(UnixMillis(at), Minor(i64::MAX)));
            burn.roll(UnixMillis(u64::MAX));
        }
    }
}
