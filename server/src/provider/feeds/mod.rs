//! UR's figures, fetched at their own intervals: pools, rates, users; and the sweeps, which share the budget.
//!
//! A report includes every movement that UR had shown us as completed *before we asked*: each task first notes the
//! journal's last record.

mod balances;
mod due;
mod plausible;
mod rates;
mod weight;

use std::collections::HashMap;
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tapgate_engine::contract::limit::ClientLimit;
use tapgate_engine::fact::{AccountStatus, BreakKind, Discrepancy, Fact, Provider, ReportedAccount, Source, Verdict};
use tapgate_engine::ids::{Sequence, UrId};
use tapgate_engine::ledger::{ChangeError, Ledger};
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::rows::User;
use tapgate_engine::time::UnixMillis;
use tokio::sync::mpsc;

pub use due::Due;
use weight::{Settled, Weights};

use crate::clock::Clock;
use crate::provider::api::{Priority, UrApi, UrError};
use crate::provider::findings::{Findings, OpsAccount};
use crate::provider::hint::Hint;
use crate::provider::prefunding::credits::Credits;
use crate::provider::reconciliation;
use crate::provider::reconciliation::expiry::expire_by_time;
use crate::provider::reconciliation::sweep::{SweepError, Sweeps};
use crate::randomness::Randomness;
use crate::wire::ur::RefusalCode;

/// Delay between a settlement at UR and reading the figures that must include it: several settlements share one call.
const AFTER_SETTLEMENT: Duration = Duration::from_secs(2);
/// Pause after an account's failure.
const AFTER_FAILURE: Duration = Duration::from_secs(20);
/// Longest pause after an account that UR refuses again and again.
const AFTER_REFUSALS_MAX: Duration = Duration::from_secs(21_600);
/// Pause after transactions that tapgate cannot interpret: they probably need a person.
const AFTER_UNCLEAR: Duration = Duration::from_secs(3_600);
/// The pause between two looks at what an account of another provider holds: its holds end by time.
const BY_TIME: Duration = Duration::from_secs(3_600);
/// Longest wait of an account without holds for its share of the budget; the accounts behind it wait too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Interval of reading the journal for accounts to query.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// Wait of a loop with nothing due.
const IDLE: Duration = Duration::from_millis(500);
/// Interval of reporting the sweeps' backlog; the log shows it from [`SWEEPS_DUE_TOLD`] accounts on.
const TELL_INTERVAL: Duration = Duration::from_secs(30);
const SWEEPS_DUE_TOLD: usize = 1_000;
/// Records per read.
const RECORDS_MAX: usize = 10_000;
/// Accounts about which UR did not hear an answer, until their sweep.
const UNHEARD_MAX: usize = 10_000;

/// Waiting hints; the account's next turn makes up for one that finds no room.
pub const HINTS_MAX: usize = 10_000;

/// Reasons why a task failed its turn.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error(transparent)]
    Ur(#[from] UrError),
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error(transparent)]
    Sweep(#[from] SweepError),
}

/// The accounts known from recovery.
#[derive(Debug, Default)]
pub struct Known {
    pub users: Vec<UrId>,
    /// Accounts with open holds.
    pub holding: Vec<UrId>,
    /// The last record that they are known from: requests come in before the feeds begin.
    pub through: Sequence,
}

/// The parts that the feeds need besides UR.
pub struct Given {
    /// Receives the figures.
    pub ledger: Arc<Ledger>,
    pub clock: Arc<Clock>,
    /// Spreads tasks that would coincide.
    pub randomness: Randomness,
    /// Follows deposits, in the same turn as the pools' balances.
    pub credits: Credits,
    pub findings: Arc<Findings>,
    pub settings: Settings,
}

