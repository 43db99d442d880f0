//! Forecasts and statements as the admin API shows them.

use serde_json::{Map, Value, json};
use tapgate_engine::closure::Day;
use tapgate_engine::money::Currency;
use tapgate_engine::time::UnixMillis;

use crate::treasury::calendar::date_of;
use crate::treasury::follow::Foreseen;
use crate::treasury::forecast::{Forecast, TopUp};
use crate::treasury::level::Level;
use crate::treasury::statement::Statement;

/// A pool's forecast at `now`. The level is the alert's, with its hysteresis.
#[must_use]
pub fn forecast_view(foreseen: &Foreseen, forecast: &Forecast, level: Level, now: UnixMillis) -> Value {
    let pool = &foreseen.pool;
    let top_up = |top_up: &TopUp| {
        let is_overdue = top_up.credited_at <= now;
        json!({
            "amount": top_up.amount.to_string(), "creditedAt": top_up.credited_at.seconds().0, "overdue": is_overdue,
        })
    };
    json!({
        "currency": pool.currency.as_str(),
        "at": now.seconds().0,
        "available": pool.available.to_string(),
        "reserve": pool.reserve.to_string(),
        "inFlight": pool.in_flight.iter().map(top_up).collect::<Vec<_>>(),
        "level": level.name(),
        "probabilityEmpty": forecast.probability_empty,
        "probabilityUnavoidable": forecast.probability_unavoidable,
        "runsDryAt": forecast.runs_dry_at.map(|at| at.seconds().0),
        "expectedSpend": forecast.expected_spend.to_string(),
        "sigma": forecast.sigma.to_string(),
        "burnPerHour": foreseen.burn_per_hour.map(|burn| format!("{burn:.0}")),
        "reorderPoint": forecast.reorder_point.to_string(),
        "suggested": forecast.suggested.to_string(),
        "cutOff": forecast.window.cut_off.seconds().0,
        "creditedAt": forecast.window.credited_at.seconds().0,
        "nextCutOff": forecast.next_window.cut_off.seconds().0,
        "nextCreditedAt": forecast.next_window.credited_at.seconds().0,
        "why": forecast.why,
    })
}

/// A pool's day; opening and all lines together are closing.
#[must_use]
pub fn statement_view(currency: Currency, day: Day, statement: &Statement, is_over: bool) -> Value {
    let lines = statement.lines.named().into_iter().map(|(name, change)| (name.to_owned(), change.to_string().into()));
    json!({
        "currency": currency.as_str(),
        "day": date_of(day).map(|date| date.to_string()),
        "opening": statement.opening.to_string(),
        "lines": lines.collect::<Map<_, _>>(),
        "closing": statement.closing.to_string(),
        "over": is_over,
    })
}
