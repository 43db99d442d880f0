//! Every job on one paused runtime: it starts, takes a turn, and stops on request.

use tokio::net::TcpListener;

use crate::program::descriptors::Shares;
use crate::program::doors::Doors;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use metrics_exporter_prometheus::PrometheusBuilder;
use tapgate_engine::ids::UrId;
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::store::Store;
use tapgate_engine::store::rocks::TablesOpen;
use tapgate_engine::testing::MemoryStore;
use tapgate_engine::time::UnixSeconds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::clock::Clock;
use crate::delivery::outbox::LedgerOutbox;
use crate::delivery::outbox::notices::Notices;
use crate::delivery::receivers::Delivery;
use crate::delivery::worker::{Setup, Worker, limits};
use crate::delivery::{Notice, Outcome, Receiver};
use crate::health::NotReady;
use crate::program::readers::Readers;
use crate::program::runner::{Jobs, Running, Spawn, Threads};
use crate::provider::api::{At, DepositOrder, Priority, QuoteAsked, TransactionFilter, UrError};
use crate::randomness::Randomness;
use crate::stopping::Stopping;
use crate::treasury::follow::tests::{Kept, MONDAY, World};
use crate::treasury::follow::{Cache, Follower};
use crate::wire::ur as wire;

const PARTNER_KEY: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
/// The ops account's euros at UR.
const BALANCE: Minor = Minor(54_321);
/// Virtual time that a job may take for a turn, and to stop.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs every job on the test's runtime.
struct Here;

impl Spawn for Here {
    fn spawn(&self, _: &'static str, _: Option<i32>, running: Running) -> std::io::Result<()> {
        tokio::spawn(running);
        Ok(())
    }
}

/// A UR that knows only the ops account's balance.
struct Ur;

impl UrApi for Ur {
    async fn balance(&self, _: &UrId, _: Priority) -> Result<wire::Balances, UrError> {
        Ok(wire::Balances {
            rows: vec![wire::Balance { currency: Currency::EUR, amount: BALANCE }],
            ..wire::Balances::default()
        })
    }

    async fn profile(&self, _: &UrId, _: Priority) -> Result<wire::Profile, UrError> {
        Err(UrError::Paused)
    }

    async fn transactions(
        &self,
        _: &UrId,
        _: &TransactionFilter,
        _: At,
        _: Priority,
    ) -> Result<wire::Page<wire::Transaction>, UrError> {
        Err(UrError::Paused)
    }

    async fn transactions_of(
        &self,
        _: &[(UrId, String)],
        _: Priority,
    ) -> Result<wire::Page<wire::Transaction>, UrError> {
        Err(UrError::Paused)
    }

    async fn tokens(&self, _: Priority) -> Result<Vec<wire::Token>, UrError> {
        Err(UrError::Paused)
    }

    async fn exchange_rate(&self, _: &str, _: &str, _: Priority) -> Result<wire::Rate, UrError> {
        Err(UrError::Paused)
    }

    async fn deposit_quote(&self, _: &QuoteAsked<'_>) -> Result<wire::DepositQuote, UrError> {
        Err(UrError::Paused)
    }

    async fn deposit(&self, _: &DepositOrder) -> Result<String, UrError> {
        Err(UrError::Paused)
    }
}

/// A receiver that accepts and counts messages.
struct Accepting(Arc<AtomicUsize>);

impl Receiver for Accepting {
    type Content = Notice;

    async fn send(&self, _: &Notice, _: UnixSeconds) -> Outcome {
        self.0.fetch_add(1, Ordering::Relaxed);
        Outcome::Accepted
    }
}

fn config() -> Config {
    let text = format!(
        "ur.signers = [\"0xee28dEaD5F114C8405BE3be1144D59A4110B7F79\"]\nur.partner_key = \"{PARTNER_KEY}\"\n\
         ur.ops_ur_id = \"9999\"\n"
    );
    let no_files = |_: &Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    Config::load(&text, "test.toml", [], no_files).unwrap()
}

/// A program with a pool below its floor, and the effects of its jobs.
struct Stage {
    world: World,
    app: Arc<App>,
    store: Arc<MemoryStore>,
    cache: Arc<Kept>,
    accepted: Arc<AtomicUsize>,
    folds: Arc<AtomicUsize>,
    admin: std::net::SocketAddr,
}

