//! The metrics of one receiver's deliveries (`docs/metrics.md`).

use metrics::{Counter, Gauge, counter, gauge};
use tapgate_engine::ids::Sequence;
use tapgate_engine::time::UnixMillis;

use super::tail::{State, Tail};

/// Handles, looked up once. Each series exists from the start.
#[derive(Debug)]
pub(super) struct Meters {
    lag_records: Gauge,
    lag_seconds: Gauge,
    parked: Gauge,
    pub(super) accepted: Counter,
    pub(super) failed: Counter,
    pub(super) refused: Counter,
}

impl Meters {
    pub(super) fn new(receiver: &str) -> Meters {
        let receiver = receiver.to_owned();
        let attempts = |outcome: &'static str| counter!("tapgate_delivery_attempts_total", "receiver" => receiver.clone(), "outcome" => outcome);
        Meters {
            accepted: attempts("accepted"),
            failed: attempts("failed"),
            refused: attempts("refused"),
            lag_records: gauge!("tapgate_delivery_lag_records", "receiver" => receiver.clone()),
            lag_seconds: gauge!("tapgate_delivery_lag_seconds", "receiver" => receiver.clone()),
            parked: gauge!("tapgate_delivery_parked", "receiver" => receiver),
        }
    }

    /// How far the tail lags behind the journal's last record.
    pub(super) fn tell<C>(&self, tail: &Tail<C>, newest: Sequence, now: UnixMillis) {
        let behind = newest.0.saturating_sub(tail.through().record.0);
        let late = tail.oldest().map_or(0, |message| now.0.saturating_sub(message.at.0));
        self.lag_records.set(figure(behind));
        self.lag_seconds.set(figure(late) / 1_000.0);
        self.parked.set(f64::from(u8::from(matches!(tail.state(), State::Parked(_)))));
    }
}

/// Prometheus knows only floating point.
#[expect(clippy::cast_precision_loss, reason = "a metric is read by people and alerts, never booked")]
fn figure(number: u64) -> f64 {
    number as f64
}
