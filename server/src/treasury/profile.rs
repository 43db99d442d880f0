//! The shape of a week: the usual spending in each of its hours.

use serde::{Deserialize, Serialize};

pub(super) const WEEK_HOURS: u64 = 168;

/// The weight of the previous week: it halves in six weeks, long enough to learn 168 cells, short enough to forget a
/// season.
const DECAY_PER_WEEK: f64 = 0.890_9;

/// The number of its own weeks at which a cell's mean weighs as much as its prior. Small, because what shrinkage takes
/// from a busy Friday is missing in every forecast of a weekend.
const PRIOR_WEEKS: f64 = 0.5;

/// 1970-01-01 was a Thursday; days count from Monday.
const DAY_OF_1970: u64 = 3;

/// The sixth and seventh day are the weekend.
const WEEKEND_FROM: usize = 5;

/// An hour of the week, in UTC. After a clock change the shape is an hour off until it is learnt again; the days that
/// credits count hardly change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HourOfWeek {
    day: usize,
    hour: usize,
}

impl HourOfWeek {
    /// From an hour since 1970.
    pub(super) fn of(hour: u64) -> HourOfWeek {
        let index = |number: u64| usize::try_from(number).unwrap_or_default();
        HourOfWeek { day: index((hour / 24 + DAY_OF_1970) % 7), hour: index(hour % 24) }
    }
}

/// Observations, with weights that decay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Cell {
    sum: f64,
    weight: f64,
}

impl Cell {
    fn plus(self, other: &Cell) -> Cell {
        Cell { sum: self.sum + other.sum, weight: self.weight + other.weight }
    }

    /// The mean, shrunk towards `prior` while the cell has few observations of its own.
    fn mean(&self, prior: f64) -> f64 {
        (self.sum + PRIOR_WEEKS * prior) / (self.weight + PRIOR_WEEKS)
    }
}

/// Spending in each hour of the week.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Profile {
    cells: [[Cell; 24]; 7],
}

/// The expected spending in each hour of the week, in smallest units.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape([[f64; 24]; 7]);

impl Shape {
    pub(super) fn of(&self, hour: u64) -> f64 {
        let HourOfWeek { day, hour } = HourOfWeek::of(hour);
        self.0.get(day).and_then(|hours| hours.get(hour)).copied().unwrap_or_default()
    }

    /// The mean spending per hour.
    pub(super) fn mean(&self) -> f64 {
        self.0.iter().flatten().sum::<f64>() / 168.0
    }
}

impl Profile {
    /// Learns the spending of an hour.
    pub(super) fn add(&mut self, hour: u64, spent: f64) {
        let HourOfWeek { day, hour } = HourOfWeek::of(hour);
        if let Some(cell) = self.cells.get_mut(day).and_then(|hours| hours.get_mut(hour)) {
            cell.sum = cell.sum * DECAY_PER_WEEK + spent;
            cell.weight = cell.weight * DECAY_PER_WEEK + 1.0;
        }
    }

    /// The means: each cell shrunk towards the same hour of all days of its kind (working week or weekend), and that
    /// mean towards the mean of all hours. An hour may return more than it takes; a negative mean counts as zero.
    pub(super) fn shape(&self) -> Shape {
        let all = self.cells.iter().flatten().fold(Cell::default(), |all, cell| all.plus(cell));
        let overall = if all.weight > 0.0 { all.sum / all.weight } else { 0.0 };
        let (weekdays, weekend) = self.cells.split_at(WEEKEND_FROM);
        let priors = [by_hour(weekdays, overall), by_hour(weekend, overall)];
        let mut means = [[0.0; 24]; 7];
        for (day, (cells, means)) in self.cells.iter().zip(&mut means).enumerate() {
            let [weekdays, weekend] = &priors;
            let prior = if day < WEEKEND_FROM { weekdays } else { weekend };
            for ((cell, prior), mean) in cells.iter().zip(prior).zip(means) {
                *mean = cell.mean(*prior).max(0.0);
            }
        }
        Shape(means)
    }
}

fn by_hour(days: &[[Cell; 24]], overall: f64) -> [f64; 24] {
    let mut sums = [Cell::default(); 24];
    for day in days {
        for (sum, cell) in sums.iter_mut().zip(day) {
            *sum = sum.plus(cell);
        }
    }
    sums.map(|cell| cell.mean(overall))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-09-07 00:00 UTC, a Monday.
    const MONDAY: u64 = 1_788_739_200 / 3600;

    #[test]
    fn hours_of_the_week_count_from_monday() {
        let check = |hour: u64, day: usize, of_day: usize| {
            assert_eq!(HourOfWeek::of(hour), HourOfWeek { day, hour: of_day });
        };
        check(0, 3, 0);
        check(MONDAY, 0, 0);
        check(MONDAY + 23, 0, 23);
        check(MONDAY + 24 * 6 + 5, 6, 5);
        check(MONDAY + WEEK_HOURS, 0, 0);
    }

    #[test]
    fn a_cell_is_drawn_to_its_kind_of_day_while_thin_and_stands_for_itself_later() {
        // Saturdays and Sundays 100 an hour, working days 1,000; Wednesday noon 5,000.
        let weekly = |profile: &mut Profile| {
            for hour in MONDAY..MONDAY + WEEK_HOURS {
                let spent = match HourOfWeek::of(hour) {
                    HourOfWeek { day: 2, hour: 12 } => 5_000.0,
                    HourOfWeek { day: 5 | 6, .. } => 100.0,
                    _ => 1_000.0,
                };
                profile.add(hour, spent);
            }
        };
        let mut profile = Profile::default();
        weekly(&mut profile);
        let wednesday_noon = MONDAY + 2 * 24 + 12;
        let (thin, saturday) = (profile.shape().of(wednesday_noon), profile.shape().of(MONDAY + 5 * 24 + 12));
        assert!((3_500.0..4_500.0).contains(&thin), "{thin}");
        assert!((100.0..400.0).contains(&saturday), "{saturday}");
        for _ in 0..40 {
            weekly(&mut profile);
        }
        let (known, tuesday) = (profile.shape().of(wednesday_noon), profile.shape().of(MONDAY + 24 + 12));
        assert!((4_700.0..5_000.0).contains(&known), "{known}");
        assert!((1_000.0..1_200.0).contains(&tuesday), "{tuesday}");
    }

    #[test]
    fn unknown_and_negative_spending_count_as_zero() {
        assert!(Profile::default().shape().mean().abs() < f64::EPSILON);
        let mut profile = Profile::default();
        (MONDAY..MONDAY + WEEK_HOURS).for_each(|hour| profile.add(hour, -5.0));
        assert!(profile.shape().mean().abs() < f64::EPSILON);
    }
}
