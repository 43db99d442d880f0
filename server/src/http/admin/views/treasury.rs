//! Forecasts and statements.

use serde_json::{Map, Value, json};
use tapgate_engine::fact::Day;
use tapgate_engine::money::Currency;
use tapgate_engine::time::UnixMillis;

use crate::treasury::follow::PoolForecast;
use crate::treasury::forecast::{Forecast, TopUp};
use crate::treasury::level::Level;
use crate::treasury::statement::Statement;
use crate::wire::date_of;

/// A pool's forecast at `now`. `level` is the alert's level, with hysteresis.
#[must_use]
pub(in crate::http::admin) fn forecast_view(
    pool_forecast: &PoolForecast,
    forecast: &Forecast,
    level: Level,
    now: UnixMillis,
) -> Value {
    let pool = &pool_forecast.pool;
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
        "burnPerHour": pool_forecast.burn_per_hour.map(|burn| format!("{burn:.0}")),
        "reorderPoint": forecast.reorder_point.to_string(),
        "suggested": forecast.suggested.to_string(),
        "cutOff": forecast.window.cut_off.seconds().0,
        "creditedAt": forecast.window.credited_at.seconds().0,
        "nextCutOff": forecast.next_window.cut_off.seconds().0,
        "nextCreditedAt": forecast.next_window.credited_at.seconds().0,
        "why": forecast.why,
    })
}

/// A pool's day: the opening balance and all lines add up to the closing balance.
#[must_use]
pub(in crate::http::admin) fn statement_view(
    currency: Currency,
    day: Day,
    statement: &Statement,
    is_over: bool,
) -> Value {
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

#[cfg(test)]
mod tests {
    use tapgate_engine::money::Minor;

    use super::*;
    use crate::treasury::calendar::Window;
    use crate::treasury::forecast::PoolNow;

    const NOW: UnixMillis = UnixMillis(1_789_113_600_000);

    #[test]
    fn a_forecast_shows_all_that_it_rests_on() {
        let window = |hours: u64| Window {
            cut_off: UnixMillis(NOW.0 + hours * 3_600_000),
            credited_at: UnixMillis(NOW.0 + (hours + 4) * 3_600_000),
            why: String::new(),
        };
        let forecast = Forecast {
            window: window(4),
            next_window: window(76),
            expected_spend: Minor(800),
            sigma: Minor(50),
            probability_empty: 0.25,
            probability_unavoidable: 0.0,
            runs_dry_at: None,
            reorder_point: Minor(1_050),
            suggested: Minor(900),
            level: Level::Urgent,
            why: "Because.".to_owned(),
        };
        let in_flight = vec![TopUp { amount: Minor(5), credited_at: NOW }];
        let pool = PoolNow { currency: Currency::EUR, available: Minor(700), reserve: Minor(10), in_flight };
        let pool_forecast = PoolForecast { pool, forecast: Ok(forecast.clone()), burn_per_hour: Some(9.6) };
        let expected = json!({
            "currency": "EUR", "at": 1_789_113_600, "available": "700", "reserve": "10",
            "inFlight": [{"amount": "5", "creditedAt": 1_789_113_600, "overdue": true}],
            "level": "critical", "probabilityEmpty": 0.25, "probabilityUnavoidable": 0.0, "runsDryAt": null,
            "expectedSpend": "800", "sigma": "50", "burnPerHour": "10", "reorderPoint": "1050", "suggested": "900",
            "cutOff": 1_789_128_000, "creditedAt": 1_789_142_400, "nextCutOff": 1_789_387_200,
            "nextCreditedAt": 1_789_401_600, "why": "Because.",
        });
        assert_eq!(forecast_view(&pool_forecast, &forecast, Level::Critical, NOW), expected);
    }
}
