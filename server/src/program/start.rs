//! Wires store, ledger and listeners, watches over them, and ends without losing anything.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::service::TowerToHyperService;
use tapgate_engine::ids::UrId;
use tapgate_engine::ledger::Ledger;
use tapgate_engine::recovery::{RecoveryError, recover};
use tapgate_engine::store::rocks::Rocks;
use tapgate_engine::store::{Store, StoreError};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::telemetry;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::receivers::{self, Job};
use crate::http::context::App;
use crate::http::listener::{self, Addresses};
use crate::http::{admin, public::Public};
use crate::provider::api;
use crate::provider::feeds::{self, Feeds, Known};
use crate::provider::prefunding::Prefunding;
use crate::{alerting, treasury};

/// How often rows follow the journal, or after how many records: bounds what a restart must fold, to about a second. A
/// user's row that many records touched meanwhile is written once.
const ROWS_INTERVAL: Duration = Duration::from_secs(60);
const ROWS_RECORDS_MAX: u64 = 500_000;
/// How often it is looked for.
const ROWS_LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Of the thread that writes rows, on the scale of nice(1): about a tenth of a contended core.
const ROWS_NICENESS: i32 = 10;
/// How long it rests, in times of what it worked and at most, so that its work is spread over the interval; and how many
/// records rows may be behind before it rests no more.
const ROWS_REST: u32 = 4;
const ROWS_REST_MAX: Duration = Duration::from_millis(10);
const ROWS_BEHIND_MAX: u64 = 2 * ROWS_RECORDS_MAX;
/// How often memory is relieved of old answers.
const EVICTION_INTERVAL: Duration = Duration::from_secs(30);
/// How often the watchdog looks.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);
/// Without a completed sync for this long, requests are shed at the edge.
const STALL_AFTER: Duration = Duration::from_secs(1);
/// Free space below which requests are shed: what the store has in memory only to write later is bounded by four
/// buffers of 64 MiB, and must still find room.
const DISK_FREE_BYTES_MIN: u64 = 256 << 20;
/// After a failed journal, how long requests under way may still be answered `outcome_unknown`.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Why serving ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory.
    #[error("{directory}: {error}")]
    Store {
        /// As configured.
        directory: String,
        /// What the store said.
        error: StoreError,
    },
    /// The state could not be recovered.
    #[error("the state could not be recovered: {0}")]
    Recovery(#[from] RecoveryError),
    /// An address could not be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// As configured.
        address: std::net::SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// The process could not be set up.
    #[error("{0}")]
    SetUp(String),
    /// The journal failed while serving.
    #[error(
        "the journal failed, and with it the process: {0}. Nothing that was answered is lost; find the cause (disk full? \
             disk failing?), then start again"
    )]
    Journal(StoreError),
}

/// Serves until a signal or a failure ends it.
///
/// # Errors
/// It could not start, or the journal failed.
pub async fn serve(config: Config) -> Result<(), ServeError> {
    warn_of_what_is_missing(&config);
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| ServeError::SetUp(error.to_string()))?;
    let mut server = Server::start(config, Arc::new(Clock::start())).await?;
    tokio::select! {
        error = server.failure() => return Err(server.fail(error).await),
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    server.stop().await
}

/// The engine and its listeners, running.
pub struct Server {
    app: Arc<App>,
    addresses: Addresses,
    failures: mpsc::UnboundedReceiver<StoreError>,
    stop: watch::Sender<bool>,
    listeners: [JoinHandle<()>; 2],
    /// Feeds and automatic prefunds: all that ask UR.
    feeds: Vec<JoinHandle<()>>,
    deliveries: std::thread::JoinHandle<()>,
    watch: std::thread::JoinHandle<()>,
    rows: std::thread::JoinHandle<()>,
    follower: std::thread::JoinHandle<()>,
}

impl Server {
    /// Recovers the state and begins to listen.
    ///
    /// # Errors
    /// The state could not be recovered, or an address is taken.
    pub async fn start(config: Config, clock: Arc<Clock>) -> Result<Server, ServeError> {
        let (failed, failures) = mpsc::unbounded_channel();
        let (hints, hinted) = mpsc::channel(feeds::HINTS_MAX);
        let (app, known, jobs) = start(config, clock, failed.clone(), hints)?;
        let app = Arc::new(app);
        let feeds = feed(&app, &known, hinted)?;
        let public = bind(app.config.listen.public).await?;
        let admin = bind(app.config.listen.admin).await?;
        let addresses = Addresses { public: address(&public)?, admin: address(&admin)? };
        let (stop, stopping) = watch::channel(false);
        let public = listener::serve(public, Public::new(Arc::clone(&app)), stopping.clone());
        let router = TowerToHyperService::new(admin::service(Arc::clone(&app)));
        let admin = listener::serve(admin, router, stopping.clone());
        let listeners = [tokio::spawn(public), tokio::spawn(admin)];
        tokio::spawn(watch_over(Arc::clone(&app)));
        let deliveries = receivers::run(Arc::clone(&app), jobs, stopping.clone());
        let deliveries = deliveries.map_err(|error| ServeError::SetUp(error.to_string()))?;
        let (watched, stops) = (Arc::clone(&app), stopping.clone());
        let watch = std::thread::Builder::new().name("watch".to_owned());
        let watch = watch.spawn(move || alerting::watch::watch(&watched, &stops));
        let watch = watch.map_err(|error| ServeError::SetUp(format!("the watch thread did not start: {error}")))?;
        let (followed, stops) = (Arc::clone(&app), stopping.clone());
        let follower = std::thread::Builder::new().name("treasury".to_owned());
        let follower = follower.spawn(move || treasury::follow::follow(&followed, &stops));
        let follower =
            follower.map_err(|error| ServeError::SetUp(format!("the treasury thread did not start: {error}")))?;
        let kept = Arc::clone(&app);
        let rows = std::thread::Builder::new().name("rows".to_owned());
        let rows = rows.spawn(move || keep_rows(&kept, &stopping, &failed));
        let rows = rows.map_err(|error| ServeError::SetUp(format!("the rows thread did not start: {error}")))?;
        tracing::info!(public = %addresses.public, admin = %addresses.admin, "serving");
        Ok(Server { app, addresses, failures, stop, listeners, feeds, deliveries, watch, rows, follower })
    }

