//! What both listeners share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics_exporter_prometheus::PrometheusHandle;
use tapgate_engine::ids::UrId;
use tapgate_engine::ledger::Ledger;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::config::Config;
use crate::prefunding::Board;
use crate::receivers::Delivery;
use crate::rescue::Problem;
use crate::treasury::follow::Follower;

/// The running program.
pub struct App {
    /// Decides and records.
    pub ledger: Arc<Ledger>,
    /// As loaded.
    pub config: Config,
    /// Wall time.
    pub clock: Arc<Clock>,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// Whether requests are taken.
    pub health: Health,
    /// What the journal says of the pools' spending.
    pub treasury: Follower,
    /// Accounts of which UR has said that something changed, for the feeds.
    pub hints: mpsc::Sender<UrId>,
    /// The receivers of deliveries, as configured.
    pub deliveries: Vec<Delivery>,
    /// What is done next about automatic prefunds.
    pub prefunding: Board,
}

impl App {
    /// Ready for requests; treasury has read nothing yet, and nothing is planned.
    #[must_use]
    pub fn new(
        ledger: Arc<Ledger>,
        config: Config,
        clock: Arc<Clock>,
        metrics: PrometheusHandle,
        hints: mpsc::Sender<UrId>,
        deliveries: Vec<Delivery>,
    ) -> App {
        let treasury = Follower::new(&config.treasury);
        let (health, prefunding) = (Health::default(), Board::default());
        App { ledger, config, clock, metrics, health, treasury, hints, deliveries, prefunding }
    }
}

/// Why requests are not taken, if they are not. Each cause is set and cleared by the one who watches it.
#[derive(Debug, Default)]
pub struct Health {
    stopping: AtomicBool,
    failed: AtomicBool,
    stalled: AtomicBool,
    disk_low: AtomicBool,
}

impl Health {
    /// The process is shutting down.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The journal failed; the process is about to end.
    pub fn set_failed(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Nothing has become durable for a while.
    pub fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Release);
    }

    /// Whether nothing has become durable for a while.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// The disk is nearly full.
    pub fn set_disk_low(&self, low: bool) {
        self.disk_low.store(low, Ordering::Release);
    }

    /// Whether a request may be taken at the edge. A failed journal is no reason to shed: it declines.
    ///
    /// # Errors
    /// The reason to shed it.
    pub fn admit(&self) -> Result<(), Problem> {
        if self.stalled.load(Ordering::Acquire) {
            return Err(Problem::NotReady("the disk has not completed a write for a second"));
        }
        if self.disk_low.load(Ordering::Acquire) {
            return Err(Problem::NotReady("the disk is nearly full"));
        }
        Ok(())
    }

    /// Whether a load balancer should send requests here.
    ///
    /// # Errors
    /// The reason not to.
    pub fn ready(&self) -> Result<(), Problem> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Problem::NotReady("shutting down"));
        }
        if self.failed.load(Ordering::Acquire) {
            return Err(Problem::NotReady("the journal has failed"));
        }
        self.admit()
    }
}
