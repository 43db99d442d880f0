//! Drives a server: a closed loop, an open loop at a rate, or a search for the highest rate that keeps a bound.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tapgate::signature::SigningKey;
use tokio::sync::Semaphore;

use super::ask::{Loop, Run, Seen, is_late};
use super::corpus::{Draft, Drafts, Mix, Signer, What, unix_seconds};
use super::feed::{AHEAD_MAX, Amount, Feed, Schedule, cores};
use super::pace::{Pace, SLEEP_MIN};
use super::report::{Figures, per_second};
use super::stages::{Clock, Stages};
use super::target::{Base, set_up};
use super::{Failed, print, ramp};

/// Redraws of the live line.
const LOOK: Duration = Duration::from_millis(250);

/// Connections of an open loop where none are given: at 400 ms an answer, 640 a second and more never wait for one.
const OPEN_CONNECTIONS: usize = 256;

/// Callbacks go together within this time where the sender gives up after hundreds: waking for each would take it half a core.
const PATIENT_TICK: Duration = Duration::from_millis(1);

/// What one connection of a closed loop can be answered in a second, at most: 12,000 is 83 µs, twice a signature.
const PER_CONNECTION_MAX: u64 = 12_000;

/// Callbacks that a server which decides nothing is asked in a circle: 70 MB, far beyond every processor cache.
const CIRCLE: u64 = 100_000;

/// Callbacks of a connection between one and its duplicate or reversal in a closed loop. The others would have to
/// overtake it by so many for a reversal to come before its authorization is answered.
const LAG_PER_CONNECTION: u64 = 64;

/// Signatures to time before a closed loop.
const TIMED_SIGNATURES: u64 = 500;

/// Send signed callbacks to a server, check every answer, measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The public listener, http://HOST:PORT.
    #[arg(long)]
    pub(crate) public: Base,
    /// The admin listener, to which rates, pool and users are given first.
    #[arg(long, required_unless_present = "bare")]
    admin: Option<Base>,
    /// An operator's token at the admin listener.
    #[arg(long, env = "TAPGATE_TOKEN", required_unless_present = "bare", hide_env_values = true)]
    token: Option<String>,
    /// UR's private key: 0x and 64 hexadecimal digits.
    #[arg(long)]
    ur_key_file: PathBuf,
    /// The target is `tapgate-load bare`, which has no users and always answers the same.
    #[arg(long, conflicts_with_all = ["admin", "token"])]
    bare: bool,
    /// An earlier run gave the server its rates, pool and users.
    #[arg(long)]
    ready: bool,
    /// Users, each with one card; taps come from any of them alike.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    users: u64,
    /// Parts of the traffic, as weights.
    #[arg(long, default_value = "approve=80,decline=10,duplicate=5,reversal=5")]
    mix: Mix,
    /// Callbacks a second (open loop: latency counts from when each was due). Without it a closed loop.
    #[arg(long, value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Search the highest rate at which p99 stays within --p99-ms and nothing fails, beginning at --rate (or 1000).
    #[arg(long)]
    ramp: bool,
    /// The bound of --ramp, milliseconds.
    #[arg(long, default_value_t = 5)]
    pub(crate) p99_ms: u32,
    /// Connections; by default 64 in a closed loop, 256 in an open one.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4_000))]
    connections: Option<u16>,
    /// Seconds measured; of each step with --ramp.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Seconds before that.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warmup: u64,
    /// Threads that send. One sends some 60,000 callbacks a second, and leaves the other cores to the server.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Callbacks to sign in all for a closed loop, where this machine's signing speed says nothing of the server's.
    #[arg(long)]
    corpus: Option<u64>,
    /// Makes the traffic.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Tell where the answers' time went: the server is one built with the feature `trace`.
    #[arg(long)]
    trace: bool,
    /// Late answers are told and fail nothing: a disk may stall for longer than the server's deadline.
    #[arg(long)]
    late: bool,
    /// Give a callback up so many milliseconds after it was due, as UR does, with its connection; refusals and callbacks that
    /// were given up are told and fail nothing. For an open loop, with as many connections as are due in that time.
    #[arg(long, requires = "rate", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    patience_ms: Option<u64>,
    /// Results as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.1..=10_000_000.0).contains(&rate) { Ok(rate) } else { Err("expected 0.1 to 10000000".to_owned()) }
}

