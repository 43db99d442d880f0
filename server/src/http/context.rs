//! The shared parts of both listeners' handlers.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tapgate_engine::ledger::Ledger;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::delivery::receivers::Delivery;
use crate::health::Health;
use crate::provider::findings::Findings;
use crate::provider::hint::Hint;
use crate::provider::prefunding::Board;
use crate::randomness::Randomness;
use crate::treasury::follow::Follower;

/// The running program.
pub struct App {
    pub ledger: Arc<Ledger>,
    pub clock: Arc<Clock>,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    pub health: Arc<Health>,
    /// The pools' spending, from the journal.
    pub treasury: Arc<Follower>,
    /// For the feeds.
    hints: mpsc::Sender<Hint>,
    pub deliveries: Arc<[Delivery]>,
    /// The next steps of automatic prefunds.
    pub prefunding: Arc<Board>,
    /// What could not be used of UR's answers and notifications.
    pub findings: Arc<Findings>,
    /// Draws request ids.
    pub randomness: Randomness,
}

impl App {
    /// An app that is ready for requests; treasury has read nothing yet, and nothing is planned.
    #[must_use]
    pub fn new(
        ledger: Arc<Ledger>,
        treasury: Arc<Follower>,
        clock: Arc<Clock>,
        metrics: PrometheusHandle,
        hints: mpsc::Sender<Hint>,
        deliveries: Vec<Delivery>,
        randomness: Randomness,
    ) -> App {
        App {
            health: Arc::default(),
            prefunding: Arc::default(),
            findings: Arc::default(),
            deliveries: deliveries.into(),
            randomness,
            ledger,
            treasury,
            clock,
            metrics,
            hints,
        }
    }

    /// Has the feeds read an account. If the queue is full, the account's own turn makes up for it.
    pub(super) fn hint(&self, hint: Hint) {
        let _ = self.hints.try_send(hint);
    }
}
