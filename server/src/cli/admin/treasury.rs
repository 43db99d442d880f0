//! Forecasts and statements of a pool, for people.

use serde::Deserialize;

use crate::cli::ui::amounts::{amount, figure};
use crate::cli::ui::screen::{Screen, Text};
use crate::cli::ui::table::{fields, left, right, table};
use crate::cli::ui::when;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::cli) struct Forecast {
    currency: Text,
    at: i64,
    available: Text,
    reserve: Text,
    in_flight: Vec<TopUp>,
    level: Text,
    probability_empty: f64,
    runs_dry_at: Option<i64>,
    expected_spend: Text,
    sigma: Text,
    burn_per_hour: Option<Text>,
    reorder_point: Text,
    suggested: Text,
    cut_off: i64,
    credited_at: i64,
    next_credited_at: i64,
    why: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TopUp {
    amount: Text,
    credited_at: i64,
    overdue: bool,
}

/// The action comes first.
pub(in crate::cli) fn forecast(forecast: &Forecast, screen: Screen) -> String {
    let currency = forecast.currency.as_str();
    let money = |minor: &Text| amount(minor.as_str(), currency);
    let in_time = |at: i64| format!("{}, in {}", when::utc(at), when::duration(at.saturating_sub(forecast.at)));
    let nothing = forecast.suggested.as_str() == "0";
    let send = format!("{} before {}", money(&forecast.suggested), in_time(forecast.cut_off));
    let mut named = vec![
        ("send", if nothing { "nothing before the coming cut-off".to_owned() } else { send }),
        ("then credited", in_time(forecast.credited_at)),
        ("available", format!("{}, of that in reserve {}", money(&forecast.available), money(&forecast.reserve))),
        (
            "expected to be spent",
            format!("{} until {}", money(&forecast.expected_spend), in_time(forecast.next_credited_at)),
        ),
        ("give or take", money(&forecast.sigma)),
        ("probability of running dry", format!("{:.1} %", forecast.probability_empty * 100.0)),
        ("runs dry", forecast.runs_dry_at.map_or("not within eight weeks".to_owned(), in_time)),
        ("reorder point", money(&forecast.reorder_point)),
    ];
    named.extend(forecast.burn_per_hour.as_ref().map(|burn| ("spent in an hour", money(burn))));
    for TopUp { amount, credited_at, overdue } in &forecast.in_flight {
        let name = if *overdue { "overdue" } else { "on its way" };
        named.push((name, format!("{}, expected {}", money(amount), when::utc(*credited_at))));
    }
    let level = forecast.level.as_str();
    let level = if level == "none" { screen.good(level) } else { screen.bad(level) };
    format!("pool {currency} {level}\n{}\n{}\n", fields(&named), forecast.why)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Statement {
    currency: Text,
    day: Text,
    opening: Text,
    lines: Lines,
    closing: Text,
    over: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Lines {
    approvals: Text,
    given_back: Text,
    over_captures: Text,
    refunds: Text,
    credits: Text,
    reports: Text,
    floors: Text,
}

/// In the form of a bank statement.
pub(in crate::cli) fn statement(statement: &Statement, screen: Screen) -> String {
    let Statement { currency, day, opening, lines, closing, over } = statement;
    let end = if *over { "closing" } else { "now" };
    let rows = [
        ("opening", opening),
        ("approvals", &lines.approvals),
        ("given back", &lines.given_back),
        ("over-captures", &lines.over_captures),
        ("refunds", &lines.refunds),
        ("credits", &lines.credits),
        ("reports, unexplained", &lines.reports),
        ("changes of the floor", &lines.floors),
        (end, closing),
    ];
    let row = |(name, minor): (&str, &Text)| vec![left(name), right(&figure(minor.as_str(), currency.as_str()))];
    let heading = format!("pool {currency}, {day}");
    table(screen, &[&heading, currency.as_str()], rows.into_iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_reads_as_a_banks() {
        let answer = r#"{"currency":"EUR","day":"2026-11-20","opening":"100000","lines":{"approvals":"-1250","givenBack":"500",
            "overCaptures":"-10","refunds":"0","credits":"5000","reports":"0","floors":"0"},"closing":"104240","over":true}"#;
        let shown = statement(&serde_json::from_str(answer).unwrap(), Screen::plain());
        let expected = "pool EUR, 2026-11-20      EUR\nopening               1000.00\napprovals              -12.50\n\
                        given back               5.00\nover-captures           -0.10\nrefunds                  0.00\n\
                        credits                 50.00\nreports, unexplained     0.00\nchanges of the floor     0.00\n\
                        closing               1042.40\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_forecast_says_what_to_do_first() {
        let answer = r#"{"currency":"EUR","at":1789113600,"available":"700000","reserve":"0","level":"urgent","suggested":"900000",
            "probabilityEmpty":0.62,"runsDryAt":1789391600,"cutOff":1789128000,"creditedAt":1789142400,"nextCreditedAt":1789401600,
            "expectedSpend":"800000","sigma":"50000","burnPerHour":"10000","reorderPoint":"1000000",
            "inFlight":[{"amount":"1000","creditedAt":1789000000,"overdue":true}],"why":"Because."}"#;
        let shown = forecast(&serde_json::from_str(answer).unwrap(), Screen::plain());
        let mut lines = shown.lines();
        assert_eq!(lines.next(), Some("pool EUR urgent"));
        assert!(
            lines.next().is_some_and(|line| line.contains("9000.00 EUR before 2026-09-11 12:00:00 UTC, in 4 h")),
            "{shown}"
        );
        assert!(shown.contains("62.0 %") && shown.contains("overdue") && shown.ends_with("Because.\n"), "{shown}");
    }
}