/// A private key from its file.
pub(crate) fn read_key(file: &Path) -> Result<SigningKey, Failed> {
    let named = |error: &dyn std::fmt::Display| Failed(format!("{}: {error}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| named(&error))?;
    text.trim().parse().map_err(|error| named(&error))
}

/// What one run measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Driven {
    target: String,
    mix: String,
    connections: usize,
    /// Callbacks a second that were due; `null` in a closed loop.
    pub(crate) rate: Option<f64>,
    pub(crate) seconds: f64,
    pub(crate) answered: u64,
    /// With the warm-up.
    answered_in_all: u64,
    pub(crate) per_second: f64,
    counts: BTreeMap<&'static str, u64>,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) wrong: u64,
    first_wrong: Option<String>,
    /// From when each was due (open loop) or sent (closed loop).
    pub(crate) latency: Figures,
    /// From when each was sent.
    service: Figures,
    /// From when each was due until it was sent: the generator's own part, and the wait for a free connection.
    waited: Figures,
    /// Where the time went, with --trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Stages>,
    notes: Vec<String>,
}

impl Driven {
    /// Whether every answer came and was right.
    pub(crate) fn is_clean(&self) -> bool {
        self.wrong == 0 && self.errors.is_empty()
    }

    /// Whether every answer came and was right, though some said that it was too late.
    fn is_right(&self) -> bool {
        self.wrong == 0 && self.errors.keys().all(|error| is_late(error))
    }

    fn text(&self) -> String {
        let pacing = match self.rate {
            Some(rate) => format!("open loop at {rate:.0}/s over up to {} connections", self.connections),
            None => format!("closed loop of {} connections", self.connections),
        };
        let mut lines = vec![
            format!("target: {}, {pacing}, {}", self.target, self.mix),
            format!("answered: {} in {:.1} s, {:.0}/s", self.answered, self.seconds, self.per_second),
            format!("latency: {}", self.latency),
        ];
        if self.rate.is_some() {
            lines.push(format!("from the actual send time: {}", self.service));
            lines.push(format!("until it was sent: {}", self.waited));
        }
        let parts: Vec<_> = self.counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
        lines.push(format!("right: {}", parts.join(", ")));
        lines.extend(self.errors.iter().map(|(kind, count)| format!("error: {kind}: {count}")));
        lines.extend(self.first_wrong.iter().map(|first| format!("wrong: {}, the first: {first}", self.wrong)));
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines.extend(self.trace.iter().map(ToString::to_string));
        lines.join("\n") + "\n"
    }

    fn tell(&self, as_json: bool) -> Result<(), Failed> {
        if as_json { print(&format!("{}\n", serde_json::to_string(self)?)) } else { print(&self.text()) }
    }
}

/// A live line on stderr, silent where that is no terminal.
pub(crate) fn live_line() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::new_spinner().with_style(style)
}

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    let threads = usize::from(options.threads);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let key = read_key(&options.ur_key_file)?;
    if let (Some(admin), Some(token), false) = (&options.admin, &options.token, options.ready) {
        let line = live_line();
        let said = |users| line.set_message(format!("imported {users} of {} users", options.users));
        runtime.block_on(set_up(admin, token, options.users, said))?;
        line.finish_and_clear();
    }
    let driver = Driver { options, runtime, key };
    if options.ramp {
        return ramp::run(&driver);
    }
    let driven = driver.drive(options.rate)?;
    driven.tell(options.json)?;
    let is_patient = options.patience_ms.is_some() && driven.wrong == 0;
    if driven.is_clean() || options.late && driven.is_right() || is_patient {
        Ok(())
    } else {
        Err(Failed("some answers are wrong or missing".to_owned()))
    }
}

/// Runs the load, once or step by step.
pub(crate) struct Driver<'a> {
    pub(crate) options: &'a Options,
    runtime: tokio::runtime::Runtime,
    key: SigningKey,
}