/// The settings of feeds and sweeps. Each interval is 1 to 86,400 seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The account whose balances are the pools'.
    pub ops_account: Option<UrId>,
    /// Pools from which another provider settles: UR's balances in these currencies are not theirs.
    pub other_pools: Vec<Currency>,
    pub pools_interval: Duration,
    pub rates_interval: Duration,
    /// The interval for each account; the budget may lengthen it.
    pub users_interval: Duration,
    /// How far a rate may move from one answer to the next without being suspicious, 1 to 5,000 basis points.
    pub rates_jump_bps: u16,
    /// The client's budget.
    pub calls_per_minute: u32,
    pub reconciliation: reconciliation::Settings,
}

/// Fetches and sweeps until dropped.
pub struct Feeds<A> {
    given: Given,
    api: Arc<A>,
    /// The last record before those that the feeds follow.
    known_through: Sequence,
    users: Mutex<Due>,
    /// Since when, by account.
    unheard: Mutex<HashMap<UrId, UnixMillis>>,
    sweeps: Mutex<Due>,
    /// The last success of each feed, for its age.
    fresh: Mutex<HashMap<&'static str, UnixMillis>>,
    suspects: Mutex<rates::Suspects>,
    omissions: Mutex<balances::Omissions>,
    weights: Mutex<Weights>,
    /// Failures in a row of accounts that UR refuses.
    refusals: Mutex<HashMap<UrId, u32>>,
}

