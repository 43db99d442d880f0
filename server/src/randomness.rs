//! The only source of randomness, so that tests and simulators can replace it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use rand::RngExt;

/// Bits of a fraction: a double represents all of them exactly.
const FRACTION_BITS: u32 = 53;

/// A random number generator. Cheap to clone.
#[derive(Clone)]
pub struct Randomness(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Randomness {
    /// The system's unpredictable generator.
    #[must_use]
    pub fn of_system() -> Randomness {
        Randomness::new(|| rand::rng().random())
    }

    /// A generator that draws 64 bits at a time.
    pub fn new(draw: impl Fn() -> u64 + Send + Sync + 'static) -> Randomness {
        Randomness(Arc::new(draw))
    }

    /// 64 random bits.
    #[must_use]
    pub fn bits(&self) -> u64 {
        (self.0)()
    }

    /// 32 random bits.
    #[must_use]
    pub fn draw(&self) -> u32 {
        u32::try_from(self.bits() >> u32::BITS).unwrap_or(u32::MAX)
    }

    /// A number in the range; rounding may yield its end.
    #[must_use]
    pub fn within(&self, range: Range<f64>) -> f64 {
        let fraction = (self.bits() >> (u64::BITS - FRACTION_BITS)) as f64 / (1_u64 << FRACTION_BITS) as f64;
        range.start + (range.end - range.start) * fraction
    }
}

impl fmt::Debug for Randomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Randomness")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_number_lies_in_its_range() {
        let check = |bits: u64, expected: f64| {
            let drawn = Randomness::new(move || bits).within(0.5..1.5);
            assert!((drawn - expected).abs() < 1e-9, "{bits}: {drawn}");
        };
        check(0, 0.5);
        check(1 << 63, 1.0);
        check(u64::MAX, 1.5);
    }
}
