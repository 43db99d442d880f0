//! The start: recovers the state, builds every part from its inputs, and starts the jobs.

use std::net::SocketAddr;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tapgate_engine::fact::Policy;
use tapgate_engine::ledger::Ledger;
use tapgate_engine::recovery::recover;
use tapgate_engine::rows::State;
use tapgate_engine::store::rocks::{Rocks, TablesOpen};
use tapgate_engine::store::{Store, StoreError};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::descriptors;
use super::doors::Doors;
use super::files::{CacheFile, free_bytes, publish_into};
use super::jobs::{Parts, Provider, list};
use super::privacy;
use super::readers::Readers;
use super::runner::{Jobs, Threads};
use super::stop::ServeError;
use super::telemetry;
use crate::beside::Beside;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::channel::post::{ATTEMPT_TIMEOUT, Post, PostSetUpError};
use crate::delivery::receivers::{self, PreparedWorker};
use crate::http::context::App;
use crate::http::listener::Addresses;
use crate::provider::api::Client;
use crate::provider::feeds::{self, Known};
use crate::provider::hint::Hint;
use crate::randomness::Randomness;
use crate::trace;
use crate::treasury::follow::Follower;

/// Connections that the system keeps until they are accepted, as many as Linux permits by default. Where they are more, the
/// next one waits a second for its second attempt, whoever it is.
const BACKLOG: u32 = 4_096;

/// Serves until a signal or a failure ends it.
///
/// # Errors
/// The server could not start, or the journal failed.
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

/// The running engine, its jobs and its listeners.
pub struct Server {
    pub(super) app: Arc<App>,
    addresses: Addresses,
    pub(super) failures: mpsc::UnboundedReceiver<StoreError>,
    pub(super) jobs: Jobs,
}

impl Server {
    /// Recovers the state and starts to listen.
    ///
    /// # Errors
    /// The state could not be recovered, or an address is in use.
    #[expect(clippy::disallowed_methods, reason = "the rests of the row writer, on its own thread")]
    pub async fn start(config: Config, clock: Arc<Clock>) -> Result<Server, ServeError> {
        // Before the store opens its first file.
        let shares = descriptors::share_out(config.delivery.receivers());
        let shares = shares.map_err(|error| ServeError::SetUp(error.to_string()))?;
        privacy::close(&config.data_dir).map_err(|error| {
            let directory = config.data_dir.display();
            ServeError::SetUp(format!("the data directory {directory} cannot be made, or read: {error}"))
        })?;
        let inside = privacy::inside(&config.data_dir, &config.kept_outside);
        if let Some(path) = inside.map_err(|error| ServeError::SetUp(format!("[receipts]: {error}")))? {
            return Err(ServeError::SetUp(format!(
                "{} lies in the data directory {}, which it is to guard: keep it elsewhere ([receipts])",
                path.display(),
                config.data_dir.display()
            )));
        }
        let readers = Readers::start().map_err(|error| ServeError::SetUp(format!("no threads to read on: {error}")))?;
        let (failed, failures) = mpsc::unbounded_channel();
        let (hints, hinted) = mpsc::channel(feeds::HINTS_MAX);
        let (ground, post) = (ground(&config, (clock, shares.tables), failed.clone())?, || {
            Post::new(config.delivery.guard, ATTEMPT_TIMEOUT)
        });
        let beside = ground.beside.clone();
        let (app, known, workers) = assemble(&config, ground, &post, hints)?;
        let app = Arc::new(app);
        let public = bind(config.listen.public)?;
        let admin = bind(config.listen.admin)?;
        let addresses = Addresses { public: address(&public)?, admin: address(&admin)? };
        let (data_dir, metrics) = (config.data_dir.clone(), app.metrics.clone());
        let parts = Parts {
            workers,
            cache: Arc::new(CacheFile::of_treasury(&data_dir)),
            free_bytes: Box::new(move || free_bytes(&data_dir)),
            rest: Box::new(std::thread::sleep),
            fold_samples: Box::new(move || metrics.run_upkeep()),
            on_failure: Arc::new(move |error| {
                // The receiver lives as long as the process.
                let _ = failed.send(error);
            }),
            publish: config.heads_dir.clone().map(publish_into),
            provider: provider(&app, &config)?,
            known,
            hinted,
            beside,
        };
        let doors = Doors { public, admin, shares, readers };
        let mut jobs = Jobs::default();
        for job in list(&app, &config, parts, doors.jobs(&app, &config)) {
            let name = job.name;
            let started = jobs.start(job, &Threads);
            started.map_err(|error| ServeError::SetUp(format!("the job {name} did not start: {error}")))?;
        }
        tracing::info!(public = %addresses.public, admin = %addresses.admin, "serving");
        Ok(Server { app, addresses, failures, jobs })
    }

    /// The listeners' shared parts.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// The listeners' addresses; with the system's choice for port 0.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }
}

