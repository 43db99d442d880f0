//! `tapgate sandbox`: the engine, a simulated UR, a partner and card traffic in one process, connected by real HTTP.
//!
//! The simulated UR and the partner keep books of their own (`ur/books`, `ur/contract`), which share no arithmetic with
//! the engine. They judge every answer at once, and at the end journal, users and pools are compared with them: a
//! single disagreement fails the run. The seed determines users, cards and taps.

mod audit;
mod figures;
mod partner;
mod partner_api;
mod people;
mod play;
mod profile;
mod sender;
mod settle;
#[cfg(test)]
mod simulation;
mod statuses;
mod tap;
mod traffic;
mod treasurer;
mod ur;
mod world;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use indicatif::{ProgressBar, ProgressStyle};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use sha2::{Digest, Sha256};
use tapgate_engine::store::Store;
use tapgate_engine::store::rocks::Rocks;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use self::figures::Figures;
use self::partner::Partner;
use self::partner_api::PartnerApi;
use self::play::{IN_FLIGHT_MAX, Stage};
pub use self::profile::FaultProfile;
use self::sender::Sender;
use self::settle::Settled;
use self::tap::{Kind, Tap};
use self::traffic::Traffic;
use self::treasurer::Treasurer;
use self::ur::books::Books;
use self::ur::tips::HOLD_UPCHARGE;
use self::ur::{Api, Courier, stress};
pub use self::ur::{Provocation, ProvocationError};
use self::world::{SAMPLE_CARD, SAMPLE_USER};
use crate::clock::Clock;
use crate::config::Config;
use crate::http::listener::{self, Terms};
use crate::http::places::{Connections, Places};
use crate::program::{ServeError, Server};
use crate::provider::api::AccountMode;
use crate::signature::{SharedSecret, SigningKey, SigningKeyError};
use crate::stopping::stopping;

/// Whom the sandbox plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Provider {
    Ur,
    /// The second provider: its events, its API, and no API of UR's that tapgate would ask.
    PartnerApi,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub provider: Provider,
    /// Users with cards, besides the sample user; 1 to 1,000,000.
    pub users: usize,
    /// Taps per second of real time; above 0.
    pub rate: f64,
    /// What goes wrong.
    pub faults: FaultProfile,
    /// How often UR counts a spend against the limit: 0 to 2.
    pub limit_weight: u8,
    /// The paths of UR's API that tapgate asks about accounts; UR serves both.
    pub account_mode: AccountMode,
    /// Errors that UR's API answers while the traffic runs.
    pub errors: Vec<Provocation>,
    /// The speed of UR's and the engine's clock, as a multiple of real time; 1 is wall time.
    pub speed: u32,
    /// The engine's data directory; `None`: a temporary directory, removed at the end.
    pub data: Option<PathBuf>,
    /// Determines users, keys and taps.
    pub seed: u64,
    /// Seconds of real time to run; `None`: until Ctrl-C.
    pub seconds: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The data directory is not empty.
    #[error("{0} is not empty: the simulated UR's books begin empty, so the engine's must too; give another directory")]
    NotEmpty(PathBuf),
    /// A fault that only UR's API can have.
    #[error(
        "--provider partner-api has no --faults {0}: it concerns what tapgate reads from UR; give none, duplicate, late or reorder"
    )]
    Faults(String),
    /// A wrong setting in the environment.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigErrors),
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The seed produced an invalid key: once in 2^128 seeds.
    #[error("another --seed is needed: {0}")]
    Key(#[from] SigningKeyError),
    /// A directory, a socket, or stdout.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A step that must succeed failed.
    #[error("{0}")]
    Failed(String),
    /// The run completed, but the books differ.
    #[error("{0} disagreements between the sandbox's books and tapgate's; the summary names the first of them")]
    Disagreements(u64),
}

impl From<String> for SandboxError {
    fn from(what: String) -> Self {
        SandboxError::Failed(what)
    }
}

/// The pause between two updates of treasury and the live line.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// The partner's own actions, in thousandths of the taps.
const DEBITS: u32 = 20;
const FREEZES: u32 = 2;
/// The second provider's own acts.
const ACTS: u32 = 10;

/// The call budget of UR's simulated API: as much as two cores can serve besides everything else.
const CALLS_PER_REAL_MINUTE: u32 = 30_000;

/// Connections to the simulated UR; tapgate keeps a few.
const UR_PLACES: usize = 64;

