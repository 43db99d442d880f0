//! The errors of earlier forecasts, and so the spread of the next.
//!
//! Hours are not independent: a busy Monday points to a busy week, and pay-day makes three days busy at once. A
//! variance added up hour by hour ignores that and is far too small for a weekend. So the spread is measured: every
//! hour the sums of the next 6 hours, day, three days and week are forecast, and compared with the outcome once known.
//!
//! The variance of a sum with mean M over L hours is `φ·M + κ²(L)·M²`: φ is the scatter of single hours (independent,
//! so it adds up), κ(L) the relative error of whole stretches beyond that.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::spend::Spend;

/// The lengths of the checked stretches, in hours, ascending. Between them κ² is interpolated; beyond the longest it
/// grows with time as for a random walk.
pub(super) const HORIZONS: [u16; 4] = [6, 24, 72, 168];

/// One check an hour, until the longest stretch is known.
const PENDING_MAX: usize = 168;

/// The weight of the previous hour: it halves in 13 weeks, because forecasts improve as they learn, and their first
/// errors must not count for ever.
const DECAY_PER_HOUR: f64 = 0.999_682_6;

/// κ of a stretch without measurements: wider than steady traffic shows.
const KAPPA_UNKNOWN: f64 = 0.3;

/// The number of independent stretches at which the measured κ weighs as much as [`KAPPA_UNKNOWN`].
const PRIOR_STRETCHES: f64 = 1.0;

/// Forecasts of the stretches that begin with one hour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Pending {
    /// The spending of all hours before.
    spent_before: f64,
    expected: [f64; HORIZONS.len()],
}

/// Forecasts of one length against their outcomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Checks {
    weight: f64,
    /// Σ (spent − expected)².
    squared_error: f64,
    /// Σ expected.
    expected: f64,
    /// Σ expected².
    squared_expected: f64,
}

impl Checks {
    fn add(&mut self, expected: f64, spent: f64) {
        let learn = |sum: &mut f64, value: f64| *sum = *sum * DECAY_PER_HOUR + value;
        learn(&mut self.weight, 1.0);
        learn(&mut self.squared_error, (spent - expected) * (spent - expected));
        learn(&mut self.expected, expected);
        learn(&mut self.squared_expected, expected * expected);
    }
}

/// The errors of past forecasts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Accuracy {
    spent: f64,
    pending: VecDeque<Pending>,
    hours: Checks,
    stretches: [Checks; HORIZONS.len()],
}

impl Accuracy {
    /// An hour begins, with the expectations of the stretches that begin with it.
    pub(super) fn begin(&mut self, expected: [f64; HORIZONS.len()]) {
        self.pending.push_back(Pending { spent_before: self.spent, expected });
        if self.pending.len() > PENDING_MAX {
            self.pending.pop_front();
        }
    }

    /// The current hour ends, with its expectation and its spending.
    pub(super) fn end(&mut self, expected: f64, spent: f64) {
        self.spent += spent;
        self.hours.add(expected, spent);
        for (index, (checks, hours)) in self.stretches.iter_mut().zip(HORIZONS).enumerate() {
            let begun = self.pending.len().checked_sub(hours.into()).and_then(|place| self.pending.get(place));
            if let Some(begun) = begun
                && let Some(expected) = begun.expected.get(index)
            {
                checks.add(*expected, self.spent - begun.spent_before);
            }
        }
    }

    /// The spread of an expectation.
    pub(super) fn scatter(&self) -> Scatter {
        let phi = if self.hours.expected > 0.0 { self.hours.squared_error / self.hours.expected } else { 0.0 };
        let mut kappa_squared = [0.0; HORIZONS.len()];
        for ((kappa_squared, checks), hours) in kappa_squared.iter_mut().zip(&self.stretches).zip(HORIZONS) {
            let beyond_hours = (checks.squared_error - phi * checks.expected).max(0.0);
            let measured = if checks.squared_expected > 0.0 { beyond_hours / checks.squared_expected } else { 0.0 };
            // Checks overlap: `hours` consecutive checks are one independent stretch.
            let stretches = checks.weight / f64::from(hours);
            let unknown = PRIOR_STRETCHES * KAPPA_UNKNOWN * KAPPA_UNKNOWN;
            *kappa_squared = (stretches * measured + unknown) / (stretches + PRIOR_STRETCHES);
        }
        Scatter { phi, kappa_squared }
    }
}

/// The spread of a sum around its mean.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scatter {
    phi: f64,
    kappa_squared: [f64; HORIZONS.len()],
}

impl Scatter {
    /// The distribution of a sum with this mean over `hours` hours.
    pub(super) fn around(&self, mean: f64, hours: f64) -> Spend {
        Spend { mean, variance: self.phi * mean + self.kappa_squared(hours) * mean * mean }
    }

    fn kappa_squared(&self, hours: f64) -> f64 {
        let (mut before_hours, mut before) = (0.0, 0.0);
        for (at, kappa_squared) in HORIZONS.into_iter().map(f64::from).zip(self.kappa_squared) {
            if hours <= at {
                return before + (kappa_squared - before) * (hours - before_hours) / (at - before_hours);
            }
            (before_hours, before) = (at, kappa_squared);
        }
        before * hours / before_hours
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expects a thousand an hour, for ten weeks.
    fn measured(spent: impl Fn(u32) -> f64) -> Scatter {
        let mut accuracy = Accuracy::default();
        for hour in 0..1_680 {
            accuracy.begin(HORIZONS.map(|hours| f64::from(hours) * 1_000.0));
            accuracy.end(1_000.0, spent(hour));
        }
        accuracy.scatter()
    }

    /// The standard deviation of a week, as a share of its mean.
    fn of_a_week(scatter: &Scatter) -> f64 {
        let week = scatter.around(168_000.0, 168.0);
        week.sigma() / week.mean
    }

    #[test]
    fn busy_weeks_widen_a_week_and_busy_hours_do_not() {
        let hours = measured(|hour| if hour % 2 == 0 { 1_300.0 } else { 700.0 });
        let weeks = measured(|hour| if hour / 168 % 2 == 0 { 1_300.0 } else { 700.0 });
        let hour = |scatter: &Scatter| scatter.around(1_000.0, 1.0).sigma();
        assert!((300.0..340.0).contains(&hour(&hours)) && (300.0..340.0).contains(&hour(&weeks)));
        // The prior still has weight: ten weeks are ten stretches.
        assert!((0.05..0.12).contains(&of_a_week(&hours)), "{}", of_a_week(&hours));
        assert!((0.17..0.25).contains(&of_a_week(&weeks)), "{}", of_a_week(&weeks));
    }

    #[test]
    fn an_unknown_accuracy_is_wide() {
        let scatter = Accuracy::default().scatter();
        assert!((of_a_week(&scatter) - KAPPA_UNKNOWN).abs() < 1e-9);
        let month = scatter.around(4.0, 4.0 * 168.0);
        assert!((month.sigma() / month.mean - 2.0 * KAPPA_UNKNOWN).abs() < 1e-9);
    }
}
