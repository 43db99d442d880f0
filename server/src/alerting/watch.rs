//! The watch: checks all conditions, and records the resulting alerts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tapgate_engine::fact::{AlertKind, Author, Condition, Severity};
use tapgate_engine::ledger::{Change, ChangeError, Ledger};
use tapgate_engine::money::Currency;
use tapgate_engine::rows::{Alert, Prefund};
use tapgate_engine::time::{Moment, UnixMillis};

use super::actions::{Action, Found, actions};
use super::conditions::breaks::{break_ageing, drift, stand_in};
use super::conditions::declines::decline_spike;
use super::conditions::findings::{feed_unreadable, limit_weight_differs, rates_implausible};
use super::conditions::floor::floor_breached;
use super::conditions::gates::{clock_wrong, disk_low, head_changed, head_late, provider_suspended, store_damaged};
use super::conditions::hourly_cap::{hourly_cap, reaches_cap};
use super::conditions::journal::{JournalObservation, journal_slow};
use super::conditions::ops_account::ops_account_limited;
use super::conditions::pool_low::pool_low;
use super::conditions::prefund_refused::{prefund_refused, prefund_unanswered, prefund_unapproved};
use super::conditions::prefunds::{prefund_overdue, prefund_short};
use super::conditions::reports::report_stale;
use crate::clock::Clock;
use crate::health::{self, Health};
use crate::provider::findings::Findings;
use crate::provider::prefunding::plan::Planned;
use crate::provider::prefunding::{AutoPrefundMode, Board, Looked};
use crate::stopping::Stopping;
use crate::treasury::follow::Follower;
use crate::treasury::level::{Level, Observation};
use crate::treasury::position::is_unused;

/// Kinds that depend on the whole journal: unknown until it has been read.
const OF_THE_JOURNAL: [AlertKind; 3] = [AlertKind::PoolLow, AlertKind::DeclineSpike, AlertKind::HourlyCap];

/// The minimum interval in real time, for a fast virtual clock.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The state between two checks.
#[derive(Debug, Default)]
struct PreviousCheck {
    journal: JournalObservation,
    /// The pools that had a balance to spend.
    spendable: BTreeSet<Currency>,
}

pub struct Watch {
    pub ledger: Arc<Ledger>,
    pub clock: Arc<Clock>,
    pub health: Arc<Health>,
    pub treasury: Arc<Follower>,
    /// The next steps of automatic prefunds.
    pub prefunding: Arc<Board>,
    pub findings: Arc<Findings>,
    pub settings: Settings,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether feeds read the pools' balances from UR.
    pub is_fed: bool,
    /// Pools whose balances UR does not report even so.
    pub other_pools: Vec<Currency>,
    /// 1 to 3,600 seconds.
    pub interval: Duration,
    /// After this, an unacknowledged alert notifies again, 60 to 604,800.
    pub renotify_seconds: u32,
    /// An older report of a pool raises an alert, 60 to 2,592,000.
    pub report_stale_seconds: u32,
    /// A break that is open for longer raises an alert, 1 to 365.
    pub break_ageing_days: u16,
    /// In francs; 0: no cap.
    pub hourly_cap_chf: u64,
    pub hourly_cap_suspends: bool,
    pub auto_prefund: AutoPrefundMode,
}

impl Watch {
    /// Runs until tapgate stops. Forecasts take time that no decision may wait for, so this needs a thread of its own.
    pub async fn run(self, stopping: Stopping) {
        let mut seen = PreviousCheck::default();
        while !stopping.is_set() {
            seen.journal = observe_journal(&self, seen.journal);
            turn(&self, &mut seen, self.clock.now());
            self.clock.rest(self.settings.interval, INTERVAL_MIN, &stopping).await;
        }
    }
}

fn observe_journal(watch: &Watch, before: JournalObservation) -> JournalObservation {
    let (claimed, durable) = (watch.ledger.journal().claimed(), watch.ledger.journal().durable());
    JournalObservation {
        waiting: claimed.0.saturating_sub(durable.0),
        waited: before.waiting,
        is_stalled: watch.health.is_stalled(),
        was_stalled: before.is_stalled,
    }
}