/// Runs the sandbox, and prints on `out` everything that people and programs need to use it.
///
/// # Errors
/// It could not start, or the engine failed.
pub async fn run(options: Options, out: &mut (dyn Write + Send)) -> Result<Ran, SandboxError> {
    let keys = Keys::of(options.seed)?;
    if options.provider == Provider::PartnerApi && !options.faults.is_of_events() {
        return Err(SandboxError::Faults(format!("{:?}", options.faults).to_lowercase()));
    }
    let temporary = tempfile::Builder::new().prefix("tapgate-sandbox-").tempdir()?;
    let data = options.data.clone().unwrap_or_else(|| temporary.path().join("data"));
    if std::fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(SandboxError::NotEmpty(data));
    }
    let socket = TcpListener::bind(free_or_any(8482)).await?;
    let ur = socket.local_addr()?;
    let config = config(&keys, &data, &options, ur)?;
    let clock = Arc::new(if options.speed == 1 { Clock::start() } else { Clock::accelerated(options.speed) });
    let world = || {
        let books = world::books(options.users, options.seed, clock.started_at().0 / 1_000);
        match options.provider {
            Provider::Ur => books,
            Provider::PartnerApi => books.stressed(stress::TIER),
        }
    };
    let window_seconds = config.public.signatures.timestamp_window_seconds;
    let (is_fed, speed) = (config.feeds.is_some(), options.speed.into());
    let books = Arc::new(Mutex::new(Books {
        is_fed,
        speed,
        limit_weight: options.limit_weight.into(),
        has_tips: options.faults == FaultProfile::Tips,
        provoked: options.errors.clone(),
        ..world()
    }));
    let api = Api {
        books: Arc::clone(&books),
        clock: Arc::clone(&clock),
        on_the_way_seconds: if options.speed == 1 { 0 } else { speed },
        partner: Some(SigningKey::from_bytes(keys.partner)?.address()),
        catch_up: Arc::default(),
    };
    let catch_up = Arc::clone(&api.catch_up);
    let (stop, stopping) = stopping();
    let provider = (options.provider == Provider::PartnerApi).then(|| PartnerApi::new(&keys.token));
    let router = provider.clone().into_iter().fold(api.router(), |router, api| router.merge(api.router()));
    let router = TowerToHyperService::new(router);
    let (terms, places) =
        (Terms { name: "sandbox", ..Terms::PEOPLE }, Places::new(Connections::default().admin(UR_PLACES)));
    tokio::spawn(listener::serve(socket, terms, places, move |_| router.clone(), |_| {}, stopping));
    let mut server = Server::start(config, Arc::clone(&clock)).await?;
    let stage = set_up(&options, &keys, &server, (books, world()), (window_seconds, provider)).await?;
    let learning = Arc::clone(&stage);
    let _ = catch_up.set(Box::new(move || Box::pin(Arc::clone(&learning).catch_up())));
    // Heard from the first line on: whoever reads that it runs may end it.
    let signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    announce(out, &keys, &server, &stage, ur)?;

    let began = stage.now();
    let (mut settled, faults) = (Settled::default(), options.faults.of_settlement());
    let mut random = world::random(options.seed, 4);
    let (end, over) = watch::channel(false);
    let traffic = async {
        let ended = tokio::select! {
            ended = traffic(&options, &stage) => ended,
            ended = interrupted(&stage, signals) => ended,
        };
        let _ = end.send(true);
        ended
    };
    let ended = tokio::select! {
        error = server.failure() => return Err(server.fail(error).await.into()),
        (ended, told) = async { tokio::join!(traffic, stage.keep_settling(&mut settled, faults, &mut random, over)) } =>
            ended.and(told.map_err(SandboxError::from)),
    };
    ended?;
    // The comparison reads UR's figures itself.
    stage.books().provoked.clear();
    let compared = stage.audit().await?;
    let line = progress(Some(0), "UR settles, tapgate sweeps {bar:32} {pos}/{len}");
    let partner = SigningKey::from_bytes(keys.partner)?;
    stage.settle(&mut settled, (ur, partner), faults, &mut random, &line).await?;
    line.finish_and_clear();
    stage.compare_provider().await?;
    let summary = summary(&stage, stage.now() - began, compared, &settled);
    stop.stop();
    server.stop().await?;
    let disagreements = stage.figures.counts().disagreements;
    Ok(Ran { data, _temporary: temporary, summary, disagreements })
}

/// A finished run whose engine may still hold the store open.
pub struct Ran {
    data: PathBuf,
    /// Removes the directory when dropped, after the summary.
    _temporary: tempfile::TempDir,
    summary: String,
    disagreements: u64,
}