impl<A: UrApi> Feeds<A> {
    /// Feeds for the accounts known at start.
    #[must_use]
    pub fn new(given: Given, api: Arc<A>, known: &Known) -> Feeds<A> {
        metrics::counter!("tapgate_rates_implausible_total").increment(0);
        let now = given.clock.steady();
        let (mut users, mut sweeps) = (Due::default(), Due::default());
        // Spread over one interval, so that a restart queries no account twice at once.
        let spread = millis(given.settings.users_interval);
        for (place, user) in (0_u64..).zip(&known.users) {
            users.by(user, UnixMillis(now.0 + place * spread / (known.users.len() as u64).max(1)));
        }
        for user in &known.holding {
            users.by(user, now);
            sweeps.by(user, now);
        }
        let (users, sweeps) = (Mutex::new(users), Mutex::new(sweeps));
        Feeds {
            given,
            api,
            known_through: known.through,
            users,
            sweeps,
            unheard: Mutex::default(),
            fresh: Mutex::default(),
            suspects: Mutex::default(),
            omissions: Mutex::default(),
            weights: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    /// Runs every feed.
    pub async fn run(self, hints: mpsc::Receiver<Hint>) {
        let Settings { pools_interval: pools, rates_interval: rates, .. } = self.given.settings.clone();
        let feeds = Arc::new(self);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(Arc::clone(&feeds).take_hints(hints));
        tasks.spawn(Arc::clone(&feeds).follow_journal());
        tasks.spawn(Arc::clone(&feeds).every(pools, "pools", Feeds::pools));
        tasks.spawn(Arc::clone(&feeds).every(rates, "rates", Feeds::rates));
        tasks.spawn(Arc::clone(&feeds).every(rates, "ops", Feeds::ops));
        tasks.spawn(Arc::clone(&feeds).keep_users());
        tasks.spawn(feeds.keep_sweeping());
        tasks.join_all().await;
    }

    fn users(&self) -> MutexGuard<'_, Due> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unheard(&self) -> MutexGuard<'_, HashMap<UrId, UnixMillis>> {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sweeps(&self) -> MutexGuard<'_, Due> {
        self.sweeps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The interval, varied at random by a tenth, so that accounts that start together do not stay together.
    fn jittered(&self, interval: Duration) -> Duration {
        interval.mul_f64(self.given.randomness.within(0.9..1.1))
    }

    fn refusals(&self) -> MutexGuard<'_, HashMap<UrId, u32>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An account that UR refuses waits twice as long each time, and no other account waits for it. While UR is down, or
    /// accepts none of our signatures, no account is to blame.
    fn after_failure(&self, user: &UrId, error: &FeedError) -> Duration {
        let is_refused = match error {
            FeedError::Ur(UrError::Signature(_) | UrError::Unsigned(_)) => false,
            FeedError::Ur(error) => !error.is_transient() && error.refusal() != Some(RefusalCode::Signature),
            FeedError::Change(_) | FeedError::Sweep(_) => false,
        };
        if !is_refused {
            return AFTER_FAILURE;
        }
        let mut refusals = self.refusals();
        let failures = refusals.entry(user.clone()).or_default();
        *failures = failures.saturating_add(1);
        AFTER_FAILURE.saturating_mul(2_u32.saturating_pow(*failures - 1)).min(AFTER_REFUSALS_MAX)
    }

    /// When something is due: a jump of wall time must not put it off.
    fn now(&self) -> UnixMillis {
        self.given.clock.steady()
    }

    fn in_(&self, duration: Duration) -> UnixMillis {
        UnixMillis(self.now().0.saturating_add(millis(duration)))
    }

    fn succeeded(&self, feed: &'static str) {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).insert(feed, self.now());
    }

    /// Seconds since a feed's last success, or since the start.
    fn tell_age(&self, feed: &'static str, since: UnixMillis) {
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner).get(feed).copied().unwrap_or(since);
        let age = self.now().0.saturating_sub(fresh.0);
        metrics::gauge!("tapgate_feed_age_seconds", "feed" => feed).set(Duration::from_millis(age).as_secs_f64());
    }

    async fn every<F>(self: Arc<Self>, interval: Duration, feed: &'static str, turn: impl Fn(Arc<Self>) -> F)
    where
        F: Future<Output = Result<(), FeedError>>,
    {
        let began = self.now();
        let mut failures: u32 = 0;
        loop {
            match turn(Arc::clone(&self)).await {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!(feed, failures, "UR's figures are read again");
                    }
                    failures = 0;
                    self.succeeded(feed);
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    // A lasting failure is told ever more rarely, so that it hides nothing else in the log.
                    if failures.is_power_of_two() {
                        tracing::warn!(feed, failures, %error, "UR's figures were not read; they are asked for again");
                    }
                }
            }
            self.tell_age(feed, began);
            self.given.clock.sleep(self.jittered(interval)).await;
        }
    }

    async fn take_hints(self: Arc<Self>, mut hints: mpsc::Receiver<Hint>) {
        while let Some(hint) = hints.recv().await {
            match hint {
                Hint::Changed(user) => self.users().by(&user, self.now()),
                Hint::Unheard { user, since } => {
                    self.sweeps().by(&user, self.now());
                    let mut unheard = self.unheard();
                    if unheard.len() < UNHEARD_MAX {
                        unheard.entry(user).or_insert(since);
                    }
                }
            }
        }
        // The other tasks run without hints too.
        std::future::pending::<()>().await;
    }

    /// Notes the accounts that spent, and those whose figures UR changed.
    async fn follow_journal(self: Arc<Self>) {
        let mut cursor = self.known_through;
        loop {
            match self.follow_from(cursor) {
                Ok(next) => cursor = next,
                Err(error) => tracing::warn!(%error, "the journal could not be read by the feeds; tried again"),
            }
            self.given.clock.sleep(FOLLOW_INTERVAL).await;
        }
    }

    fn follow_from(&self, after: Sequence) -> Result<Sequence, tapgate_engine::store::StoreError> {
        let mut cursor = after;
        let mut read = 0;
        self.given.ledger.records(after, &mut |sequence, record| {
            match &record.fact {
                Fact::Decided(decided) if matches!(decided.verdict, Verdict::Approved(_)) => {
                    self.sweeps().by(&decided.request.user, self.first_look(record.at));
                }
                Fact::UserImported(import) => self.users().by(&import.user, self.now()),
                Fact::Settled(settled) => {
                    if let Some(user) = &settled.user {
                        if settled.shown().is_some() {
                            self.users().by(user, self.in_(AFTER_SETTLEMENT));
                        }
                        if settled.change.is_asked {
                            self.sweeps().by(user, self.first_look(record.at));
                        }
                    }
                }
                _ => {}
            }
            cursor = sequence;
            read += 1;
            if read == RECORDS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(cursor)
    }

    /// The time of the first query about what a record of this time began.
    fn first_look(&self, at: UnixMillis) -> UnixMillis {
        let wait = u64::from(self.given.settings.reconciliation.first_look_seconds) * 1_000;
        UnixMillis(at.0.saturating_add(wait))
    }

    async fn keep_users(self: Arc<Self>) {
        loop {
            let next = self.users().next(self.now());
            let Some((user, since)) = next else {
                metrics::gauge!("tapgate_feed_users_behind_seconds").set(0.0);
                self.given.clock.sleep(IDLE).await;
                continue;
            };
            let behind = Duration::from_millis(self.now().0.saturating_sub(since.0));
            metrics::gauge!("tapgate_feed_users_behind_seconds").set(behind.as_secs_f64());
            let again = match self.user(&user, behind > PATIENCE).await {
                // Not our account: the hint named another one.
                Ok(false) => continue,
                Ok(true) => {
                    self.succeeded("users");
                    self.refusals().remove(&user);
                    self.jittered(self.given.settings.users_interval)
                }
                Err(error) => {
                    tracing::warn!(%user, %error, "an account's figures were not read; they are asked for again");
                    self.after_failure(&user, &error)
                }
            };
            self.users().by(&user, self.in_(again));
        }
    }

    /// Reads one account's limit, status, allowances and balances; false if the account is not ours.
    async fn user(&self, user: &UrId, is_urgent: bool) -> Result<bool, FeedError> {
        let ledger = &self.given.ledger;
        // Before the row is read: a later import refuses the report, which the row would misread.
        let seen_through = ledger.journal().claimed();
        let Some(row) = ledger.user(user).filter(|row| row.provider == Provider::Ur) else { return Ok(false) };
        let priority = if row.holds().is_empty() && !is_urgent { Priority::Low } else { Priority::Normal };
        let profile = match self.api.profile(user, priority).await {
            Err(error) if error.refusal() == Some(RefusalCode::Blocked) => {
                // UR refuses to serve the account: none of its authorizations may be approved.
                let account =
                    ReportedAccount { status: AccountStatus::Blocked, limit: row.limit, allowances: Vec::new() };
                ledger.report_user(user, Some(account), None, seen_through, self.given.clock.now())?;
                return Ok(true);
            }
            answered => answered?,
        };
        let pays_by_fiat = !row.fiat().is_empty() || row.holds().iter().any(|hold| hold.source == Source::Fiat);
        let balances = if pays_by_fiat {
            let known: Vec<_> = row.fiat().iter().map(|balance| (balance.currency, balance.amount)).collect();
            Some(self.balances(user, &known, priority).await?.shown)
        } else {
            None
        };
        let account = ReportedAccount { status: profile.status, limit: profile.limit, allowances: profile.allowances };
        ledger.report_user(user, Some(account), balances, seen_through, self.given.clock.now())?;
        self.compare_limit(user, &row, profile.limit, seen_through)?;
        self.measure_weight(user);
        Ok(true)
    }

    /// The ops account is an account like any other: UR may charge its own limit with each drawing on its pools.
    async fn ops(self: Arc<Self>) -> Result<(), FeedError> {
        let Some(ops) = &self.given.settings.ops_account else { return Ok(()) };
        let shown = self.api.profile(ops, Priority::High).await?;
        let account = OpsAccount { id: ops.clone(), status: shown.status, limit: shown.limit };
        self.given.findings.ops_account(account);
        Ok(())
    }

    /// Compares how far UR's figure moved with what settled, once every spend is in it.
    fn measure_weight(&self, user: &UrId) {
        let (ledger, now) = (&self.given.ledger, self.now().seconds());
        let Some(settled) = ledger.user(user).and_then(|row| Settled::of(&row, now)) else { return };
        let tolerance = self.given.settings.reconciliation.tolerance;
        let mut weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(measured) = weights.note(user, settled, ledger.policy().limit_weight, tolerance) {
            self.given.findings.limit_weight(measured);
        }
    }

    /// Within one period UR's figure only rises, by settlements that we know and by others; a lower figure means a
    /// wrong weight or rate.
    fn compare_limit(
        &self,
        user: &UrId,
        before: &User,
        theirs: ClientLimit,
        seen_through: Sequence,
    ) -> Result<(), FeedError> {
        let ours = before.limit_used_min(seen_through);
        let tolerance = self.given.settings.reconciliation.tolerance.of(Minor(ours.0)).0;
        if theirs.start == before.limit.start && theirs.used.0.saturating_add(tolerance) < ours.0 {
            let discrepancy = Discrepancy {
                kind: BreakKind::LimitDrift,
                subject: user.as_str().into(),
                field: "usedLimit".into(),
                ours: compact_str::format_compact!("{ours}"),
                theirs: compact_str::format_compact!("{}", theirs.used),
            };
            self.given.ledger.open_break(discrepancy, self.given.clock.now())?;
        }
        Ok(())
    }

    /// Reports the sweeps' backlog: it stays long after a long stop or an outage of UR.
    fn tell_sweeps(&self) {
        let (due, waiting) = {
            let sweeps = self.sweeps();
            (sweeps.due(self.now()), sweeps.len())
        };
        let count = |accounts: usize| f64::from(u32::try_from(accounts).unwrap_or(u32::MAX));
        metrics::gauge!("tapgate_sweeps_waiting").set(count(waiting));
        metrics::gauge!("tapgate_sweeps_due").set(count(due));
        if due >= SWEEPS_DUE_TOLD {
            let minutes = due / (self.given.settings.calls_per_minute.max(1) as usize) + 1;
            tracing::info!(due, waiting, minutes, "the sweeps are behind; so many minutes at least until they are not");
        }
    }

    fn is_of_another_provider(&self, user: &UrId) -> bool {
        self.given.ledger.provider_of(user).is_some_and(|provider| provider != Provider::Ur)
    }

    /// Ends by time what an account of another provider holds: UR does not know the account.
    fn expire(&self, user: &UrId) {
        let (ledger, rules) = (&self.given.ledger, &self.given.settings.reconciliation);
        match expire_by_time(ledger, user, rules, self.given.clock.now()) {
            Ok(_) if ledger.user(user).is_none_or(|row| row.holds().is_empty() && row.asked().is_empty()) => return,
            Ok(_) => {}
            Err(error) => tracing::warn!(%user, %error, "an account's holds were not looked at; they are later"),
        }
        self.sweeps().by(user, self.in_(BY_TIME));
    }

    async fn keep_sweeping(self: Arc<Self>) {
        let mut sweeps = Sweeps::new(self.given.settings.reconciliation);
        let mut told = UnixMillis(0);
        loop {
            if self.now().0 >= told.0.saturating_add(millis(TELL_INTERVAL)) {
                told = self.now();
                self.tell_sweeps();
            }
            let next = self.sweeps().next(self.now());
            let Some((user, _)) = next else {
                self.given.clock.sleep(IDLE).await;
                continue;
            };
            if self.is_of_another_provider(&user) {
                self.expire(&user);
                continue;
            }
            if let Some(since) = self.unheard().remove(&user) {
                sweeps.note_unheard(&user, since);
            }
            match sweeps.sweep(&self.given.ledger, &self.given.clock, &*self.api, &user).await {
                Ok(swept) => {
                    if swept.booked > 0 || swept.expired > 0 {
                        tracing::info!(%user, booked = swept.booked, expired = swept.expired, "swept");
                    }
                    if let Some(again) = swept.again_at {
                        self.sweeps().by(&user, UnixMillis(again.0.unsigned_abs() * 1_000));
                    }
                }
                Err(error) => {
                    tracing::warn!(%user, %error, "a sweep did not come to its end; it is made again");
                    let again = match error {
                        SweepError::Unclear(_) => AFTER_UNCLEAR,
                        SweepError::Ur(error) => self.after_failure(&user, &error.into()),
                        SweepError::Change(_) | SweepError::Store(_) => AFTER_FAILURE,
                    };
                    self.sweeps().by(&user, self.in_(again));
                }
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
