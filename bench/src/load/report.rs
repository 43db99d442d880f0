//! What is measured, and how it is told.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{Failed, print};

/// The longest latency that is told apart, in microseconds: a minute.
const LATENCY_US_MAX: u64 = 60_000_000;

/// Latencies in microseconds, to three digits.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Result<Latencies, Failed> {
        Ok(Latencies(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?))
    }

    pub(crate) fn took(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn add(&mut self, others: &Latencies) -> Result<(), Failed> {
        Ok(self.0.add(&others.0)?)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures {
            mean_us: self.0.mean(),
            p50_us: self.0.value_at_quantile(0.5),
            p90_us: self.0.value_at_quantile(0.9),
            p99_us: self.0.value_at_quantile(0.99),
            p999_us: self.0.value_at_quantile(0.999),
            max_us: self.0.max(),
        }
    }
}

/// A distribution of latencies, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) mean_us: f64,
    pub(crate) p50_us: u64,
    pub(crate) p90_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    pub(crate) max_us: u64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Figures { mean_us, p50_us, p90_us, p99_us, p999_us, max_us } = self;
        write!(f, "mean {mean_us:.0} µs, p50 {p50_us}, p90 {p90_us}, p99 {p99_us}, p99.9 {p999_us}, latest {max_us}")
    }
}

/// So many in such a time, by the second.
pub(crate) fn per_second(count: u64, took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    let count = count as f64;
    count / took.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// What every measurement without HTTP says.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    /// In words.
    pub(crate) what: String,
    /// Bytes of one record.
    pub(crate) record_bytes: u64,
    pub(crate) count: u64,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) latency: Figures,
}

impl Measured {
    /// Says it on stdout.
    pub(crate) fn tell(&self, as_json: bool) -> Result<(), Failed> {
        if as_json {
            return print(&format!("{}\n", serde_json::to_string(self)?));
        }
        let Measured { what, record_bytes, count, seconds, per_second, latency } = self;
        print(&format!(
            "{what}, records of {record_bytes} bytes: {count} in {seconds:.1} s, {per_second:.0}/s\nlatency: {latency}\n"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_told_in_microseconds() {
        let mut latencies = Latencies::new().unwrap();
        for micros in 1..=1_000 {
            latencies.took(Duration::from_micros(micros));
        }
        let figures = latencies.figures();
        assert_eq!((figures.p50_us, figures.p99_us, figures.max_us), (500, 990, 1_000));
        assert_eq!(latencies.count(), 1_000);
        latencies.took(Duration::from_secs(100));
        assert!(latencies.figures().max_us >= LATENCY_US_MAX, "beyond the longest: counted as the longest");
    }
}