impl Ran {
    /// Verifies the journal and prints the summary. Call it only after the runtime has ended: until then the engine
    /// holds the store open.
    ///
    /// # Errors
    /// The books disagree, or the journal does not verify.
    pub fn conclude(self, out: &mut dyn Write) -> Result<(), SandboxError> {
        let store: Arc<dyn Store> = Arc::new(Rocks::open_read_only(&self.data).map_err(|error| error.to_string())?);
        let found = tapgate_engine::recovery::verify(&store).map_err(|error| error.to_string())?;
        let word = |equal: bool| if equal { "equal" } else { "different" };
        let disagreements = self.disagreements + u64::from(!found.is_equal());
        writeln!(out, "{}journal: {}\nbooks: {}", self.summary, word(found.is_equal()), word(disagreements == 0))?;
        out.flush()?;
        if disagreements == 0 { Ok(()) } else { Err(SandboxError::Disagreements(disagreements)) }
    }
}

fn summary(stage: &Stage, seconds: u64, compared: audit::Compared, settled: &Settled) -> String {
    let mut lines = vec![String::new(), format!("clock_seconds: {seconds}")];
    lines.push(stage.figures.summary().trim_end().to_owned());
    let books = stage.books();
    lines.extend(books.pools.iter().map(|(code, pool)| format!("pool_{code}: {}", pool.available())));
    lines.extend(books.drift.iter().map(|(code, drift)| format!("fx_drift_{code}: {drift}")));
    lines.push(format!("records_compared: {}", compared.records));
    lines.push(format!("users_compared: {}", compared.users));
    lines.push(format!("users_left_out: {}", books.people.left()));
    lines.push(format!("pools_compared: {}", compared.pools));
    lines.push(format!("settled: {}", settled.transactions));
    lines.push(format!("settled_told: {}", settled.told));
    lines.extend(books.has_tips.then(|| format!("tips: {}", settled.tips)));
    lines.push(format!("users_swept: {}", settled.swept));
    lines.extend(stage.provider.iter().flat_map(PartnerApi::summary));
    lines.push(format!("breaks_open: {}\n", settled.breaks));
    lines.join("\n")
}

/// Waits for Ctrl-C or SIGTERM, and then for the taps in flight.
async fn interrupted(stage: &Stage, (mut interrupt, mut terminate): (Signal, Signal)) -> Result<(), SandboxError> {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    stage.close().await
}

/// Throw-away secrets, derived from the seed.
struct Keys {
    ur: [u8; 32],
    partner: [u8; 32],
    stranger: [u8; 32],
    token: String,
}

impl Keys {
    fn of(seed: u64) -> Result<Keys, SigningKeyError> {
        let secret = |name: &str| -> [u8; 32] { Sha256::digest(format!("tapgate sandbox {seed} {name}")).into() };
        let token = hex::encode(secret("admin token").get(..16).unwrap_or_default());
        let keys = Keys { ur: secret("ur"), partner: secret("partner"), stranger: secret("stranger"), token };
        for key in [keys.ur, keys.partner, keys.stranger] {
            SigningKey::from_bytes(key)?;
        }
        Ok(keys)
    }

    /// The provider with one of the keys.
    fn sender(&self, provider: Provider, key: [u8; 32]) -> Result<Sender, SandboxError> {
        Ok(match provider {
            Provider::Ur => Sender::Ur(SigningKey::from_bytes(key)?),
            Provider::PartnerApi => Sender::PartnerApi(SharedSecret::new(&hex::encode(key))?),
        })
    }
}

