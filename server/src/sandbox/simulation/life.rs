//! One life of the server: the parts and the jobs that `serve` starts, over the simulated ground, until they are stopped or
//! end in the middle of something.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use metrics_exporter_prometheus::PrometheusBuilder;
use tapgate_engine::ledger::Ledger;
use tapgate_engine::store::{Store, StoreError};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::chance::Chance;
use super::disk::{CacheOn, Mounted, publish};
use super::network::Line;
use super::wall::Wall;
use crate::beside::Beside;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::channel::post::Post;
use crate::http::context::App;
use crate::http::exchange::ask;
use crate::http::places::{Connections, Places};
use crate::http::public::{Answering, Public};
use crate::program::jobs::{Parts, Provider, list};
use crate::program::runner::{Jobs, Running, Spawn};
use crate::program::{Ground, assemble};
use crate::provider::api::Client;
use crate::provider::feeds;
use crate::randomness::Randomness;

/// Connections of a life.
const PLACES: usize = 64;

/// How long UR waits for an answer.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// Free bytes of a disk with plenty.
const PLENTY: u64 = 1 << 40;

/// The tasks of a life, which end with it.
#[derive(Default)]
struct Tasks(Mutex<JoinSet<()>>);

impl Tasks {
    fn add(&self, running: Running) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).spawn(running);
    }

    fn take(&self) -> JoinSet<()> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Spawn for Tasks {
    fn spawn(&self, _: &'static str, _: Option<i32>, running: Running) -> std::io::Result<()> {
        self.add(running);
        Ok(())
    }
}

/// Wakes the task that turns the journal's writer.
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// What a life stands on.
pub(super) struct Under {
    pub(super) process: Arc<Mounted>,
    pub(super) disk: Arc<super::disk::Disk>,
    pub(super) line: Line,
    pub(super) wall: Arc<Wall>,
    pub(super) speed: u32,
    /// What is left to chance on the disk, and what the server draws.
    pub(super) chances: [Chance; 2],
    pub(super) hash_seed: u64,
}

/// A running server.
pub(super) struct Life {
    pub(super) app: Arc<App>,
    pub(super) process: Arc<Mounted>,
    jobs: Jobs,
    tasks: Arc<Tasks>,
    places: Arc<Places>,
    services: Box<dyn Fn(crate::http::listener::Connection) -> Answering>,
    failed: mpsc::UnboundedReceiver<StoreError>,
}

/// An answer as UR has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Life {
    /// Recovers what is on the disk and starts all jobs.
    pub(super) fn begin(config: &Config, under: Under) -> Result<Life, String> {
        let Under { process, disk, line, wall, speed, chances: [of_disk, of_server], hash_seed } = under;
        let clock = Arc::new(Clock::simulated(speed, move || wall.on_the_machine()));
        let randomness = of_server.randomness();
        let beside = Beside::new(|work| work());
        let woken = Arc::new(Woken(Notify::new()));
        let (fail, failed) = mpsc::unbounded_channel();
        let (waker, on_failure) = (Waker::from(Arc::clone(&woken)), fail.clone());
        let ground = Ground {
            clock: Arc::clone(&clock),
            randomness: randomness.clone(),
            beside: beside.clone(),
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            store: Arc::clone(&process) as Arc<dyn Store>,
            ledger: Box::new(move |store, state, policy| {
                let told = Box::new(move |error| drop(on_failure.send(error)));
                Ledger::by_hand(store, state, policy, hash_seed, (told, waker))
            }),
        };
        let line = Arc::new(line);
        let post = || Ok(Post::over(Arc::clone(&line) as Arc<dyn crate::outgoing::Carrier>, config.delivery.guard));
        let (hints, hinted) = mpsc::channel(feeds::HINTS_MAX);
        let (app, known, workers) = assemble(config, ground, &post, hints).map_err(|error| error.to_string())?;
        let app = Arc::new(app);
        let tasks = Arc::<Tasks>::default();
        tasks.add(writing(Arc::clone(&app.ledger), woken, (Arc::clone(&disk), of_disk)));
        let heads = Arc::clone(&process);
        let parts = Parts {
            workers,
            cache: Arc::new(CacheOn(Arc::clone(&process))),
            free_bytes: Box::new(move || Some(disk.faults().left.unwrap_or(PLENTY))),
            rest: Box::new(|_| {}),
            fold_samples: Box::new(|| {}),
            on_failure: Arc::new(move |error| drop(fail.send(error))),
            publish: Some(Arc::new(move |name, bytes| publish(&heads, name, bytes))),
            provider: Some(provider(config, &app, &line, randomness)?),
            known,
            hinted,
            beside,
        };
        let answers = Public::new(Arc::clone(&app), config.public.clone());
        let mut jobs = Jobs::default();
        for job in list(&app, config, parts, Vec::new()) {
            jobs.start(job, &*tasks).map_err(|error| error.to_string())?;
        }
        Ok(Life {
            app,
            process,
            jobs,
            tasks,
            places: Places::new(Connections::default().public(PLACES)),
            services: Box::new(answers.services()),
            failed,
        })
    }

    /// UR asks; `None` where it has no answer in time.
    pub(super) async fn ask(&self, body: Vec<u8>, proof: Vec<(&'static str, String)>) -> Option<Answered> {
        let mut request =
            Request::builder().method("POST").uri("/webhooks/ur").header("Content-Type", "application/json");
        for (name, value) in proof {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body))).ok()?;
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let answering = ask(&self.places, &self.services, peer, request)?;
        let answer = tokio::time::timeout(PATIENCE, answering).await.ok()?;
        let (head, body) = answer.into_parts();
        let Ok(body) = body.collect().await;
        // What a process that has ended wrote reaches nobody.
        (!self.process.is_dead()).then(|| Answered { status: head.status.as_u16(), body: body.to_bytes() })
    }

    /// Whether the process has to end because its journal failed.
    pub(super) fn has_failed(&mut self) -> bool {
        self.failed.try_recv().is_ok()
    }

    /// The process ends here and now. Returns what panicked.
    pub(super) async fn end(self) -> Vec<String> {
        self.process.end();
        let mut tasks = self.tasks.take();
        tasks.abort_all();
        panics(&mut tasks).await
    }

    /// The process is asked to stop, and does.
    pub(super) async fn stop(mut self) -> Result<Vec<String>, String> {
        self.app.health.set_stopping();
        self.jobs.stop_all().await;
        let closed = self.app.ledger.close();
        let mut tasks = self.tasks.take();
        tasks.abort_all();
        let panics = panics(&mut tasks).await;
        let has_ended = self.process.is_dead() || self.failed.try_recv().is_ok();
        self.process.end();
        match closed {
            Err(error) if !has_ended => Err(format!("the ledger did not close: {error}")),
            _ => Ok(panics),
        }
    }
}

