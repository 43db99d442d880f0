//! The start: recovers the state, makes every part with what it uses, and starts the jobs.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use tapgate_engine::ids::UrId;
use tapgate_engine::ledger::Ledger;
use tapgate_engine::recovery::recover;
use tapgate_engine::store::rocks::Rocks;
use tapgate_engine::store::{Store, StoreError};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::files::{CacheFile, free_bytes};
use super::jobs::{Job, Jobs, Rows, Threads, Watchdog};
use super::stop::ServeError;
use super::telemetry;
use crate::alerting::{self, watch};
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::receivers::{self, Work};
use crate::http::context::App;
use crate::http::listener::{self, Addresses};
use crate::http::{admin, public::Public};
use crate::provider::api::{Client, UrApi};
use crate::provider::feeds::{self, Feeds, Known};
use crate::provider::prefunding::credits::Credits;
use crate::provider::prefunding::{self, Prefunding};
use crate::randomness::Randomness;
use crate::signature::Address;
use crate::treasury::follow::{Cache, Follower, Following};

/// Of what yields to decisions, on the scale of nice(1): about a tenth of a contended core.
const BEHIND_DECISIONS: Option<i32> = Some(10);
/// Of what takes its time, and is not to take a decision's.
const BESIDE_DECISIONS: Option<i32> = Some(0);

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

/// The engine, its jobs and its listeners, running.
pub struct Server {
    pub(super) app: Arc<App>,
    addresses: Addresses,
    pub(super) failures: mpsc::UnboundedReceiver<StoreError>,
    pub(super) jobs: Jobs,
}