/// The configuration of `serve`, so that the environment can override its settings here, too.
fn config(keys: &Keys, data: &Path, options: &Options, base_url: SocketAddr) -> Result<Config, SandboxError> {
    let speed = options.speed;
    let signer = SigningKey::from_bytes(keys.ur)?.address();
    let token = hex::encode(Sha256::digest(&keys.token));
    let [public, admin] = [8480, 8481].map(|port| free_or_any(port).to_string());
    // On a fast clock, a callback's milliseconds in transit become seconds.
    let window = (300 + speed / 4).min(3_600);
    let mode = options.account_mode.name();
    let amounts = match options.account_mode {
        AccountMode::ExternalWallet => "smallest_unit",
        AccountMode::ManagedCustody => "decimal",
    };
    let text = format!(
        "data_dir = {data:?}\n[listen]\npublic = \"{public}\"\nadmin = \"{admin}\"\n[ur]\nsigners = [\"{signer}\"]\n\
         timestamp_window_seconds = {window}\nops_ur_id = \"{}\"\nbase_url = \"{}\"\naccount_mode = \"{mode}\"\nbalance_amounts = \"{amounts}\"\npartner_key = \"0x{}\"\n{}[admin]\n\
         tokens = [{{ name = \"sandbox\", role = \"operator\", sha256 = \"{token}\" }}]\n",
        ur::OPS_UR_ID,
        base(base_url),
        hex::encode(keys.partner),
        cadence(speed),
    );
    let text = match options.provider {
        Provider::Ur if options.faults == FaultProfile::Tips => {
            text.replace("[decision]\n", &format!("[decision]\n{HOLD_UPCHARGE}"))
        }
        Provider::Ur => text,
        // Nothing is asked of UR, so holds end by time; the clock's days pass while the disk writes, so after as many as it can.
        Provider::PartnerApi => format!(
            "{}[partner_api]\nenabled = true\nsecret = \"{}\"\ntimestamp_window_seconds = {window}\nbase_url = \"{}{}\"\n\
             api_key = \"{}\"\n[deliver]\nallow_private = true\n",
            text.replace("[ur]\n", "[ur]\nfeeds = false\n")
                .replace("[reconcile]\n", LONG_EXPIRY)
                .replace("[decision]\n", &format!("[decision]\n{}", stress::TIER.setting())),
            hex::encode(keys.ur),
            base(base_url),
            partner_api::API,
            keys.token,
        ),
    };
    let read = |path: &Path| std::fs::read_to_string(path);
    Ok(Config::load(&text, "the sandbox's configuration", std::env::vars(), read)?)
}

/// Lives of holds that nobody asks UR about.
const LONG_EXPIRY: &str =
    "[reconcile]\nexpiry_seconds = 7776000\nlong_expiry_seconds = 7776000\nreturn_after_seconds = 7776000\n";

/// The intervals of calls to UR and the permitted age of its figures, in the clock's seconds. Calls take real time, so
/// both grow with the speed.
fn cadence(speed: u32) -> String {
    let seconds = |usual: u32, real_tenths: u32, most: u32| usual.max(speed / 10 * real_tenths).min(most);
    let (hour, day) = (3_600, 86_400);
    format!(
        "calls_per_minute = {}\npools_interval_seconds = {}\nrates_interval_seconds = {}\nusers_interval_seconds = {}\n\
         [reconcile]\nfirst_look_seconds = {}\n[decision]\nrates_max_age_seconds = {}\nstate_max_age_seconds = {}\n\
         [treasury]\nreport_stale_seconds = {}\n",
        (CALLS_PER_REAL_MINUTE / speed).max(1),
        seconds(15, 5, hour),
        seconds(300, 30, day),
        seconds(300, 20, day),
        seconds(300, 10, day),
        seconds(hour, 200, 30 * day),
        seconds(day, 200, 30 * day),
        seconds(900, 200, 30 * day),
    )
}

