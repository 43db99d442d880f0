//! What the handlers of both listeners share.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tapgate_engine::ids::UrId;
use tapgate_engine::ledger::Ledger;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::delivery::receivers::Delivery;
use crate::health::Health;
use crate::provider::prefunding::Board;
use crate::randomness::Randomness;
use crate::treasury::follow::Follower;

/// The running program.
pub struct App {
    /// Decides and records.
    pub ledger: Arc<Ledger>,
    /// Wall time.
    pub clock: Arc<Clock>,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// Whether requests are taken.
    pub health: Arc<Health>,
    /// What the journal says of the pools' spending.
    pub treasury: Arc<Follower>,
    /// Accounts of which UR has said that something changed, for the feeds.
    pub hints: mpsc::Sender<UrId>,
    /// The receivers of deliveries, as configured.
    pub deliveries: Arc<[Delivery]>,
    /// What is done next about automatic prefunds.
    pub prefunding: Arc<Board>,
    /// Makes request ids.
    pub randomness: Randomness,
}

impl App {
    /// Ready for requests; treasury has read nothing yet, and nothing is planned.
    #[must_use]
    pub fn new(
        ledger: Arc<Ledger>,
        treasury: Arc<Follower>,
        clock: Arc<Clock>,
        metrics: PrometheusHandle,
        hints: mpsc::Sender<UrId>,
        deliveries: Vec<Delivery>,
    ) -> App {
        App {
            health: Arc::default(),
            prefunding: Arc::default(),
            deliveries: deliveries.into(),
            randomness: Randomness::of_system(),
            ledger,
            treasury,
            clock,
            metrics,
            hints,
        }
    }
}
