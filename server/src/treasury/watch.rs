//! The watch: looks at everything that somebody must know of, and has it recorded.

use std::sync::Arc;
use std::time::Duration;

use tapgate_engine::alert::{Alert, AlertKind, Severity};
use tapgate_engine::ledger::{Change, ChangeError};
use tapgate_engine::record::Author;
use tapgate_engine::time::{Moment, UnixMillis};

use super::alerting::{Found, Step, steps};
use super::conditions::breaks::{break_ageing, drift, stand_in};
use super::conditions::declines::decline_spike;
use super::conditions::floor::floor_breached;
use super::conditions::hourly_cap::hourly_cap;
use super::conditions::journal::{JournalSeen, journal_slow};
use super::conditions::pool_low::{is_unused, pool_low};
use super::conditions::prefunds::{prefund_overdue, prefund_short};
use super::conditions::reports::report_stale;
use crate::app::App;

/// What rests on the whole journal: of these nothing is known until it has been read.
const OF_THE_JOURNAL: [AlertKind; 3] = [AlertKind::PoolLow, AlertKind::DeclineSpike, AlertKind::HourlyCap];

/// The shortest interval in real time, where a virtual clock runs fast.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Watches until it is dropped.
pub async fn watch(app: Arc<App>) {
    let interval = Duration::from_secs(app.config.treasury.watch_interval_seconds.into());
    let interval = app.clock.real(interval).max(INTERVAL_MIN);
    let mut journal = JournalSeen::default();
    loop {
        journal = look_at_journal(&app, journal);
        turn(&app, journal, app.clock.now());
        tokio::time::sleep(interval).await;
    }
}

fn look_at_journal(app: &App, before: JournalSeen) -> JournalSeen {
    let (claimed, durable) = (app.ledger.journal().claimed(), app.ledger.journal().durable());
    let waiting = claimed.0.saturating_sub(durable.0);
    JournalSeen { waiting, waited: before.waiting, is_stalled: app.health.is_stalled() }
}

/// Looks once, and records what follows from it.
fn turn(app: &App, journal: JournalSeen, moment: Moment) {
    if !moment.trusted {
        // Every age and every forecast would be wrong; the log and the metrics say so.
        return;
    }
    let open = app.ledger.open_alerts();
    let now = app.ledger.time(moment.at);
    let found = look(app, &open, journal, now);
    for step in steps(&open, found, app.config.treasury.renotify_seconds, now) {
        if let Err(error) = record(app, step, moment) {
            tracing::warn!(%error, "an alert was not recorded; it is looked at again");
        }
    }
}

/// Everything that stands now.
fn look(app: &App, open: &[Alert], journal: JournalSeen, now: UnixMillis) -> Found {
    let (ledger, treasury, rules) = (&app.ledger, &app.treasury, &app.config.treasury);
    let severity_of = |kind: AlertKind, subject: &str| {
        let named = |alert: &&Alert| alert.condition.kind == kind && alert.condition.subject == subject;
        open.iter().find(named).map(|alert| alert.condition.severity)
    };
    let mut found = Found::default();
    let is_caught_up = treasury.ready(ledger).is_ok();
    let is_fed = app.config.ur.feeds && app.config.ur.partner_key.is_some() && app.config.ur.ops_ur_id.is_some();
    for figures in ledger.pools() {
        if !is_unused(&figures, treasury.has_spent(figures.currency)) {
            let foreseen = treasury.foresee(ledger, &figures, now);
            let forecast = foreseen.forecast.as_ref().ok().filter(|_| is_caught_up);
            let told = severity_of(AlertKind::PoolLow, figures.currency.as_str());
            let low = pool_low(&foreseen.pool, forecast, told, &treasury.rules().thresholds);
            // Without the journal only what is dry is known, not what has eased.
            found.standing.extend(low.filter(|low| is_caught_up || low.severity == Severity::Critical));
        }
        found.standing.extend(floor_breached(&figures));
        if is_fed {
            found.standing.extend(report_stale(&figures, rules.report_stale_seconds, now));
        }
    }
    let calendar = treasury.calendar(ledger);
    for prefund in ledger.open_prefunds() {
        found.standing.extend(prefund_overdue(&prefund, &calendar, now));
        found.standing.extend(prefund_short(&prefund, now));
    }
    let breaks = ledger.open_breaks();
    found.standing.extend(drift(&breaks));
    found.standing.extend(stand_in(&breaks));
    found.standing.extend(break_ageing(&breaks, rules.break_ageing_days, now));
    found.standing.extend(journal_slow(journal));
    if is_caught_up {
        let outcomes = treasury.outcomes(now);
        let told = severity_of(AlertKind::DeclineSpike, "");
        found.standing.extend(decline_spike(&outcomes.declines(now), told));
        let approved = outcomes.approved_chf(now);
        found.standing.extend(hourly_cap(approved, rules.hourly_cap_chf, rules.hourly_cap_suspends));
    } else {
        found.unknown.extend(OF_THE_JOURNAL);
    }
    found
}

fn record(app: &App, step: Step, now: Moment) -> Result<(), ChangeError> {
    let ledger = &app.ledger;
    match step {
        Step::Raise(condition) => {
            let suspends = condition.kind == AlertKind::HourlyCap && app.config.treasury.hourly_cap_suspends;
            if suspends && !ledger.program().suspended {
                // Before the alert: if that is not recorded, both are tried again.
                let reason = condition.title.clone();
                ledger.change(&Author::Engine, Change::SuspendProgram { suspended: true, reason }, now)?;
                tracing::error!(reason = %condition.title, "the program is suspended by [treasury] hourly_cap_suspends");
            }
            tracing::warn!(kind = condition.kind.name(), subject = %condition.subject, "{}", condition.title);
            ledger.raise_alert(condition, now)?;
        }
        Step::Retell(id, condition) => drop(ledger.renotify_alert(id, condition, now)?),
        Step::Resolve(kind, subject) => {
            tracing::info!(kind = kind.name(), %subject, "an alert is over");
            ledger.resolve_alert(kind, &subject, now)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