    /// What the listeners share.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// The addresses listened on, with the ports that the system chose where the configuration left it to.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Waits for the journal to fail.
    pub async fn failure(&mut self) -> StoreError {
        match self.failures.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Ends after the journal failed: what is under way is still answered, then the process must end.
    pub async fn fail(self, error: StoreError) -> ServeError {
        self.app.health.set_failed();
        tracing::error!(%error, "the journal failed; the process ends");
        tokio::time::sleep(LAST_ANSWERS).await;
        ServeError::Journal(error)
    }

    /// Ends without losing anything: requests under way end first, then everything is written.
    ///
    /// # Errors
    /// The journal failed meanwhile.
    pub async fn stop(mut self) -> Result<(), ServeError> {
        tracing::info!("stopping: no new connections, requests under way end first");
        self.app.health.set_stopping();
        let _ = self.stop.send(true);
        for feeds in self.feeds {
            feeds.abort();
            // It was cut off; what it had under way is asked for again.
            let _ = feeds.await;
        }
        for listener in self.listeners {
            // A panic has aborted the process already.
            let _ = listener.await;
        }
        let (ledger, deliveries, rows) = (Arc::clone(&self.app.ledger), self.deliveries, self.rows);
        let (watch, follower) = (self.watch, self.follower);
        let closed = tokio::task::spawn_blocking(move || {
            rows.thread().unpark();
            // The threads end by themselves; if one panicked, the process has aborted.
            let _ = rows.join();
            watch.thread().unpark();
            let _ = watch.join();
            // How far receivers are is recorded before nothing can be any more.
            let _ = deliveries.join();
            follower.thread().unpark();
            let _ = follower.join();
            ledger.close()
        });
        let closed = closed.await.map_err(|error| ServeError::SetUp(error.to_string()))?;
        if let Ok(error) = self.failures.try_recv() {
            return Err(ServeError::Journal(error));
        }
        closed.map_err(ServeError::Journal)?;
        tracing::info!(durable = self.app.ledger.journal().durable().0, "stopped; everything is on disk");
        Ok(())
    }
}

/// What asks UR, where it is configured: without a key nothing can be asked.
fn feed(app: &Arc<App>, known: &Known, hinted: mpsc::Receiver<UrId>) -> Result<Vec<JoinHandle<()>>, ServeError> {
    let ur = &app.config.ur;
    let Some(key) = ur.partner_key.clone().filter(|_| ur.feeds) else { return Ok(Vec::new()) };
    let clock = Arc::clone(&app.clock);
    let partner = key.address();
    let client = api::Client::new(&ur.base_url, key, ur.signers.clone(), ur.calls_per_minute, clock);
    let client = client.map_err(|error| ServeError::SetUp(error.to_string()))?;
    let client = Arc::new(client);
    let feeds = Feeds::new(Arc::clone(app), Arc::clone(&client), known);
    tracing::info!(base_url = ur.base_url, calls_per_minute = ur.calls_per_minute, "feeds are read from UR");
    let mut tasks = vec![tokio::spawn(feeds.run(hinted))];
    // Whatever the mode: what was ordered is followed to its end.
    if let Some(account) = ur.ops_ur_id.as_deref().and_then(|id| id.parse().ok()) {
        let mode = app.config.treasury.auto_prefund.mode.name();
        tracing::info!(mode, "automatic prefunds");
        tasks.push(tokio::spawn(Prefunding::new(Arc::clone(app), client, account, partner).run()));
    }
    Ok(tasks)
}

fn start(
    config: Config,
    clock: Arc<Clock>,
    failed: mpsc::UnboundedSender<StoreError>,
    hints: mpsc::Sender<UrId>,
) -> Result<(App, Known, Vec<Job>), ServeError> {
    let metrics = telemetry::start_metrics().map_err(|error| ServeError::SetUp(error.to_string()))?;
    let in_store = |error| ServeError::Store { directory: config.data_dir.display().to_string(), error };
    let store: Arc<dyn Store> = Arc::new(Rocks::open(&config.data_dir, config.durability).map_err(in_store)?);
    let began = Instant::now();
    let recovered = recover(&store)?;
    tracing::info!(
        head = recovered.head.0,
        watermark = recovered.watermark.0,
        records_folded = recovered.records_folded,
        millis = began.elapsed().as_millis(),
        "recovered"
    );
    clock.check_behind(recovered.state.latest());
    let (users, holding) = if config.ur.feeds { recovered.state.accounts() } else { Default::default() };
    let policy = config.policy.clone();
    let hash_seed = RandomState::new().hash_one("tapgate");
    let on_failure = Box::new(move |error| {
        // The receiver lives as long as the process serves.
        let _ = failed.send(error);
    });
    let ledger = Ledger::start(store, recovered.state, policy, hash_seed, on_failure).map_err(in_store)?;
    let ledger = Arc::new(ledger);
    let (deliveries, jobs) = receivers::prepare(&config.delivery, &ledger, &clock)
        .map_err(|error| ServeError::SetUp(format!("deliveries: {error}")))?;
    let app = App::new(ledger, config, clock, metrics, hints, deliveries);
    Ok((app, Known { users, holding }, jobs))
}

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|error| ServeError::Listen { address, error })
}

