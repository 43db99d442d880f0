//! Logs for the operator, and the names of the metrics (`docs/metrics.md`).

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// Upper bounds of the decision histogram, in seconds: from a decision in memory to UR's 500 ms.
const DECISION_BUCKETS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.5];

/// Upper bounds of the histogram of calls to UR, in seconds: from its fastest answer to the client's timeout.
const CALL_BUCKETS: [f64; 10] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0];

/// Logs to stderr; `TAPGATE_LOG` filters like `RUST_LOG`, `level` applies without it.
pub fn start_logging(level: &str) {
    let filter = EnvFilter::try_from_env("TAPGATE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let logging = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process keeps the first subscriber.
    let _ = logging.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init();
}

/// Installs the recorder of metrics.
///
/// # Errors
/// A recorder is installed already.
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
        "From the arrival of an authorization callback to its durable answer"
    );
    describe_counter!("tapgate_events_total", "Signed events of UR's, by name");
    describe_counter!("tapgate_http_requests_total", "HTTP requests, by listener and status code");
    describe_gauge!("tapgate_journal_sequence", "The last record claimed and the last one durable, by kind");
    describe_counter!("tapgate_scrub_passes_total", "Times that the store was read through");
    describe_counter!("tapgate_scrub_damages_total", "Parts of the store that the disk has changed, at each pass");
    describe_gauge!("tapgate_ready", "1 while /readyz says yes, else 0");
    describe_gauge!("tapgate_clock_trusted", "0 once wall time has jumped: every decision is declined state_stale");
    describe_gauge!("tapgate_users", "Users imported");
    describe_gauge!("tapgate_feed_age_seconds", Unit::Seconds, "Since a feed was last read from UR");
    describe_gauge!("tapgate_feed_users_behind_seconds", Unit::Seconds, "How long the account asked about now was due");
    describe_gauge!("tapgate_sweeps_waiting", "Accounts of which UR has something to show yet");
    describe_gauge!("tapgate_sweeps_due", "Accounts whose sweep is due now");
    describe_counter!("tapgate_ur_calls_total", "Calls to UR, by path and outcome");
    describe_counter!("tapgate_ur_unreadable_total", "Values of UR that could not be read, by endpoint");
    describe_counter!("tapgate_rates_implausible_total", "Rates of UR that were not used");
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
    describe_gauge!("tapgate_pool_upcharged", "Held above a pool's approved amounts, in its smallest unit");
    describe_gauge!("tapgate_pool_reserve", "What approvals must leave in a pool, in its smallest unit");
    describe_gauge!("tapgate_pool_stress_tiers", "Stress tiers in force on a pool");
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
