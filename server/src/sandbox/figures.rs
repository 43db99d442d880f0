//! Results as UR sees them: counts, latencies, and disagreements, of which there must be none.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::ur::contract::Code;

/// Disagreements kept as text; the rest are only counted.
const DISAGREEMENTS_KEPT: usize = 20;

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) approved: BTreeMap<String, u64>,
    pub(super) declined: BTreeMap<String, u64>,
    /// Acknowledged reversals and advices.
    pub(super) given_back: u64,
    /// Repeats that got the same bytes.
    pub(super) repeated: u64,
    /// Forged, altered or stale callbacks, all refused.
    pub(super) refused: u64,
    /// Retries after no answer or a 503.
    pub(super) asked_again: u64,
    /// Callbacks that never got an answer.
    pub(super) unanswered: u64,
    /// Taps with more than one right answer, because tapgate could not know UR's figures exactly.
    pub(super) doubtful: u64,
    pub(super) disagreements: u64,
    pub(super) kept: Vec<String>,
}

/// Counts and latencies.
#[derive(Debug)]
pub(super) struct Figures {
    counts: Mutex<Counts>,
    /// In microseconds.
    latency: Mutex<Histogram<u64>>,
}

/// The histogram covers 1 µs to 10 s with a precision of a thousandth.
const LATENCY_MICROS_MAX: u64 = 10_000_000;

impl Figures {
    pub(super) fn new() -> Result<Figures, String> {
        let latency = Histogram::new_with_max(LATENCY_MICROS_MAX, 3).map_err(|error| error.to_string())?;
        Ok(Figures { counts: Mutex::default(), latency: Mutex::new(latency) })
    }

    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn took(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros);
    }

    pub(super) fn disagree(&self, what: String) {
        let mut counts = self.counts();
        counts.disagreements += 1;
        if counts.kept.len() < DISAGREEMENTS_KEPT {
            tracing::error!("the books disagree: {what}");
            counts.kept.push(what);
        }
    }

    /// In milliseconds.
    fn quantile(&self, quantile: f64) -> f64 {
        let micros = self.latency.lock().unwrap_or_else(PoisonError::into_inner).value_at_quantile(quantile);
        Duration::from_micros(micros).as_secs_f64() * 1_000.0
    }

    /// The live line for people.
    pub(super) fn line(&self, virtual_time: &str, pools: &[(Code, u64)]) -> String {
        let counts = self.counts();
        let approved: u64 = counts.approved.values().sum();
        let declined: u64 = counts.declined.values().sum();
        let mut often: Vec<_> = counts.declined.iter().collect();
        often.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let often: Vec<_> = often.iter().take(3).map(|(reason, count)| format!("{reason} {count}")).collect();
        let disagreements = counts.disagreements;
        drop(counts);
        let mut line = format!("{virtual_time}  approved {approved}  declined {declined}");
        if !often.is_empty() {
            let _ = write!(line, " ({})", often.join(", "));
        }
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| self.quantile(quantile));
        let _ = write!(line, "  p50 {p50:.1} p99 {p99:.1} p99.9 {p999:.1} ms ");
        for (code, available) in pools {
            let _ = write!(line, " {code} {}", available / 100);
        }
        if disagreements > 0 {
            let _ = write!(line, "  DISAGREEMENTS {disagreements}");
        }
        line
    }

    /// The summary, one `name: value` a line.
    pub(super) fn summary(&self) -> String {
        let counts = self.counts();
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name}: {value}");
        };
        line("approved", counts.approved.values().sum::<u64>().to_string());
        for (source, count) in &counts.approved {
            line(&format!("approved_{source}"), count.to_string());
        }
        line("declined", counts.declined.values().sum::<u64>().to_string());
        for (reason, count) in &counts.declined {
            line(&format!("declined_{reason}"), count.to_string());
        }
        line("given_back", counts.given_back.to_string());
        line("repeated_same_bytes", counts.repeated.to_string());
        line("forged_refused", counts.refused.to_string());
        line("asked_again", counts.asked_again.to_string());
        line("unanswered", counts.unanswered.to_string());
        line("doubtful", counts.doubtful.to_string());
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
            line(&format!("latency_{name}_ms"), format!("{:.3}", self.quantile(quantile)));
        }
        line("disagreements", counts.disagreements.to_string());
        for what in &counts.kept {
            line("disagreement", what.clone());
        }
        text
    }
}
