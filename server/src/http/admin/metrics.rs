//! `/metrics`: counters, and figures read on request.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderValue};
use metrics::gauge;
use tapgate_engine::fact::Severity;
use tapgate_engine::money::Minor;
use tapgate_engine::rows::PoolFigures;
use tapgate_engine::time::UnixMillis;

use super::Admin;
use crate::http::context::App;
use crate::http::problem::Problem;

/// How long a text is shown before it is rendered again: whoever scrapes, and how often, it costs the same.
const KEPT: Duration = Duration::from_secs(1);

/// The latest text. Who asks while it is rendered waits for it.
#[derive(Default)]
pub(super) struct Latest {
    text: Bytes,
    /// Since the process started; `None`: there is none yet.
    at: Option<Duration>,
    number: u64,
}

pub(super) async fn show(State(admin): State<Admin>) -> Result<Response, Problem> {
    let mut latest = admin.metrics.lock().await;
    let now = admin.app.clock.running();
    if latest.at.is_none_or(|at| now.saturating_sub(at) >= KEPT) {
        let app = Arc::clone(&admin.app);
        // Forecasts take long, and neither decisions nor changes may wait for them.
        let text = admin.reads.at_once(async move { render(&app) }).await?;
        *latest = Latest { text: text.into(), at: Some(now), number: latest.number + 1 };
    }
    let mut response = Response::new(Body::from(latest.text.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
    // Tells whether it was rendered anew.
    let tag = HeaderValue::try_from(format!("\"{}\"", latest.number)).map_err(|_| Problem::Internal)?;
    headers.insert(ETAG, tag);
    Ok(response)
}

/// The text of `/metrics`. Reads here the figures that the ledger keeps anyway, so that decisions pay nothing for them.
fn render(app: &App) -> String {
    let journal = app.ledger.journal();
    gauge!("tapgate_journal_sequence", "kind" => "claimed").set(figure(journal.claimed().0));
    gauge!("tapgate_journal_sequence", "kind" => "durable").set(figure(journal.durable().0));
    gauge!("tapgate_ready").set(f64::from(u8::from(app.health.ready().is_ok())));
    gauge!("tapgate_clock_trusted").set(f64::from(u8::from(app.clock.now().trusted)));
    gauge!("tapgate_users").set(figure(app.ledger.user_count() as u64));
    let alerts = app.ledger.open_alerts();
    for severity in Severity::ALL {
        let open = alerts.iter().filter(|alert| alert.condition.severity == *severity).count();
        gauge!("tapgate_alerts_open", "severity" => severity.name()).set(figure(open as u64));
    }
    for pool in app.ledger.pools() {
        let currency = pool.currency.to_string();
        let set = |name: &'static str, amount: Minor| {
            let magnitude = figure(amount.0.unsigned_abs());
            gauge!(name, "currency" => currency.clone()).set(if amount.0 < 0 { -magnitude } else { magnitude });
        };
        set("tapgate_pool_available", pool.available);
        set("tapgate_pool_held", pool.held);
        set("tapgate_pool_upcharged", pool.upcharged);
        set("tapgate_pool_reserve", pool.reserve);
        let tiers = app.ledger.policy().stress.iter().filter(|tier| tier.is_in_force(pool.available, pool.reserve));
        gauge!("tapgate_pool_stress_tiers", "currency" => currency.clone()).set(figure(tiers.count() as u64));
        gauge!("tapgate_pool_reported_timestamp_seconds", "currency" => currency.clone())
            .set(figure(pool.reported_at.0 / 1000));
        show_forecast(app, &pool);
    }
    app.metrics.render()
}

/// A pool's forecast; NaN without one.
fn show_forecast(app: &App, figures: &PoolFigures) {
    let now = app.ledger.time(app.clock.now().at);
    let pool_forecast =
        app.treasury.ready(&app.ledger).ok().map(|()| app.treasury.forecast_pool(&app.ledger, figures, now));
    let forecast = pool_forecast.as_ref().and_then(|pool_forecast| pool_forecast.forecast.as_ref().ok());
    let set = |name: &'static str, value: Option<f64>| {
        gauge!(name, "currency" => figures.currency.to_string()).set(value.unwrap_or(f64::NAN));
    };
    let runs_dry = forecast.map(|forecast| {
        let left = |at: UnixMillis| Duration::from_millis(at.0.saturating_sub(now.0)).as_secs_f64();
        forecast.runs_dry_at.map_or(f64::INFINITY, left)
    });
    set("tapgate_pool_runs_dry_seconds", runs_dry);
    set("tapgate_pool_probability_empty", forecast.map(|forecast| forecast.probability_empty));
    set("tapgate_pool_burn_per_hour", pool_forecast.as_ref().and_then(|pool_forecast| pool_forecast.burn_per_hour));
    set("tapgate_pool_suggested", forecast.map(|forecast| figure(forecast.suggested.0.unsigned_abs())));
}

/// Prometheus knows only floating point: exact up to 2^53, above any amount (at most 10^15).
#[expect(clippy::cast_precision_loss, reason = "a metric is read by people and alerts, never booked")]
fn figure(number: u64) -> f64 {
    number as f64
}