impl Driver<'_> {
    /// One run at a rate, or in a closed loop.
    pub(crate) fn drive(&self, rate: Option<f64>) -> Result<Driven, Failed> {
        let options = self.options;
        let connections = options.connections.map_or(if rate.is_some() { OPEN_CONNECTIONS } else { 64 }, usize::from);
        let line = live_line();
        let signer = Signer::new(self.key.clone());
        let (feed, total) = self.feed(&signer, rate, connections, &line)?;

        let start = Instant::now();
        let (warmup, all) = (options.warmup, options.warmup + options.seconds);
        let due_last = start + Duration::from_secs(all);
        let permits = Arc::new(Semaphore::new(0));
        let (pacing, ends) = match rate {
            None => (Loop::Closed, due_last),
            Some(rate) => {
                let tick = if options.patience_ms.is_some() { PATIENT_TICK } else { SLEEP_MIN };
                let pace = Pace { start, rate, tick };
                pace.give(&permits, total, connections)?;
                (Loop::Open(pace, permits), Run::drained(due_last))
            }
        };
        let run = Arc::new(Run {
            target: options.public.clone(),
            signer: (!options.bare).then_some(signer),
            feed,
            pacing,
            measured_from: start + Duration::from_secs(warmup),
            ends,
            patience: options.patience_ms.map(Duration::from_millis),
            answered: AtomicU64::new(0),
            clock: options.trace.then(Clock::start),
            late: Mutex::default(),
            seen: Mutex::new(Seen::nothing()?),
        });
        self.runtime.block_on(all_connections(&run, connections, &line))?;
        line.finish_and_clear();
        let seen = std::mem::replace(&mut *run.seen(), Seen::nothing()?);
        Ok(self.driven(rate, connections, total, &run, seen))
    }

    /// What is sent, and how many there are of it.
    fn feed(
        &self,
        signer: &Signer,
        rate: Option<f64>,
        connections: usize,
        line: &ProgressBar,
    ) -> Result<(Feed, u64), Failed> {
        let options = self.options;
        let all = options.warmup + options.seconds;
        let lag = rate.map_or(connections as u64 * LAG_PER_CONNECTION, |rate| ceiled(rate.max(1.0)));
        let mut drafts = Drafts::new(options.mix, options.users, lag, options.seed);
        let total = match (rate, options.corpus) {
            (Some(rate), _) => ceiled(rate * Duration::from_secs(all).as_secs_f64()).max(1),
            (None, Some(corpus)) => corpus.max(1),
            (None, None) if options.bare => u64::MAX,
            // A server on this machine cannot verify faster than this machine signs, and has to share it.
            (None, None) => all * (connections as u64 * PER_CONNECTION_MAX).min(signed_per_second(signer)),
        };
        if options.bare {
            return Ok((Feed::circle(&mut drafts, signer, total.min(CIRCLE), total), total));
        }
        let ahead = if rate.is_some() { AHEAD_MAX } else { AHEAD_MAX.min(connections as u64 * 200_000) };
        // Sending begins once what is signed ahead is signed.
        let start = || unix_seconds() + total.min(ahead) / signed_per_second(signer).max(1);
        let amount = Amount { total, ahead, schedule: rate.map(|rate| Schedule { start: start(), rate }) };
        let said = |signed| line.set_message(format!("signed {signed} callbacks"));
        Ok((Feed::start(drafts, signer.clone(), amount, said)?, total))
    }

    fn driven(&self, rate: Option<f64>, connections: usize, total: u64, run: &Run, mut seen: Seen) -> Driven {
        let options = self.options;
        let answered = run.answered.load(Ordering::Relaxed);
        let planned = Duration::from_secs(options.seconds);
        let until_last = seen.last.map(|last| last.saturating_duration_since(run.measured_from));
        // A closed loop that used its corpus up took less; an open one that was behind took more.
        let took = until_last.unwrap_or(planned);
        let mut notes = Vec::new();
        if rate.is_some() && answered < total && options.patience_ms.is_none() {
            *seen.errors.entry("never answered".to_owned()).or_default() += total - answered;
        }
        if rate.is_none() && answered >= total {
            notes
                .push(format!("the {total} signed callbacks were used up before the time was; give a larger --corpus"));
        }
        if rate.is_some() && total > AHEAD_MAX && !options.bare {
            notes.push(format!("beyond {AHEAD_MAX} callbacks signing shared the cores with the sending"));
        }
        if seen.starved > 0 {
            notes.push("the signing did not keep up with the sending: latencies are the generator's".to_owned());
        }
        Driven {
            target: options.public.authority.clone(),
            mix: if options.bare { "fixed answer".to_owned() } else { options.mix.to_string() },
            connections,
            rate,
            seconds: took.as_secs_f64(),
            answered: seen.latency.count(),
            answered_in_all: answered,
            per_second: per_second(seen.latency.count(), took),
            counts: seen.counts,
            errors: seen.errors,
            wrong: seen.wrong,
            first_wrong: seen.first_wrong,
            latency: seen.latency.figures(),
            service: seen.service.figures(),
            waited: seen.waited.figures(),
            trace: Stages::of(seen.splits),
            notes,
        }
    }
}

async fn all_connections(run: &Arc<Run>, connections: usize, line: &ProgressBar) -> Result<(), Failed> {
    let tasks: Vec<_> = (0..connections).map(|_| tokio::spawn(Arc::clone(run).connection())).collect();
    let (shown, looking) = (line.clone(), Arc::clone(run));
    let look = tokio::spawn(async move {
        let mut before = 0;
        loop {
            tokio::time::sleep(LOOK).await;
            let answered = looking.answered.load(Ordering::Relaxed);
            shown.set_message(format!("answered {answered}, {:.0}/s", per_second(answered - before, LOOK)));
            shown.tick();
            before = answered;
        }
    });
    for task in tasks {
        task.await?;
    }
    look.abort();
    Ok(())
}

/// How many callbacks all cores of this machine sign in a second.
fn signed_per_second(signer: &Signer) -> u64 {
    let (began, at) = (Instant::now(), unix_seconds());
    for number in 0..TIMED_SIGNATURES {
        std::hint::black_box(signer.sign(Draft { number, user: number, what: What::Approve }, at));
    }
    ceiled(per_second(TIMED_SIGNATURES, began.elapsed())) * cores() as u64
}

/// The next whole number; none of ours is negative or beyond 2^53.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
fn ceiled(number: f64) -> u64 {
    number.ceil() as u64
}