async fn stage() -> (Stage, Vec<Job>) {
    let store = MemoryStore::new();
    let world = World::over(Arc::clone(&store) as Arc<dyn Store>, 1, false);
    let clock = Arc::new(Clock::accelerated(1));
    let (accepted, cache) = (Arc::new(AtomicUsize::new(0)), Arc::new(Kept::default()));
    let setup = Setup {
        name: "chat".to_owned(),
        limits: limits(PATIENCE),
        clock: Arc::clone(&clock),
        randomness: Randomness::new(|| 0),
        beside: Beside::new(|work| work()),
    };
    let outbox = LedgerOutbox::new(Arc::clone(&world.ledger), Arc::clone(&clock), Notices);
    let (worker, handle) = Worker::new(setup, Arc::new(outbox), Accepting(Arc::clone(&accepted))).unwrap();
    let config = config();
    let partner = config.api.as_ref().unwrap().key.address();
    let (hints, hinted) = mpsc::channel(1);
    let deliveries = vec![Delivery { kind: "slack", url: "https://chat.example.org".to_owned(), handle }];
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let ledger = Arc::clone(&world.ledger);
    let treasury = Arc::new(Follower::new(config.treasury.clone()));
    let app =
        Arc::new(App::new(ledger, treasury, Arc::clone(&clock), metrics, hints, deliveries, Randomness::new(|| 0)));
    world.report(MONDAY, 10, 100);
    world.drained();
    let listener = || TcpListener::bind("127.0.0.1:0");
    let (public, admin) = (listener().await.unwrap(), listener().await.unwrap());
    let folds = Arc::new(AtomicUsize::new(0));
    let folded = Arc::clone(&folds);
    let stage = Stage { world, app, store, cache, accepted, folds, admin: admin.local_addr().unwrap() };
    let parts = Parts {
        workers: vec![Box::new(|stopping| Box::pin(async move { worker.run(stopping.set()).await }))],
        cache: Arc::clone(&stage.cache) as Arc<dyn Cache>,
        free_bytes: Box::new(|| Some(0)),
        rest: Box::new(|_| {}),
        fold_samples: Box::new(move || {
            folded.fetch_add(1, Ordering::Relaxed);
        }),
        publish: None,
        beside: Beside::new(|work| work()),
        on_failure: Arc::new(|error| panic!("{error}")),
        provider: Some(Provider { api: Arc::new(Ur), partner, feeds: config.feeds.clone().unwrap() }),
        known: Known::default(),
        hinted,
    };
    let shares = Shares { tables: TablesOpen::LEAST, public: 16, admin: 16 };
    let doors = Doors { public, admin, readers: Readers::start().unwrap(), shares };
    let jobs = list(&stage.app, &config, parts, doors.jobs(&stage.app, &config));
    (stage, jobs)
}

/// Lets virtual time pass until the condition holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what} has done nothing"));
}

impl Stage {
    /// Whether the job of this name has taken its turn.
    fn has_turned(&self, job: &str) -> bool {
        let ledger = &self.app.ledger;
        match job {
            "watchdog" => self.app.health.ready() == Err(NotReady::DiskFull),
            "head" => self.store.head_syncs() > 1,
            "scrub" => self.app.health.damage().get() == Some(None),
            "rows" => self.store.watermark().unwrap().0 > 0,
            "treasury" => self.app.treasury.ready(ledger).is_ok(),
            "deliveries" => self.accepted.load(Ordering::Relaxed) > 0,
            "watch" => !ledger.open_alerts().is_empty(),
            "feeds" => ledger.pool(Currency::EUR).unwrap().reported == BALANCE,
            "upkeep" => self.folds.load(Ordering::Relaxed) > 1,
            "prefunding" => self.app.prefunding.looked().is_some(),
            _ => panic!("no such job: {job}"),
        }
    }

    async fn answers(&self) -> String {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: tapgate\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test(start_paused = true)]
async fn every_job_starts_does_a_turn_and_stops() {
    let (stage, jobs) = stage().await;
    let mut names = BTreeSet::new();
    let mut running = Jobs::default();
    // The watch raises the alert that the deliveries send.
    let (deliveries, others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.name == "deliveries");
    for job in others.into_iter().chain(deliveries) {
        let name = job.name;
        names.insert(name);
        stage.world.drained();
        running.start(job, &Here).unwrap();
        if name == "admin" {
            assert!(stage.answers().await.starts_with("HTTP/1.1 200"));
        } else if name != "public" {
            until(name, || stage.has_turned(name)).await;
        }
        tokio::time::timeout(PATIENCE, running.stop(name)).await.unwrap_or_else(|_| panic!("{name} does not stop"));
    }
    let all = [
        "admin",
        "deliveries",
        "feeds",
        "head",
        "prefunding",
        "public",
        "rows",
        "scrub",
        "treasury",
        "upkeep",
        "watch",
        "watchdog",
    ];
    assert_eq!(names, all.into());
    assert!(stage.cache.0.lock().unwrap().is_some(), "what is known is kept at the end");
    assert!(TcpStream::connect(stage.admin).await.is_err(), "a listener that has stopped listens no more");
    stage.app.ledger.journal().close();
}

#[tokio::test(start_paused = true)]
async fn jobs_stop_in_reverse_each_after_the_end_of_those_that_came_later() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let job = |name: &'static str| {
        let told = Arc::clone(&told);
        Job::new(name, None, move |stopping: Stopping| async move {
            told.lock().unwrap().push(format!("{name} starts"));
            stopping.set().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            told.lock().unwrap().push(format!("{name} ends"));
        })
    };
    let mut jobs = Jobs::default();
    for name in ["first", "second", "third"] {
        jobs.start(job(name), &Here).unwrap();
        tokio::task::yield_now().await;
    }
    jobs.start(Job::new("brief", None, |_| async {}), &Here).unwrap();
    jobs.stop("second").await;
    jobs.stop("nobody").await;
    jobs.start(job("second"), &Here).unwrap();
    tokio::task::yield_now().await;
    jobs.stop_all().await;
    let expected = [
        "first starts",
        "second starts",
        "third starts",
        "second ends",
        "second starts",
        "second ends",
        "third ends",
        "first ends",
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_may_be_cut_off_is() {
    let mut jobs = Jobs::default();
    jobs.start(Job::cut_off("endless", std::future::pending()), &Here).unwrap();
    tokio::time::timeout(PATIENCE, jobs.stop_all()).await.unwrap();
}

#[tokio::test]
async fn a_job_with_a_niceness_has_a_thread_of_its_name() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let name = || std::thread::current().name().map(str::to_owned);
    let job = Job::new("apart", Some(0), move |_| async move { tell.send(name()).unwrap() });
    let mut jobs = Jobs::default();
    jobs.start(job, &Threads).unwrap();
    jobs.stop_all().await;
    assert_eq!(told.await.unwrap().as_deref(), Some("apart"));
}
