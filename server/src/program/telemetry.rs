//! Logs for the operator at night, and the metrics' names (`docs/metrics.md`).

use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tapgate_engine::fact::Severity;
use tapgate_engine::money::Minor;
use tapgate_engine::rows::PoolFigures;
use tapgate_engine::time::UnixMillis;
use tracing_subscriber::EnvFilter;

use crate::http::context::App;

/// Upper bounds of the decision histogram, in seconds: from a decision in memory to UR's 500 ms.
const DECISION_BUCKETS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.5];

/// Upper bounds of the histogram of calls to UR, in seconds: from its nearest answer to the client's patience.
const CALL_BUCKETS: [f64; 10] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0];

/// Logs to stderr; `TAPGATE_LOG` filters as `RUST_LOG` does elsewhere, `level` where it says nothing.
pub fn start_logging(level: &str) {
    let filter = EnvFilter::try_from_env("TAPGATE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let logging = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process keeps the first.
    let _ = logging.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init();
}

/// Installs the recorder of metrics.
///
/// # Errors
/// One is installed already.
pub fn start_metrics() -> Result<PrometheusHandle, BuildError> {
    let decision = Matcher::Full("tapgate_decision_seconds".to_owned());
    let call = Matcher::Full("tapgate_ur_call_seconds".to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(decision, &DECISION_BUCKETS)?;
    let handle = builder.set_buckets_for_metric(call, &CALL_BUCKETS)?.install_recorder()?;
    describe();
    Ok(handle)
}

fn describe() {
    describe_counter!("tapgate_decisions_total", "Answers to authorization callbacks, by outcome, reason and source");
    describe_histogram!(
        "tapgate_decision_seconds",
        Unit::Seconds,
        "From the first byte of an authorization callback to its durable answer"
    );
    describe_counter!("tapgate_events_total", "Signed events of UR's, by name");
    describe_counter!("tapgate_http_requests_total", "HTTP requests, by listener and status code");
    describe_gauge!("tapgate_journal_sequence", "The last record claimed and the last one durable, by kind");
    describe_gauge!("tapgate_ready", "1 while /readyz says yes, else 0");
    describe_gauge!("tapgate_clock_trusted", "0 once wall time has jumped: every decision is declined state_stale");
    describe_gauge!("tapgate_users", "Users imported");
    describe_gauge!("tapgate_feed_age_seconds", Unit::Seconds, "Since a feed was last read from UR");
    describe_gauge!("tapgate_feed_users_behind_seconds", Unit::Seconds, "How long the account asked about now was due");
    describe_gauge!("tapgate_sweeps_waiting", "Accounts of which UR has something to show yet");
    describe_gauge!("tapgate_sweeps_due", "Accounts whose sweep is due now");
    describe_counter!("tapgate_ur_calls_total", "Calls to UR, by path and outcome");
    describe_histogram!("tapgate_ur_call_seconds", Unit::Seconds, "From sending a call to UR to its whole answer");
    describe_gauge!("tapgate_ur_paused", "1 while UR is not asked because it failed repeatedly");
    describe_counter!("tapgate_ur_transactions_total", "Transactions that UR showed, by what they did");
    describe_counter!(
        "tapgate_prefund_ordered_micro_usdc_total",
        "Ordered from UR for automatic prefunds, in millionths of a USDC"
    );
    describe_counter!("tapgate_prefund_refusals_total", "Automatic prefunds that UR or a bound refused, by whom");
    describe_gauge!("tapgate_alerts_open", "Alerts whose condition lasts, acknowledged or not, by severity");
    describe_counter!("tapgate_delivery_attempts_total", "Attempts to deliver, by receiver and outcome");
    describe_gauge!("tapgate_delivery_lag_records", "Records between a receiver's position and the journal's last one");
    describe_gauge!(
        "tapgate_delivery_lag_seconds",
        Unit::Seconds,
        "Age of the oldest message that a receiver has not accepted"
    );
    describe_gauge!("tapgate_delivery_parked", "1 while nothing is sent to a receiver until a person resumes it");
    describe_gauge!("tapgate_pool_available", "What approvals may take from a pool, in its smallest unit");
    describe_gauge!("tapgate_pool_held", "Outstanding holds of a pool, in its smallest unit");
    describe_gauge!("tapgate_pool_reserve", "What approvals must leave in a pool, in its smallest unit");
    describe_gauge!(
        "tapgate_pool_runs_dry_seconds",
        Unit::Seconds,
        "Until a pool is as likely empty as not, if nothing more is sent; +Inf beyond eight weeks"
    );
    describe_gauge!(
        "tapgate_pool_probability_empty",
        "That a pool runs dry before money sent after the coming cut-off is credited"
    );
    describe_gauge!("tapgate_pool_burn_per_hour", "Expected spending of a pool in an hour, in its smallest unit");
    describe_gauge!("tapgate_pool_suggested", "What to send to a pool now, in its smallest unit");
    describe_gauge!(
        "tapgate_pool_reported_timestamp_seconds",
        Unit::Seconds,
        "When a pool's balance was last reported, unix time"
    );
}

/// The text of `/metrics`. Figures that the ledger keeps anyway are read here, so that deciding pays nothing for them.
#[must_use]
pub fn render(app: &App) -> String {
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
        set("tapgate_pool_reserve", pool.reserve);
        gauge!("tapgate_pool_reported_timestamp_seconds", "currency" => currency.clone())
            .set(figure(pool.reported_at.0 / 1000));
        tell_forecast(app, &pool);
    }
    app.metrics.render()
}

/// A pool's forecast; not a number while there is none.
fn tell_forecast(app: &App, figures: &PoolFigures) {
    let now = app.ledger.time(app.clock.now().at);
    let foreseen = app.treasury.ready(&app.ledger).ok().map(|()| app.treasury.foresee(&app.ledger, figures, now));
    let forecast = foreseen.as_ref().and_then(|foreseen| foreseen.forecast.as_ref().ok());
    let set = |name: &'static str, value: Option<f64>| {
        gauge!(name, "currency" => figures.currency.to_string()).set(value.unwrap_or(f64::NAN));
    };
    let runs_dry = forecast.map(|forecast| {
        let left = |at: UnixMillis| Duration::from_millis(at.0.saturating_sub(now.0)).as_secs_f64();
        forecast.runs_dry_at.map_or(f64::INFINITY, left)
    });
    set("tapgate_pool_runs_dry_seconds", runs_dry);
    set("tapgate_pool_probability_empty", forecast.map(|forecast| forecast.probability_empty));
    set("tapgate_pool_burn_per_hour", foreseen.as_ref().and_then(|foreseen| foreseen.burn_per_hour));
    set("tapgate_pool_suggested", forecast.map(|forecast| figure(forecast.suggested.0.unsigned_abs())));
}

/// Prometheus knows only floating point: exact up to 2^53, which amounts of at most 10^15 stay below.
#[expect(clippy::cast_precision_loss, reason = "a metric is read by people and alerts, never booked")]
fn figure(number: u64) -> f64 {
    number as f64
}
