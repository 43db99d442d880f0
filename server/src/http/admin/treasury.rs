//! A pool's forecast, and its movements of a day.

use axum::Router;
use axum::routing::get;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use tapgate_engine::fact::AlertKind;
use tapgate_engine::money::Currency;

use super::auth::Access;
use super::views::treasury::{forecast_view, statement_view};
use super::{Admin, Answer, Gate, id, malformed, no_such};
use crate::http::context::App;
use crate::http::problem::Problem;
use crate::treasury::follow::CatchingUp;
use crate::treasury::level::Level;
use crate::wire::admin::calendar::day;

/// Queries treasury once it has read every durable record; off the async threads, which decide.
///
/// # Errors
/// The first read of the journal is still running, or the journal cannot be read; or the query's own error.
#[expect(clippy::disallowed_methods, reason = "reads of people, on threads of their own")]
async fn ask<T: Send + 'static>(
    admin: &Admin,
    asked: impl FnOnce(&App) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let app = Arc::clone(&admin.app);
    let answer = tokio::task::spawn_blocking(move || {
        let conflict = |behind: CatchingUp| Problem::Conflict(behind.to_string());
        app.treasury.ready(&app.ledger).map_err(conflict)?;
        app.treasury.catch_up(&app.ledger)?;
        asked(&app)
    });
    answer.await.map_err(|_| Problem::Internal)?
}

pub(super) fn routes(gate: &Gate) -> Router<Admin> {
    let read = Router::new()
        .route("/pools/{currency}/forecast", get(forecast))
        .route("/pools/{currency}/statement", get(statement));
    gate.admit(Access::Read, read)
}

async fn forecast(State(admin): State<Admin>, Path(code): Path<String>) -> Answer {
    let currency = id::<Currency>("pool", &code)?;
    let no_pool = move || no_such("pool", currency.as_str());
    admin.app.ledger.pool(currency).ok_or_else(no_pool)?;
    let shown = ask(&admin, move |app| {
        let now = app.ledger.time(app.clock.now().at);
        let figures = app.ledger.pool(currency).ok_or_else(no_pool)?;
        let pool_forecast = app.treasury.forecast_pool(&app.ledger, &figures, now);
        let forecast = pool_forecast.forecast.as_ref().map_err(|error| Problem::Conflict(error.to_string()))?;
        let open = app.ledger.open_alerts();
        let is_this = |kind: AlertKind, subject: &str| kind == AlertKind::PoolLow && subject == currency.as_str();
        let told = open.iter().find(|alert| is_this(alert.condition.kind, &alert.condition.subject));
        let told = Level::told(told.map(|alert| alert.condition.severity));
        let level = app.treasury.rules().thresholds.level_after(told, pool_forecast.pool.observation(forecast));
        Ok(forecast_view(&pool_forecast, forecast, level, now))
    });
    shown.await.map(Json)
}

/// The requested day; by default today.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    day: Option<String>,
}

async fn statement(
    State(admin): State<Admin>,
    Path(code): Path<String>,
    query: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    let Query(asked) = query.map_err(|error| Problem::Malformed(error.body_text()))?;
    let currency = id::<Currency>("pool", &code)?;
    admin.app.ledger.pool(currency).ok_or_else(|| no_such("pool", currency.as_str()))?;
    let asked = asked.day.map(|text| day("day", &text)).transpose().map_err(malformed)?;
    let shown = ask(&admin, move |app| {
        let now = app.ledger.time(app.clock.now().at);
        let today = app.treasury.calendar(&app.ledger).day(now).0;
        let day = asked.unwrap_or(today);
        let statement = app.treasury.statement(currency, day, now).ok_or_else(|| {
            Problem::NotFound(format!(
                "there is no statement of the pool {currency} for that day: nothing is known of it"
            ))
        })?;
        Ok(statement_view(currency, day, &statement, day < today))
    });
    shown.await.map(Json)
}
