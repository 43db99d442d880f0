//! The list of background jobs, each built from the parts that it uses.

mod durable_head;
mod rows;
mod scrub;
mod upkeep;
mod watchdog;

use std::sync::Arc;
use std::time::Duration;

use tapgate_engine::store::StoreError;
use tokio::sync::mpsc;

use self::durable_head::DurableHead;
use self::rows::Rows;
use self::scrub::Scrubbing;
use self::upkeep::Upkeep;
use self::watchdog::Watchdog;
use super::runner::Job;
use crate::alerting::{self, watch};
use crate::beside::Beside;
use crate::config::Config;
use crate::delivery::receivers::{self, PreparedWorker};
use crate::http::context::App;
use crate::provider::api::UrApi;
use crate::provider::feeds::{self, Feeds, Known};
use crate::provider::hint::Hint;
use crate::provider::prefunding::credits::Credits;
use crate::provider::prefunding::{self, Prefunding};
use crate::provider::reconciliation::expiry;
use crate::receipts::daily::{Daily, Publish};
use crate::signature::Address;
use crate::treasury::follow::{Cache, Following};

/// Yields to decisions: about a tenth of a contended core.
const BEHIND_DECISIONS: Option<i32> = Some(10);
/// Takes long, so it must not run on a thread that decides.
pub(super) const BESIDE_DECISIONS: Option<i32> = Some(0);

/// Receives an error of the store after which the process stops.
pub(crate) type OnFailure = Arc<dyn Fn(StoreError) + Send + Sync>;

/// The parts that jobs need besides the handlers' shared ones.
pub(crate) struct Parts<A> {
    pub(crate) workers: Vec<PreparedWorker>,
    pub(crate) cache: Arc<dyn Cache>,
    pub(crate) free_bytes: Box<dyn Fn() -> Option<u64> + Send + Sync>,
    pub(crate) rest: Box<dyn Fn(Duration) + Send>,
    /// Folds the samples of histograms.
    pub(crate) fold_samples: Box<dyn Fn() + Send>,
    pub(crate) on_failure: OnFailure,
    /// Publishes signed heads.
    pub(crate) publish: Option<Publish>,
    /// `None` if UR is never called.
    pub(crate) provider: Option<Provider<A>>,
    pub(crate) known: Known,
    pub(crate) hinted: mpsc::Receiver<Hint>,
    pub(crate) beside: Beside,
}

/// UR's API, and the settings of the jobs that call it.
pub(crate) struct Provider<A> {
    pub(crate) api: Arc<A>,
    /// The address of the key that signs calls.
    pub(crate) partner: Address,
    pub(crate) feeds: feeds::Settings,
}

/// All jobs, in starting order; `doors` are those that let requests in.
pub(crate) fn list<A: UrApi>(app: &Arc<App>, config: &Config, parts: Parts<A>, doors: Vec<Job>) -> Vec<Job> {
    let Parts { workers, cache, free_bytes, rest, fold_samples, on_failure, publish, provider, known, hinted, beside } =
        parts;
    let (ledger, clock) = (|| Arc::clone(&app.ledger), || Arc::clone(&app.clock));
    let watchdog = Watchdog { ledger: ledger(), clock: clock(), health: Arc::clone(&app.health), free_bytes };
    let upkeep = Upkeep { clock: clock(), fold: fold_samples };
    let scrubbing = Scrubbing { ledger: ledger(), clock: clock(), health: Arc::clone(&app.health) };
    let durable_head = DurableHead { ledger: ledger(), clock: clock(), on_failure: Arc::clone(&on_failure) };
    let rows = Rows { ledger: ledger(), clock: clock(), rest, on_failure };
    let following = Following { follower: Arc::clone(&app.treasury), ledger: ledger(), clock: clock(), cache };
    let (watch, receivers) = (watch(app, config.watch.clone()), Arc::clone(&app.deliveries));
    let (of_receivers, time) = (ledger(), clock());
    let deliveries = Job::new("deliveries", BEHIND_DECISIONS, |stopping| async move {
        let handles = receivers.iter().map(|delivery| &delivery.handle).collect();
        tokio::join!(receivers::run(workers, stopping), alerting::deliveries::watch(of_receivers, time, handles));
    });
    let mut jobs = vec![
        Job::new("watchdog", None, |stopping| watchdog.run(stopping)),
        Job::new("head", BESIDE_DECISIONS, |stopping| durable_head.run(stopping)),
        Job::new("rows", BEHIND_DECISIONS, |stopping| rows.run(stopping)),
        Job::new("treasury", BEHIND_DECISIONS, |stopping| following.run(stopping)),
        deliveries,
        Job::new("watch", BESIDE_DECISIONS, |stopping| watch.run(stopping)),
        Job::new("scrub", BEHIND_DECISIONS, |stopping| scrubbing.run(stopping)),
        Job::new("upkeep", BEHIND_DECISIONS, |stopping| upkeep.run(stopping)),
    ];
    if let Some(signer) = config.admin.signer.clone() {
        let daily = Daily {
            signer,
            ledger: ledger(),
            clock: clock(),
            health: Arc::clone(&app.health),
            publish,
            beside: beside.clone(),
        };
        jobs.push(Job::new("receipts", BESIDE_DECISIONS, |stopping| daily.run(stopping)));
    } else {
        // No head can be late, or be contradicted.
        app.health.head_late().set(None);
        app.health.head_changed().set(None);
    }
    jobs.extend(doors);
    // Last, so that calls to UR end first at a stop: requests in progress may take their time.
    match provider {
        Some(provider) => jobs.extend(of_provider(app, config, provider, (&known, hinted), beside)),
        None => {
            let expiring = expiry::keep_expiring(ledger(), clock(), config.reconciliation);
            jobs.push(Job::cut_off("expiry", expiring));
        }
    }
    jobs
}

/// The jobs that call UR.
fn of_provider<A: UrApi>(
    app: &App,
    config: &Config,
    provider: Provider<A>,
    (known, hinted): (&Known, mpsc::Receiver<Hint>),
    beside: Beside,
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
        findings: Arc::clone(&app.findings),
        credits,
        settings,
    };
    let feeds = Feeds::new(feeds, Arc::clone(&api), known);
    tracing::info!(base_url = prefunds.base_url.as_str(), calls_per_minute, "feeds are read from UR");
    let mut jobs = vec![Job::cut_off("feeds", feeds.run(hinted))];
    // In every mode: a placed order is followed to its end.
    if let Some(account) = config.ops_account.clone() {
        tracing::info!(mode = prefunds.auto_prefund.mode.name(), "automatic prefunds");
        let given = prefunding::Given {
            ledger: Arc::clone(&app.ledger),
            clock: Arc::clone(&app.clock),
            health: Arc::clone(&app.health),
            treasury: Arc::clone(&app.treasury),
            board: Arc::clone(&app.prefunding),
            randomness: app.randomness.clone(),
            beside,
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
        findings: Arc::clone(&app.findings),
        settings,
    }
}

#[cfg(test)]
mod tests;
