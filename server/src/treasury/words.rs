//! A forecast in words, for the treasurer.

use std::fmt::Write as _;

use tapgate_engine::money::Minor;
use tapgate_engine::time::UnixMillis;

use super::calendar::CreditCalendar;
use super::forecast::{Forecast, PoolNow};

/// The reason to send money now, or not to.
pub(super) fn why(forecast: &Forecast, calendar: &CreditCalendar, pool: &PoolNow, now: UnixMillis) -> String {
    let amount = |amount: Minor| format!("{} {}", major(amount), pool.currency);
    let (window, next_window) = (&forecast.window, &forecast.next_window);
    let cut_off = calendar.wall_time(window.cut_off);
    let is_last = calendar.next_gap(now).is_some_and(|gap| gap.last_cut_off == window.cut_off);
    let mut why = if is_last {
        format!("{cut_off} is the last cut-off before {}", calendar.weekday(next_window.cut_off))
    } else {
        format!("the next cut-off is {cut_off}, the one after it {}", calendar.wall_time(next_window.cut_off))
    };
    _ = write!(
        why,
        "; expected spend until the later one credits, {}: {}, give or take {}; to spend: {}",
        calendar.wall_time(next_window.credited_at),
        amount(forecast.expected_spend),
        amount(forecast.sigma),
        amount(pool.spendable()),
    );
    for top_up in &pool.in_flight {
        let expected = if top_up.credited_at > now { "expected" } else { "overdue since" };
        _ = write!(why, ", {} {expected} {}", amount(top_up.amount), calendar.wall_time(top_up.credited_at));
    }
    _ = write!(why, "; probability of running dry before: {}", percent(forecast.probability_empty));
    if let Some(at) = forecast.runs_dry_at {
        _ = write!(why, ", as likely as not by {}", calendar.wall_time(at));
    }
    if forecast.suggested > Minor::ZERO {
        _ = write!(why, ". Send {}: {}", amount(forecast.suggested), window.why);
    } else {
        _ = write!(why, ". Nothing needs to be sent before this cut-off");
    }
    why
}

/// Whole units with separated thousands, rounded down: estimates have no cents. Every currency in which UR holds a pool
/// has two decimals (docs/ur-facts.md, token decimals).
pub(crate) fn major(amount: Minor) -> String {
    let digits = amount.0.div_euclid(100).unsigned_abs().to_string();
    let mut grouped = if amount.0 < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn percent(probability: f64) -> String {
    match probability * 100.0 {
        percent if percent < 0.1 => "under 0.1 %".to_owned(),
        percent if percent < 10.0 => format!("{percent:.1} %"),
        percent if percent > 99.0 => "over 99 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_probabilities_as_people_read_them() {
        let check = |amount: i64, expected: &str| assert_eq!(major(Minor(amount)), expected);
        check(0, "0");
        check(99, "0");
        check(123_456_789, "1,234,567");
        check(100_000, "1,000");
        check(-1, "-1");
        check(-10_000_000, "-100,000");
        assert_eq!([0.0, 0.0123, 0.456, 1.0].map(percent), ["under 0.1 %", "1.2 %", "46 %", "over 99 %"]);
    }
}
