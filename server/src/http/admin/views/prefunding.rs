//! Automatic prefunds.

use serde_json::{Value, json};

use crate::provider::prefunding::plan::Planned;
use crate::provider::prefunding::{AutoPrefund, Looked};

/// The next steps of automatic prefunds; `looked` is the job's last check.
#[must_use]
pub(in crate::http::admin) fn automatic_view(settings: &AutoPrefund, looked: Option<&Looked>) -> Value {
    let planned = |planned: &Planned| {
        json!({
            "currency": planned.currency.as_str(), "prefund": planned.prefund.map(|id| id.to_string()),
            "amount": planned.amount.map(|amount| amount.to_string()), "next": planned.step.name(),
            "refused": planned.is_refused, "why": planned.why,
        })
    };
    json!({
        "mode": settings.mode.name(),
        "dailyMaxUsdc": settings.daily_max.to_string(),
        "singleMaxUsdc": settings.single_max.to_string(),
        "quoteToleranceBps": settings.quote_tolerance_bps,
        "orderedTodayUsdc": looked.map(|looked| looked.ordered_today.to_string()),
        "dayEnds": looked.map(|looked| looked.day_ends.seconds().0),
        "at": looked.map(|looked| looked.at.seconds().0),
        "pools": looked.map(|looked| looked.planned.iter().map(planned).collect::<Vec<_>>()).unwrap_or_default(),
    })
}