/// Checks once, and records the resulting actions.
fn turn(watch: &Watch, seen: &mut PreviousCheck, moment: Moment) {
    if !moment.trusted {
        // Every age and every forecast would be wrong: nothing else is judged.
        let told = watch.clock.doubt().map(|doubt| watch.ledger.raise_alert(clock_wrong(doubt), moment));
        if let Some(Err(error)) = told {
            tracing::warn!(%error, "the alert about the clock was not recorded; it is looked at again");
        }
        return;
    }
    let open = watch.ledger.open_alerts();
    let now = watch.ledger.time(moment.at);
    let found = check(watch, &open, seen, now);
    for action in actions(&open, found, watch.settings.renotify_seconds, now) {
        if let Err(error) = record(watch, action, moment) {
            tracing::warn!(%error, "an alert was not recorded; it is looked at again");
        }
    }
}

/// All conditions that hold now.
fn check(watch: &Watch, open: &[Alert], seen: &mut PreviousCheck, now: UnixMillis) -> Found {
    let (ledger, treasury, rules) = (&watch.ledger, &watch.treasury, &watch.settings);
    let severity_of = |kind: AlertKind, subject: &str| {
        let named = |alert: &&Alert| alert.condition.kind == kind && alert.condition.subject == subject;
        open.iter().find(named).map(|alert| alert.condition.severity)
    };
    let mut found = Found::default();
    // Includes a person's durable resume, so that the watch cannot undo it. The follower of the journal reports read
    // errors.
    let is_caught_up = treasury.ready(ledger).is_ok() && treasury.catch_up(ledger).is_ok();
    let mut spendable = BTreeSet::new();
    for figures in ledger.pools() {
        if !is_unused(&figures, treasury.has_spent(figures.currency)) {
            let pool_forecast = treasury.forecast_pool(ledger, &figures, now);
            let dry = pool_forecast.pool.is_dry();
            if !dry {
                spendable.insert(figures.currency);
            }
            let observation = Observation {
                dry,
                was_dry: !seen.spendable.contains(&figures.currency),
                probability_empty: pool_forecast.probability_empty().filter(|_| is_caught_up),
            };
            let told = Level::told(severity_of(AlertKind::PoolLow, figures.currency.as_str()));
            let level = treasury.rules().thresholds.level_after(told, observation);
            let low = pool_low(&pool_forecast.pool, is_caught_up.then_some(&pool_forecast.forecast), level);
            // Before the journal is read, only a dry pool is known, not an eased one.
            found.standing.extend(low.filter(|low| is_caught_up || low.severity == Severity::Critical));
        }
        found.standing.extend(floor_breached(&figures));
        if rules.is_fed && !rules.other_pools.contains(&figures.currency) {
            found.standing.extend(report_stale(&figures, rules.report_stale_seconds, now));
        }
    }
    seen.spendable = spendable;
    let calendar = treasury.calendar(ledger);
    for prefund in ledger.open_prefunds() {
        found.standing.extend(prefund_overdue(&prefund, &calendar, now));
        found.standing.extend(prefund_short(&prefund, now));
    }
    let looked = watch.prefunding.looked();
    if looked.is_none() && rules.is_fed {
        found.unknown.push(AlertKind::PrefundRefused);
    }
    found.standing.extend(blocked_top_ups(watch, looked.as_ref(), &severity_of, now));
    let breaks = ledger.open_breaks();
    found.standing.extend(drift(&breaks));
    found.standing.extend(stand_in(&breaks));
    found.standing.extend(break_ageing(&breaks, rules.break_ageing_days, now));
    if watch.health.is_disk_low() {
        found.standing.push(disk_low());
    }
    judge_health(&watch.health, &mut found);
    let words = ledger.program().providers;
    found.standing.extend(words.iter().filter(|word| word.suspended).map(provider_suspended));
    judge_findings(&watch.findings, &mut found, now);
    found.standing.extend(journal_slow(seen.journal, severity_of(AlertKind::JournalSlow, "")));
    if is_caught_up {
        let outcomes = treasury.outcomes(now);
        let told = severity_of(AlertKind::DeclineSpike, "");
        found.standing.extend(decline_spike(&outcomes.declines(now), told));
        let approved = outcomes.approved_chf(now);
        let is_told = severity_of(AlertKind::HourlyCap, "").is_some();
        found.standing.extend(hourly_cap(approved, rules.hourly_cap_chf, rules.hourly_cap_suspends, is_told));
        let is_over_cap = reaches_cap(outcomes.approved_since_resumed_chf(now), rules.hourly_cap_chf);
        found.suspends = is_over_cap && rules.hourly_cap_suspends && !ledger.program().suspended;
    } else {
        found.unknown.extend(OF_THE_JOURNAL);
    }
    found
}

