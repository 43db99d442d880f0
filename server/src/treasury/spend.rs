//! The spending of a future interval, as a distribution.

use libm::erfc;

/// A gamma distribution with this mean and variance, because a sum of taps is positive and its surprises are upwards (a
/// normal distribution underestimates rare events, a log-normal one overestimates likely ones). Its tail is Wilson and
/// Hilferty's approximation: the cube root is nearly normal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spend {
    /// In smallest units, not negative.
    pub mean: f64,
    /// In smallest units squared.
    pub variance: f64,
}

impl Spend {
    /// In smallest units.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        self.variance.sqrt()
    }

    /// The probability that the sum reaches `amount`, 0 to 1; certain for zero and less.
    #[must_use]
    pub fn reaches(&self, amount: f64) -> f64 {
        if amount <= 0.0 {
            return 1.0;
        }
        if self.mean <= 0.0 {
            return 0.0;
        }
        let (centre, width) = self.cube_root();
        let above_centre = (amount / self.mean).cbrt() - centre;
        if width <= 0.0 {
            return if above_centre <= 0.0 { 1.0 } else { 0.0 };
        }
        erfc(above_centre / (width * std::f64::consts::SQRT_2)) / 2.0
    }

    #[must_use]
    pub fn median(&self) -> f64 {
        let (centre, _) = self.cube_root();
        self.mean * centre.max(0.0).powi(3)
    }

    /// Mean and standard deviation of the cube root of the sum over its mean.
    fn cube_root(&self) -> (f64, f64) {
        let ninth = if self.mean > 0.0 { self.variance / (9.0 * self.mean * self.mean) } else { 0.0 };
        (1.0 - ninth, ninth.sqrt())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tapgate_engine::testing::cases;

    use super::*;

    #[test]
    fn known_points_of_the_distribution() {
        let check = |mean: f64, variance: f64, amount: f64, expected: f64| {
            let reached = Spend { mean, variance }.reaches(amount);
            assert!((reached - expected).abs() < 2e-3, "{mean} {variance} {amount}: {reached}");
        };
        // A coefficient of variation of 1/2 is the gamma distribution of shape 4, scale 25, whose tail follows from
        // Poisson sums.
        check(100.0, 2500.0, 91.801_5, 0.5);
        check(100.0, 2500.0, 193.842, 0.05);
        check(100.0, 2500.0, 251.128, 0.01);
        check(100.0, 2500.0, 34.158, 0.95);
        check(100.0, 0.0, 99.0, 1.0);
        check(100.0, 0.0, 101.0, 0.0);
        check(0.0, 0.0, 1.0, 0.0);
        check(0.0, 0.0, 0.0, 1.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

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