fn address(listener: &TcpListener) -> Result<std::net::SocketAddr, ServeError> {
    listener.local_addr().map_err(|error| ServeError::SetUp(error.to_string()))
}

fn warn_of_what_is_missing(config: &Config) {
    if config.ur.feeds && config.ur.partner_key.is_none() {
        tracing::warn!(
            "ur.feeds is true, but there is no ur.partner_key to ask UR with: figures grow stale and then decline; set \
             the key, or ur.feeds = false"
        );
    }
    if config.ur.feeds && config.ur.ops_ur_id.is_none() {
        tracing::warn!("ur.ops_ur_id is not set: the pools' balances are not read, grow stale and then decline");
    }
    if config.tokens.is_empty() {
        tracing::warn!("admin.tokens is empty: the admin API refuses everything but /healthz, /readyz and /metrics");
    }
}

/// Sheds at the edge while no sync completes or the disk is nearly full.
async fn watch_over(app: Arc<App>) {
    let mut ticks = tokio::time::interval(WATCH_INTERVAL);
    let mut last = (app.ledger.journal().durable(), tokio::time::Instant::now());
    loop {
        ticks.tick().await;
        let journal = app.ledger.journal();
        let durable = journal.durable();
        if durable != last.0 || journal.claimed() == durable {
            last = (durable, tokio::time::Instant::now());
        }
        app.health.set_stalled(last.1.elapsed() > STALL_AFTER);
        app.health.set_disk_low(free_bytes(&app.config.data_dir).is_some_and(|free| free < DISK_FREE_BYTES_MIN));
    }
}

/// `None` where the system does not say: a missing figure must not stop the service.
fn free_bytes(directory: &Path) -> Option<u64> {
    let figures = rustix::fs::statvfs(directory).ok()?;
    Some(figures.f_bavail.saturating_mul(figures.f_frsize))
}

/// Writes rows behind the journal until the end.
fn keep_rows(app: &App, stopping: &watch::Receiver<bool>, failed: &mpsc::UnboundedSender<StoreError>) {
    // Decisions come first: what this thread does may take ten times as long. Where the system refuses, it only shares.
    let _ = rustix::process::setpriority_process(None, ROWS_NICENESS);
    let journal = app.ledger.journal();
    let mut evicted = Instant::now();
    // At once after a start: one that never lives for long must not fold ever more.
    let mut written: Option<(Instant, u64)> = None;
    while !*stopping.borrow() {
        let watermark = written.map(|(_, watermark)| watermark);
        let behind = || watermark.map_or(0, |watermark| journal.durable().0.saturating_sub(watermark));
        let mut worked = Instant::now();
        let mut rest = || {
            if behind() < ROWS_BEHIND_MAX && !*stopping.borrow() {
                std::thread::park_timeout((worked.elapsed() * ROWS_REST).min(ROWS_REST_MAX));
            }
            worked = Instant::now();
        };
        let mut turn = || {
            if written.is_none_or(|(at, _)| at.elapsed() > ROWS_INTERVAL) || behind() > ROWS_RECORDS_MAX {
                let began = Instant::now();
                let mut done = app.ledger.write_rows_by_and_by(&mut rest)?;
                while done.more && !*stopping.borrow() {
                    done = app.ledger.write_rows_by_and_by(&mut rest)?;
                }
                written = Some((began, done.watermark.0));
            }
            if evicted.elapsed() > EVICTION_INTERVAL {
                evicted = Instant::now();
                app.ledger.evict_by_and_by(app.clock.now().at, &mut rest)?;
            }
            Ok(())
        };
        if let Err(error) = turn() {
            let _ = failed.send(error);
            return;
        }
        if !*stopping.borrow() {
            std::thread::park_timeout(ROWS_LOOK_INTERVAL);
        }
    }
}