/// What a job of this process has not looked at yet may still hold: a restart ends no alert.
fn judge_health(health: &Health, found: &mut Found) {
    let mut judge = |kind, looked: &health::Found, condition: fn(&str) -> Condition| match looked.get() {
        Some(wrong) => found.standing.extend(wrong.as_deref().map(condition)),
        None => found.unknown.push(kind),
    };
    judge(AlertKind::StoreDamaged, health.damage(), store_damaged);
    judge(AlertKind::HeadLate, health.head_late(), head_late);
    judge(AlertKind::HeadChanged, health.head_changed(), head_changed);
}

/// What this process has not seen yet may still hold: a restart ends no alert.
fn judge_findings(findings: &Findings, found: &mut Found, now: UnixMillis) {
    let looked = findings.look(now);
    found.standing.extend(looked.unreadable.iter().map(feed_unreadable));
    if !looked.is_unreadable_known {
        found.unknown.push(AlertKind::FeedUnreadable);
    }
    match looked.implausible {
        Some(rates) => found.standing.extend(rates.iter().map(rates_implausible)),
        None => found.unknown.push(AlertKind::RatesImplausible),
    }
    match looked.limit_weight {
        Some(measured) => found.standing.extend(limit_weight_differs(measured)),
        None => found.unknown.push(AlertKind::LimitWeightDiffers),
    }
    match looked.ops_account {
        Some(account) => found.standing.extend(ops_account_limited(&account, now.seconds())),
        None => found.unknown.push(AlertKind::OpsAccountLimited),
    }
}

/// Each pool's blocked automatic top-up. They share one subject: the worst case of a pool is reported, which is money
/// that may have left.
fn blocked_top_ups(
    watch: &Watch,
    looked: Option<&Looked>,
    severity_of: &dyn Fn(AlertKind, &str) -> Option<Severity>,
    now: UnixMillis,
) -> Vec<Condition> {
    let open = watch.ledger.open_prefunds();
    let calendar = watch.treasury.calendar(&watch.ledger);
    let planned = looked.map_or(&[][..], |looked| &looked.planned);
    let unanswered = open.iter().filter_map(|prefund| {
        let why =
            planned.iter().find(|planned| planned.prefund == Some(prefund.id)).map(|planned| planned.why.as_str());
        let is_told = severity_of(AlertKind::PrefundRefused, prefund.currency.as_str()) >= Some(Severity::Urgent);
        prefund_unanswered(prefund, why, is_told, &calendar, now)
    });
    let refused = planned.iter().filter(|planned| planned.is_refused && !planned.is_ordered);
    let refused = refused
        .map(|Planned { currency, prefund, amount, why, .. }| prefund_refused(*currency, *prefund, *amount, why));
    let mode = watch.settings.auto_prefund;
    // In automatic mode tapgate approves its own proposals.
    let waits = |prefund: &&Prefund| {
        let is_own = prefund.proposed.as_ref().is_some_and(|step| step.by == Author::Engine.name());
        mode.orders() && !(is_own && mode == AutoPrefundMode::Automatic)
    };
    let unapproved = open.iter().filter(waits).filter_map(|prefund| {
        prefund_unapproved(prefund, severity_of(AlertKind::PoolLow, prefund.currency.as_str()), now)
    });
    let mut standing: Vec<Condition> = Vec::new();
    for condition in unanswered.chain(refused).chain(unapproved) {
        if standing.iter().all(|told| told.subject != condition.subject) {
            standing.push(condition);
        }
    }
    standing
}

fn record(watch: &Watch, action: Action, now: Moment) -> Result<(), ChangeError> {
    let ledger = &watch.ledger;
    match action {
        Action::Suspend(reason) => {
            let change = Change::SuspendProgram { suspended: true, reason: reason.clone() };
            ledger.change(&Author::Engine, change, now)?;
            tracing::error!(%reason, "the program is suspended by [treasury] hourly_cap_suspends");
        }
        Action::Raise(condition) => {
            tracing::warn!(kind = condition.kind.name(), subject = %condition.subject, "{}", condition.title);
            ledger.raise_alert(condition, now)?;
        }
        Action::Renotify(id, condition) => drop(ledger.renotify_alert(id, condition, now)?),
        Action::Resolve(kind, subject) => {
            tracing::info!(kind = kind.name(), %subject, "an alert is over");
            ledger.resolve_alert(kind, &subject, now)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
