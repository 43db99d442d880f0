//! What will be spent in some future interval, as a distribution.

use libm::erfc;

/// The spending of an interval: a log-normal distribution with this mean and variance, because a sum of taps is positive
/// and its surprises are upwards (a normal tail made the highest probabilities too small).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spend {
    /// The expected sum, in smallest units; nothing or more.
    pub mean: f64,
    /// Its variance, in smallest units squared.
    pub variance: f64,
}

impl Spend {
    /// The standard deviation, in smallest units.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        self.variance.sqrt()
    }

    /// The probability that the sum reaches `amount`, 0 to 1. Nothing or less is reached for certain.
    #[must_use]
    pub fn reaches(&self, amount: f64) -> f64 {
        if amount <= 0.0 {
            return 1.0;
        }
        if self.mean <= 0.0 {
            return 0.0;
        }
        let spread = self.log_variance();
        let above_median = (amount / self.median()).ln();
        if spread <= 0.0 {
            return if above_median <= 0.0 { 1.0 } else { 0.0 };
        }
        erfc(above_median / (2.0 * spread).sqrt()) / 2.0
    }

    /// The sum that is reached as likely as not.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.mean * (-self.log_variance() / 2.0).exp()
    }

    fn log_variance(&self) -> f64 {
        if self.mean <= 0.0 { 0.0 } else { (self.variance / (self.mean * self.mean)).ln_1p() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_points_of_the_distribution() {
        let check = |mean: f64, variance: f64, amount: f64, expected: f64| {
            let reached = Spend { mean, variance }.reaches(amount);
            assert!((reached - expected).abs() < 5e-4, "{mean} {variance} {amount}: {reached}");
        };
        // A coefficient of variation of 1/2: the logarithm has variance ln 1.25 and the median is 100/√1.25.
        check(100.0, 2500.0, 89.4427, 0.5);
        check(100.0, 2500.0, 89.4427 * 1.603_97, 0.158_66);
        check(100.0, 0.0, 99.0, 1.0);
        check(100.0, 0.0, 101.0, 0.0);
        check(0.0, 0.0, 1.0, 0.0);
        check(0.0, 0.0, 0.0, 1.0);
    }

    proptest! {
        #[test]
        fn a_probability_falls_with_the_amount(
            mean in 0.0..1e15_f64, relative in 0.0..9.0_f64, amount in -1e15..1e15_f64, more in 0.0..1e15_f64,
        ) {
            let spend = Spend { mean, variance: relative * mean * mean };
            let (less, more) = (spend.reaches(amount), spend.reaches(amount + more));
            prop_assert!((0.0..=1.0).contains(&more) && more <= less && less <= 1.0);
            prop_assert!(spend.median() <= spend.mean);
        }
    }
}