/// The usual port if it is free, otherwise any port: a second sandbox, or a running server, is no obstacle.
fn free_or_any(port: u16) -> SocketAddr {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if StdListener::bind(usual).is_ok() { usual } else { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
}

async fn set_up(
    options: &Options,
    keys: &Keys,
    server: &Server,
    (books, world): (Arc<Mutex<Books>>, Books),
    (timestamp_window_seconds, provider): (u64, Option<PartnerApi>),
) -> Result<Arc<Stage>, SandboxError> {
    let app = Arc::clone(server.app());
    let (public, admin) = (base(server.addresses().public), base(server.addresses().admin));
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build();
    let client = client.map_err(|error| error.to_string())?;
    let partner = Partner::new(client.clone(), &admin, keys.token.clone(), options.provider);
    let progress = progress(Some(world.accounts.len() as u64), "importing users {bar:32} {pos}/{len}");
    partner.set_up(&world, |imported| progress.inc(imported as u64)).await?;
    progress.finish_and_clear();
    let courier = Courier::new(
        client,
        &public,
        keys.sender(options.provider, keys.ur)?,
        keys.sender(options.provider, keys.stranger)?,
    );
    let is_fed = books.lock().unwrap_or_else(PoisonError::into_inner).is_fed;
    let stage = Stage {
        app,
        is_fed,
        timestamp_window_seconds,
        courier,
        partner,
        provider,
        books,
        followed: Mutex::default(),
        traffic: Mutex::new(Traffic::new(options.users, options.seed, options.faults.of_traffic())),
        figures: Figures::new()?,
        turns: (0..options.users).map(|_| tokio::sync::Mutex::default()).collect(),
        edge: tokio::sync::RwLock::default(),
        places: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
    };
    stage.pass_set_up()?;
    Ok(Arc::new(stage))
}

fn base(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn progress(length: Option<u64>, template: &str) -> ProgressBar {
    // Draws on stderr, and only on a terminal.
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

fn announce(
    out: &mut (dyn Write + Send),
    keys: &Keys,
    server: &Server,
    stage: &Stage,
    ur: SocketAddr,
) -> Result<(), SandboxError> {
    let address = SigningKey::from_bytes(keys.ur)?.address();
    writeln!(out, "public: {}", base(server.addresses().public))?;
    writeln!(out, "admin: {}", base(server.addresses().admin))?;
    writeln!(out, "ur: {}", base(ur))?;
    writeln!(out, "ur_signer: {address}")?;
    writeln!(out, "ur_signer_key: 0x{}", hex::encode(keys.ur))?;
    writeln!(out, "partner_key: 0x{}", hex::encode(keys.partner))?;
    if stage.provider.is_some() {
        writeln!(out, "partner_api_secret: {}", hex::encode(keys.ur))?;
    }
    writeln!(out, "admin_token: {}", keys.token)?;
    writeln!(out, "sample_user: {SAMPLE_USER}")?;
    writeln!(out, "sample_card: {SAMPLE_CARD}")?;
    let tap = Tap {
        id: "auth_by_hand_1".to_owned(),
        kind: Kind::Authorization,
        original: None,
        user: usize::MAX,
        ur_id: SAMPLE_USER.to_owned(),
        card: SAMPLE_CARD.to_owned(),
        amount: 1_250,
        settlement: None,
        merchant: &world::PLACES[3].merchant,
    };
    writeln!(out, "try: {}", stage.courier.curl(&tap, stage.now()))?;
    Ok(out.flush()?)
}

/// Taps until the time is over; returns once the last tap has its answer.
async fn traffic(options: &Options, stage: &Arc<Stage>) -> Result<(), SandboxError> {
    let mut random = world::random(options.seed, 3);
    let line = progress(None, "{spinner} {msg}");
    let began = Instant::now();
    let ends = options.seconds.map(|seconds| began + Duration::from_secs(seconds));
    let (mut next, mut looked) = (began, began);
    let mut treasurer = Treasurer::new(stage.now());
    while ends.is_none_or(|ends| next < ends) {
        tokio::time::sleep_until(next.min(looked + LOOK_INTERVAL)).await;
        let now = Instant::now();
        if now >= looked + LOOK_INTERVAL {
            looked = now;
            treasurer.look(stage, now).await;
            line.set_message(live_line(stage, began));
            line.tick();
        }
        if now < next {
            continue;
        }
        let gap = stage.traffic().gap(options.rate);
        next += gap;
        let place = Arc::clone(&stage.places).acquire_owned().await.map_err(|error| error.to_string())?;
        let (tap, manner) = stage.traffic().next(stage.now_millis(), &stage.books());
        let errand = errand(&mut random, options.users);
        let stage = Arc::clone(stage);
        tokio::spawn(async move {
            match errand {
                Some(Errand::Debit(user)) => stage.debit(user).await,
                Some(Errand::Freeze(user)) => stage.freeze_or_not(user).await,
                Some(Errand::Provider(user)) => stage.provider_acts(user).await,
                None => {}
            }
            stage.play(tap, manner).await;
            drop(place);
        });
    }
    line.finish_and_clear();
    stage.close().await
}

enum Errand {
    Debit(usize),
    Freeze(usize),
    Provider(usize),
}

fn errand(random: &mut ChaCha8Rng, users: usize) -> Option<Errand> {
    let user = random.random_range(0..users);
    match random.random_range(0..1_000_u32) {
        0..DEBITS => Some(Errand::Debit(user)),
        drawn if drawn < DEBITS + FREEZES => Some(Errand::Freeze(user)),
        drawn if drawn < DEBITS + FREEZES + ACTS => Some(Errand::Provider(user)),
        _ => None,
    }
}

fn live_line(stage: &Stage, began: Instant) -> String {
    let pools: Vec<_> = stage.books().pools.iter().map(|(code, pool)| (*code, pool.available())).collect();
    let seconds = began.elapsed().as_secs();
    let ran = format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    stage.figures.line(&ran, &pools)
}
