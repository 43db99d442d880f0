//! Capacity: the highest rate at which p99 keeps its bound and nothing fails.

use serde::Serialize;

use super::drive::{Driven, Driver};
use super::{Failed, print};

/// The first rate, a second, where none is given.
const FIRST_RATE: f64 = 1_000.0;

/// How much higher the next rate is while the bound is kept.
const STEP: f64 = 1.6;

/// Halvings between the last rate that kept the bound and the first that did not: 0.6 / 2^4, within 4 %.
const HALVINGS: u32 = 4;

/// The least of the rate that must have been answered within the time, lest a growing backlog pass for a good p99.
const ANSWERED_MIN: f64 = 0.98;

/// What was found.
#[derive(Debug, Serialize)]
struct Ramp {
    p99_bound_ms: u32,
    /// Callbacks a second; `null` if the first rate was too high already.
    capacity_per_second: Option<f64>,
    at_capacity: Option<Driven>,
    steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
struct Step {
    rate: f64,
    per_second: f64,
    p99_us: u64,
    errors: u64,
    wrong: u64,
    kept: bool,
}

/// Doubles and halves until it is known.
pub(crate) fn run(driver: &Driver<'_>) -> Result<(), Failed> {
    let options = driver.options;
    let mut ramp =
        Ramp { p99_bound_ms: options.p99_ms, capacity_per_second: None, at_capacity: None, steps: Vec::new() };
    let mut rate = options.rate.unwrap_or(FIRST_RATE);
    while ramp.step(driver, rate)? {
        rate *= STEP;
    }
    let (mut low, mut high) = (ramp.capacity_per_second, rate);
    for _ in 0..HALVINGS {
        let Some(kept) = low else { break };
        let middle = f64::midpoint(kept, high);
        if ramp.step(driver, middle)? {
            low = Some(middle);
        } else {
            high = middle;
        }
    }
    ramp.tell(options.json)
}

impl Ramp {
    /// Whether the bound is kept at this rate.
    fn step(&mut self, driver: &Driver<'_>, rate: f64) -> Result<bool, Failed> {
        let driven = driver.drive(Some(rate))?;
        let latency = driven.latency;
        let is_fast = latency.p99_us <= u64::from(self.p99_bound_ms) * 1_000;
        let kept = is_fast && driven.is_clean() && driven.per_second >= rate * ANSWERED_MIN;
        let step = Step {
            rate,
            per_second: driven.per_second,
            p99_us: latency.p99_us,
            errors: driven.errors.values().sum(),
            wrong: driven.wrong,
            kept,
        };
        if !driver.options.json {
            let Step { per_second, p99_us, errors, wrong, .. } = step;
            let verdict = if kept { "kept" } else { "not kept" };
            print(&format!(
                "{rate:.0}/s: {verdict}; answered {per_second:.0}/s, p99 {p99_us} µs, errors {errors}, wrong {wrong}\n"
            ))?;
        }
        self.steps.push(step);
        if kept {
            self.capacity_per_second = Some(rate);
            self.at_capacity = Some(driven);
        }
        Ok(kept)
    }

    fn tell(&self, as_json: bool) -> Result<(), Failed> {
        if as_json {
            print(&format!("{}\n", serde_json::to_string(self)?))?;
        } else if let (Some(capacity), Some(driven)) = (self.capacity_per_second, &self.at_capacity) {
            print(&format!("capacity: {capacity:.0}/s with p99 within {} ms\n", self.p99_bound_ms))?;
            print(&format!("latency: {}\n", driven.latency))?;
        }
        if self.steps.iter().any(|step| step.wrong > 0 && step.errors == 0) {
            return Err(Failed("some answers were wrong".to_owned()));
        }
        match self.capacity_per_second {
            Some(_) => Ok(()),
            None => Err(Failed("the first rate was too high already; begin with a lower --rate".to_owned())),
        }
    }
}