async fn panics(tasks: &mut JoinSet<()>) -> Vec<String> {
    let mut panics = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let panic = ended.err().and_then(|error| error.try_into_panic().ok());
        panics.extend(panic.map(|panic| super::said(&*panic)));
    }
    panics
}

/// The journal's writer: a sync takes as long as chance and the disk's faults have it.
fn writing(ledger: Arc<Ledger>, woken: Arc<Woken>, (disk, chance): (Arc<super::disk::Disk>, Chance)) -> Running {
    Box::pin(async move {
        loop {
            woken.0.notified().await;
            loop {
                tokio::time::sleep(chance.millis(3) + disk.faults().slow).await;
                if !ledger.journal().turn() {
                    break;
                }
            }
        }
    })
}

fn provider(config: &Config, app: &App, line: &Arc<Line>, randomness: Randomness) -> Result<Provider<Client>, String> {
    let settings = config.api.clone().ok_or("no settings of UR's API")?;
    let partner = settings.key.address();
    let carrier = Box::new(Shared(Arc::clone(line)));
    let client = Client::over(carrier, settings, Arc::clone(&app.clock), randomness, Arc::clone(&app.findings));
    let api = Arc::new(client.map_err(|error| error.to_string())?);
    Ok(Provider { api, partner, feeds: config.feeds.clone().ok_or("no feeds")? })
}

struct Shared(Arc<Line>);

impl crate::outgoing::Carrier for Shared {
    fn carry(&self, request: Request<Bytes>, most: usize) -> crate::outgoing::Carrying<'_> {
        self.0.carry(request, most)
    }
}

/// The configuration of a life on a clock of this speed.
pub(super) fn config(keys: &crate::sandbox::Keys, speed: u32) -> Result<Config, String> {
    let address =
        |key| crate::signature::SigningKey::from_bytes(key).map(|key| key.address()).map_err(|error| error.to_string());
    let text = format!(
        "data_dir = \"data\"\n[ur]\nsigners = [\"{}\"]\ntimestamp_window_seconds = 3600\nops_ur_id = \"{}\"\n\
         base_url = \"https://{}\"\nbalance_amounts = \"smallest_unit\"\npartner_key = \"0x{}\"\n{}\
         step = 1000\nminimum = 3000\n[treasury.auto_prefund]\nmode = \"automatic\"\ndaily_max_usdc = 5000\n\
         [receipts]\nkey_file = \"head.key\"\nheads_dir = \"heads\"\n\
         [[deliver.webhook]]\nurl = \"https://{}/hooks\"\nsecret = \"whsec_c2ltdWxhdGVkIHNlY3JldCBvZiBhIHdlYmhvb2s=\"\n\
         [[deliver.slack]]\nurl = \"https://{}/chat\"\n\
         [[deliver.pagerduty]]\nurl = \"https://{}\"\nrouting_key = \"0123456789abcdef0123456789abcdef\"\n",
        address(keys.ur)?,
        crate::sandbox::ur::OPS_UR_ID,
        super::network::UR_HOST,
        hex::encode(keys.partner),
        cadence(speed),
        RECEIVERS[0],
        RECEIVERS[1],
        RECEIVERS[2],
    );
    let key = format!("0x{}\n", hex::encode(keys.stranger));
    let read = move |path: &Path| match path.to_str() {
        Some("head.key") => Ok(key.clone()),
        _ => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
    };
    let none = std::iter::empty::<(String, String)>();
    Config::load(&text, "the simulation's configuration", none, read).map_err(|error| error.to_string())
}

/// Where days pass fastest, fewer questions are enough: each is signed, and its signature checked.
fn cadence(speed: u32) -> String {
    let usual = crate::sandbox::cadence(speed);
    if speed < super::world::SPEED_AT_THE_END {
        return usual;
    }
    usual
        .replace("pools_interval_seconds = 3600", "pools_interval_seconds = 14400")
        .replace("users_interval_seconds = 86400", "users_interval_seconds = 43200")
}

/// The hosts of receivers.
pub(super) const RECEIVERS: [&str; 3] = ["hooks.example.com", "chat.example.com", "pager.example.com"];