impl Server {
    /// Recovers the state and begins to listen.
    ///
    /// # Errors
    /// The state could not be recovered, or an address is taken.
    pub async fn start(config: Config, clock: Arc<Clock>) -> Result<Server, ServeError> {
        let (failed, failures) = mpsc::unbounded_channel();
        let (hints, hinted) = mpsc::channel(feeds::HINTS_MAX);
        let (app, known, works) = recovered(&config, clock, failed.clone(), hints)?;
        let app = Arc::new(app);
        let public = bind(config.listen.public).await?;
        let admin = bind(config.listen.admin).await?;
        let addresses = Addresses { public: address(&public)?, admin: address(&admin)? };
        let data_dir = config.data_dir.clone();
        let parts = Parts {
            works,
            cache: Arc::new(CacheFile::of_treasury(&data_dir)),
            free_bytes: Box::new(move || free_bytes(&data_dir)),
            rest: Box::new(std::thread::sleep),
            on_failure: Box::new(move |error| {
                // The receiver lives as long as the process serves.
                let _ = failed.send(error);
            }),
            provider: provider(&app, &config)?,
            known,
            hinted,
            public,
            admin,
        };
        let mut jobs = Jobs::default();
        for job in list(&app, &config, parts) {
            let name = job.name;
            let started = jobs.start(job, &Threads);
            started.map_err(|error| ServeError::SetUp(format!("the job {name} did not start: {error}")))?;
        }
        tracing::info!(public = %addresses.public, admin = %addresses.admin, "serving");
        Ok(Server { app, addresses, failures, jobs })
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
}

/// What jobs are made of, beside what handlers share.
pub(super) struct Parts<A> {
    pub(super) works: Vec<Work>,
    pub(super) cache: Arc<dyn Cache>,
    pub(super) free_bytes: Box<dyn Fn() -> Option<u64> + Send + Sync>,
    pub(super) rest: Box<dyn Fn(Duration) + Send>,
    pub(super) on_failure: Box<dyn FnOnce(StoreError) + Send>,
    /// `None` where nothing is asked of UR.
    pub(super) provider: Option<Provider<A>>,
    pub(super) known: Known,
    pub(super) hinted: mpsc::Receiver<UrId>,
    pub(super) public: TcpListener,
    pub(super) admin: TcpListener,
}

/// UR, and who asks it.
pub(super) struct Provider<A> {
    pub(super) api: Arc<A>,
    /// The address of the key that signs calls.
    pub(super) partner: Address,
    pub(super) feeds: feeds::Settings,
}

/// Every job, in the order in which they start.
pub(super) fn list<A: UrApi>(app: &Arc<App>, config: &Config, parts: Parts<A>) -> Vec<Job> {
    let Parts { works, cache, free_bytes, rest, on_failure, provider, known, hinted, public, admin } = parts;
    let (ledger, clock) = (|| Arc::clone(&app.ledger), || Arc::clone(&app.clock));
    let watchdog = Watchdog { ledger: ledger(), clock: clock(), health: Arc::clone(&app.health), free_bytes };
    let rows = Rows { ledger: ledger(), clock: clock(), rest, on_failure };
    let following = Following { follower: Arc::clone(&app.treasury), ledger: ledger(), clock: clock(), cache };
    let (watch, receivers) = (watch(app, config.watch), Arc::clone(&app.deliveries));
    let (of_receivers, time) = (ledger(), clock());
    let deliveries = Job::new("deliveries", BEHIND_DECISIONS, |stopping| async move {
        let handles = receivers.iter().map(|delivery| &delivery.handle).collect();
        tokio::join!(receivers::run(works, stopping), alerting::deliveries::watch(of_receivers, time, handles));
    });
    let mut jobs = vec![
        Job::new("watchdog", None, |stopping| watchdog.run(stopping)),
        Job::new("rows", BEHIND_DECISIONS, |stopping| rows.run(stopping)),
        Job::new("treasury", BEHIND_DECISIONS, |stopping| following.run(stopping)),
        deliveries,
        Job::new("watch", BESIDE_DECISIONS, |stopping| watch.run(stopping)),
    ];
    if let Some(provider) = provider {
        jobs.extend(of_provider(app, config, provider, &known, hinted));
    }
    let answers = Public::new(Arc::clone(app), config.public.clone());
    let router = TowerToHyperService::new(admin::service(Arc::clone(app), config.admin.clone()));
    jobs.push(Job::new("listeners", None, |stopping| async move {
        let admin = listener::serve(admin, router, stopping.clone());
        tokio::join!(listener::serve(public, answers, stopping), admin);
    }));
    jobs
}

/// All that ask UR.
fn of_provider<A: UrApi>(
    app: &App,
    config: &Config,
    provider: Provider<A>,
    known: &Known,
    hinted: mpsc::Receiver<UrId>,
) -> Vec<Job> {
    let Provider { api, partner, feeds: settings } = provider;
    let (prefunds, calls_per_minute) = (&config.prefunding, settings.calls_per_minute);
    let credits = Credits {
        ledger: Arc::clone(&app.ledger),
        clock: Arc::clone(&app.clock),
        board: Arc::clone(&app.prefunding),
        quote_tolerance_bps: prefunds.auto_prefund.quote_tolerance_bps,
    };
    let feeds = feeds::Given {
        ledger: Arc::clone(&app.ledger),
        clock: Arc::clone(&app.clock),
        randomness: app.randomness.clone(),
        credits,
        settings,
    };
    let feeds = Feeds::new(feeds, Arc::clone(&api), known);
    tracing::info!(base_url = prefunds.base_url.as_str(), calls_per_minute, "feeds are read from UR");
    let mut jobs = vec![Job::cut_off("feeds", feeds.run(hinted))];
    // Whatever the mode: what was ordered is followed to its end.
    if let Some(account) = config.ops_account.clone() {
        tracing::info!(mode = prefunds.auto_prefund.mode.name(), "automatic prefunds");
        let given = prefunding::Given {
            ledger: Arc::clone(&app.ledger),
            clock: Arc::clone(&app.clock),
            health: Arc::clone(&app.health),
            treasury: Arc::clone(&app.treasury),
            board: Arc::clone(&app.prefunding),
            randomness: app.randomness.clone(),
            settings: prefunds.clone(),
        };
        jobs.push(Job::cut_off("prefunding", Prefunding::new(given, api, account, partner).run()));
    }
    jobs
}

fn watch(app: &App, settings: watch::Settings) -> watch::Watch {
    watch::Watch {
        ledger: Arc::clone(&app.ledger),
        clock: Arc::clone(&app.clock),
        health: Arc::clone(&app.health),
        treasury: Arc::clone(&app.treasury),
        prefunding: Arc::clone(&app.prefunding),
        settings,
    }
}

/// UR's client, where one is configured: without a key nothing can be asked.
fn provider(app: &App, config: &Config) -> Result<Option<Provider<Client>>, ServeError> {
    let Some((settings, feeds)) = config.api.clone().zip(config.feeds.clone()) else { return Ok(None) };
    let partner = settings.key.address();
    let client = Client::new(settings, Arc::clone(&app.clock), app.randomness.clone());
    let client = client.map_err(|error| ServeError::SetUp(error.to_string()))?;
    Ok(Some(Provider { api: Arc::new(client), partner, feeds }))
}

/// What was running before, as the journal tells.
fn recovered(
    config: &Config,
    clock: Arc<Clock>,
    failed: mpsc::UnboundedSender<StoreError>,
    hints: mpsc::Sender<UrId>,
) -> Result<(App, Known, Vec<Work>), ServeError> {
    let metrics = telemetry::start_metrics().map_err(|error| ServeError::SetUp(error.to_string()))?;
    let in_store = |error| ServeError::Store { directory: config.data_dir.display().to_string(), error };
    let store: Arc<dyn Store> = Arc::new(Rocks::open(&config.data_dir, config.durability).map_err(in_store)?);
    let began = clock.running();
    let recovered = recover(&store)?;
    tracing::info!(
        head = recovered.head.0,
        watermark = recovered.watermark.0,
        records_folded = recovered.records_folded,
        millis = (clock.running() - began).as_millis(),
        "recovered"
    );
    clock.check_behind(recovered.state.latest());
    let (users, holding) = if config.feeds.is_some() { recovered.state.accounts() } else { Default::default() };
    let policy = config.policy.clone();
    let hash_seed = RandomState::new().hash_one("tapgate");
    let on_failure = Box::new(move |error| {
        // The receiver lives as long as the process serves.
        let _ = failed.send(error);
    });
    let ledger = Ledger::start(store, recovered.state, policy, hash_seed, on_failure).map_err(in_store)?;
    let ledger = Arc::new(ledger);
    let (deliveries, works) = receivers::prepare(&config.delivery, &ledger, &clock, &Randomness::of_system())
        .map_err(|error| ServeError::SetUp(format!("deliveries: {error}")))?;
    let treasury = Arc::new(Follower::new(config.treasury.clone()));
    let app = App::new(ledger, treasury, clock, metrics, hints, deliveries);
    Ok((app, Known { users, holding }, works))
}

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|error| ServeError::Listen { address, error })
}

fn address(listener: &TcpListener) -> Result<std::net::SocketAddr, ServeError> {
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
    if config.admin.tokens.is_empty() {
        tracing::warn!("admin.tokens is empty: the admin API refuses everything but /healthz, /readyz and /metrics");
    }
}