/// UR's client, if configured: without a key no call can be signed.
fn provider(app: &App, config: &Config) -> Result<Option<Provider<Client>>, ServeError> {
    let Some((settings, feeds)) = config.api.clone().zip(config.feeds.clone()) else { return Ok(None) };
    let partner = settings.key.address();
    let client = Client::new(settings, Arc::clone(&app.clock), app.randomness.clone(), Arc::clone(&app.findings));
    let client = client.map_err(|error| ServeError::SetUp(error.to_string()))?;
    Ok(Some(Provider { api: Arc::new(client), partner, feeds }))
}

/// What a server stands on. A simulation brings its own.
pub(crate) struct Ground {
    pub(crate) clock: Arc<Clock>,
    pub(crate) randomness: Randomness,
    pub(crate) beside: Beside,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) store: Arc<dyn Store>,
    /// Starts the ledger over what was recovered.
    pub(crate) ledger: StartLedger,
}

type StartLedger = Box<dyn FnOnce(Arc<dyn Store>, State, Policy) -> Result<Ledger, StoreError>>;

fn ground(
    config: &Config,
    (clock, tables): (Arc<Clock>, TablesOpen),
    failed: mpsc::UnboundedSender<StoreError>,
) -> Result<Ground, ServeError> {
    let metrics = telemetry::start_metrics().map_err(|error| ServeError::SetUp(error.to_string()))?;
    let store = Rocks::open_within(&config.data_dir, config.durability, tables).map_err(in_store(config))?;
    let (store, randomness) = (trace::watched(Arc::new(store)), Randomness::of_system());
    let hash_seed = randomness.bits();
    let on_failure = Box::new(move |error| {
        // The receiver lives as long as the process.
        let _ = failed.send(error);
    });
    let ledger: StartLedger =
        Box::new(move |store, state, policy| Ledger::start(store, state, policy, hash_seed, on_failure));
    Ok(Ground { clock, randomness, beside: Beside::on_threads(), metrics, store, ledger })
}

fn in_store(config: &Config) -> impl Fn(StoreError) -> ServeError {
    |error| ServeError::Store { directory: config.data_dir.display().to_string(), error }
}

/// Recovers the state, and builds the handlers' shared parts. `post` makes the client that posts to a receiver.
///
/// # Errors
/// The state could not be recovered, or a part could not be built.
pub(crate) fn assemble(
    config: &Config,
    ground: Ground,
    post: &dyn Fn() -> Result<Post, PostSetUpError>,
    hints: mpsc::Sender<Hint>,
) -> Result<(App, Known, Vec<PreparedWorker>), ServeError> {
    let Ground { clock, randomness, beside, metrics, store, ledger } = ground;
    let began = clock.running();
    let recovered = recover(&store)?;
    tracing::info!(
        head = recovered.head.0,
        root = hex::encode(recovered.frontier.head().root),
        watermark = recovered.watermark.0,
        records_folded = recovered.records_folded,
        millis = (clock.running() - began).as_millis(),
        "recovered"
    );
    clock.check_behind(recovered.state.latest());
    let (users, holding) = if config.feeds.is_some() { recovered.state.accounts() } else { Default::default() };
    let known = Known { users, holding, through: recovered.head };
    let ledger = ledger(store, recovered.state, config.policy.clone()).map_err(in_store(config))?;
    let ledger = Arc::new(ledger);
    // Before any decision, so that each is made under recorded settings.
    ledger
        .record_policy(clock.now())
        .map_err(|error| ServeError::SetUp(format!("the decision settings were not recorded: {error}")))?;
    let given = receivers::Given { clock: &clock, randomness: &randomness, beside: &beside, post };
    let (deliveries, workers) = receivers::prepare(&config.delivery, &ledger, given)
        .map_err(|error| ServeError::SetUp(format!("deliveries: {error}")))?;
    let treasury = Arc::new(Follower::new(config.treasury.clone()));
    let app = App::new(ledger, treasury, clock, metrics, hints, deliveries, randomness);
    Ok((app, known, workers))
}

fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let listening = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // As the standard library does: a restart need not wait for connections of before.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listening().map_err(|error| ServeError::Listen { address, error })
}

fn address(listener: &TcpListener) -> Result<SocketAddr, ServeError> {
    listener.local_addr().map_err(|error| ServeError::SetUp(error.to_string()))
}

fn warn_of_what_is_missing(config: &Config) {
    if config.feeds.is_some() && config.api.is_none() {
        tracing::warn!(
            "ur.feeds is true, but there is no ur.partner_key to ask UR with: figures grow stale and then decline; set \
             the key, or ur.feeds = false"
        );
    }
    if config.feeds.is_some() && config.ops_account.is_none() {
        tracing::warn!("ur.ops_ur_id is not set: the pools' balances are not read, grow stale and then decline");
    }
    if !config.listen.admin.ip().is_loopback() {
        tracing::warn!(
            admin = %config.listen.admin,
            "the admin listener has no TLS and is not on this machine's own address alone: whoever can read the network \
             reads its tokens; put a TLS proxy in front of it, or listen on 127.0.0.1"
        );
    }
    if config.admin.tokens.is_empty() {
        tracing::warn!("admin.tokens is empty: the admin API refuses everything but /healthz, /readyz and /metrics");
    }
}
