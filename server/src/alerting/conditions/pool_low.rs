//! A pool that may run dry before a top-up sent now is credited.

use compact_str::{CompactString, format_compact};
use tapgate_engine::fact::{AlertKind, Condition, Severity};

use super::{facts, figure};
use crate::treasury::forecast::{Forecast, NoForecast, PoolNow};
use crate::treasury::level::Level;

/// The condition of a pool at a level; `forecast` is `None` until the journal is read.
#[must_use]
pub fn pool_low(pool: &PoolNow, forecast: Option<&Result<Forecast, NoForecast>>, level: Level) -> Option<Condition> {
    let severity = level.severity()?;
    let currency = pool.currency;
    let title = match severity {
        Severity::Notice | Severity::Warning => format_compact!("The {currency} pool needs a top-up soon"),
        Severity::Urgent => format_compact!("The {currency} pool needs a top-up now"),
        Severity::Critical => format_compact!("The {currency} pool is empty: taps are declined"),
    };
    let text = match forecast {
        Some(Ok(forecast)) => forecast.why.as_str().into(),
        Some(Err(unforeseeable)) => format_compact!("How much to send cannot be said: {unforeseeable}."),
        None => CompactString::const_new("How much to send cannot be said before the journal is read."),
    };
    let mut facts = facts([("available", figure(pool.available, currency))]);
    facts.extend(
        forecast.and_then(|forecast| forecast.as_ref().ok()).into_iter().flat_map(|known| figures(pool, known)),
    );
    Some(Condition { kind: AlertKind::PoolLow, subject: currency.as_str().into(), severity, title, text, facts })
}

fn figures(pool: &PoolNow, forecast: &Forecast) -> Vec<(CompactString, CompactString)> {
    let currency = pool.currency;
    let mut figures = facts([
        ("probability_empty", format_compact!("{:.4}", forecast.probability_empty)),
        ("expected_spend", figure(forecast.expected_spend, currency)),
        ("suggested", figure(forecast.suggested, currency)),
        ("cut_off", format_compact!("{}", forecast.window.cut_off.seconds().0)),
    ]);
    if let Some(at) = forecast.runs_dry_at {
        figures.extend(facts([("runs_dry_at", format_compact!("{}", at.seconds().0))]));
    }
    figures
}

#[cfg(test)]
mod tests {
    use tapgate_engine::money::{Currency, Minor};
    use tapgate_engine::time::UnixMillis;

    use super::*;
    use crate::treasury::calendar::tests::zurich;

    fn forecast(probability_empty: f64) -> Forecast {
        let window = zurich().window(UnixMillis(1_789_113_600_000)).unwrap();
        Forecast {
            next_window: window.clone(),
            window,
            expected_spend: Minor(7),
            sigma: Minor(1),
            probability_empty,
            probability_unavoidable: 0.0,
            runs_dry_at: Some(UnixMillis(2_000)),
            reorder_point: Minor(10),
            suggested: Minor(12),
            level: Level::None,
            why: "Because.".to_owned(),
        }
    }

    #[test]
    fn the_text_names_what_is_unknown() {
        let pool = PoolNow { currency: Currency::EUR, available: Minor(500), reserve: Minor(0), in_flight: Vec::new() };
        let check = |forecast: Option<NoForecast>, level: Level, expected: Option<(Severity, &str)>| {
            let found = pool_low(&pool, forecast.map(Err).as_ref(), level);
            let said = found.as_ref().map(|found| (found.severity, found.text.as_str()));
            assert_eq!(said, expected);
        };
        check(None, Level::None, None);
        check(
            None,
            Level::Critical,
            Some((Severity::Critical, "How much to send cannot be said before the journal is read.")),
        );
        check(
            Some(NoForecast::NoWindow { probability_empty: 1.0 }),
            Level::Urgent,
            Some((
                Severity::Urgent,
                "How much to send cannot be said: no day is open for credits within 400 days: look at the closures and \
                 holidays of [treasury].",
            )),
        );
    }

    #[test]
    fn the_text_names_cause_and_amount() {
        let pool = PoolNow { currency: Currency::EUR, available: Minor(500), reserve: Minor(0), in_flight: Vec::new() };
        let found = pool_low(&pool, Some(&Ok(forecast(0.5))), Level::Urgent).unwrap();
        assert_eq!((found.title.as_str(), found.text.as_str()), ("The EUR pool needs a top-up now", "Because."));
        let value = |name: &str| found.facts.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!((value("available"), value("suggested")), (Some("500 EUR"), Some("12 EUR")));
        assert_eq!((value("probability_empty"), value("runs_dry_at")), (Some("0.5000"), Some("2")));
    }
}
