//! Where all chance of a simulation comes from: one seed, several streams.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::randomness::Randomness;

/// A stream of random numbers. Clones share it.
#[derive(Clone)]
pub(super) struct Chance(Arc<Mutex<ChaCha8Rng>>);

impl Chance {
    /// Stream `part` of a seed.
    pub(super) fn new(seed: u64, part: u64) -> Chance {
        Chance(Arc::new(Mutex::new(crate::sandbox::world::random(seed, part))))
    }

    fn draw(&self) -> MutexGuard<'_, ChaCha8Rng> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number below a bound that is not 0.
    pub(super) fn below(&self, bound: u64) -> u64 {
        self.draw().random_range(0..bound)
    }

    /// An index into so many.
    pub(super) fn index(&self, of: usize) -> usize {
        self.draw().random_range(0..of)
    }

    pub(super) fn one_in(&self, of: u64) -> bool {
        self.below(of) == 0
    }

    /// A share for [`Chance::one_of`]: often all or nothing.
    pub(super) fn share(&self) -> f64 {
        [0.0, 0.2, 0.5, 0.8, 1.0].get(self.index(5)).copied().unwrap_or(0.5)
    }

    /// True with this probability.
    pub(super) fn one_of(&self, share: f64) -> bool {
        self.draw().random_bool(share)
    }

    pub(super) fn millis(&self, most: u64) -> Duration {
        Duration::from_millis(self.below(most + 1))
    }

    /// What the server draws from.
    pub(super) fn randomness(&self) -> Randomness {
        let chance = self.clone();
        Randomness::new(move || chance.draw().random())
    }
}
