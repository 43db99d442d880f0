//! The calendar of credits.

use serde_json::{Value, json};
use tapgate_engine::fact::Closed;
use tapgate_engine::ids::ClosureId;
use tapgate_engine::money::Currency;
use tapgate_engine::time::UnixMillis;

use crate::treasury::calendar::{CreditCalendar, Window};
use crate::wire::admin::calendar::closure;
use crate::wire::date_of;

/// Closures are shown for a year ahead.
const DAYS_SHOWN: usize = 366;
const CUT_OFFS_SHOWN: usize = 5;

/// The calendar at `now`: UR's hours of operation, the closures within a year, and the next cut-offs, which are the
/// same for every pool.
#[must_use]
pub(in crate::http::admin) fn view(
    calendar: &CreditCalendar,
    closures: &[(ClosureId, Closed)],
    pools: &[Currency],
    now: UnixMillis,
) -> Value {
    let today = date_of(calendar.day(now).0);
    let closed_days = today.into_iter().flat_map(|today| calendar.closed_days(today, DAYS_SHOWN));
    let windows = std::iter::successors(calendar.window(now), |window| calendar.window(window.cut_off));
    let shown = |window: Window| {
        json!({
            "cutOff": window.cut_off.seconds().0, "creditedAt": window.credited_at.seconds().0, "why": window.why,
        })
    };
    json!({
        "timeZone": calendar.zone_name(),
        "cutOff": calendar.cut_off.strftime("%H:%M").to_string(),
        "leadHours": calendar.lead_hours,
        "closedDays": closed_days.map(|(day, name)| json!({"day": day.to_string(), "name": name})).collect::<Vec<_>>(),
        "closures": closures.iter().map(|(id, closed)| closure(*id, closed)).collect::<Vec<_>>(),
        "cutOffs": windows.take(CUT_OFFS_SHOWN).map(shown).collect::<Vec<_>>(),
        "pools": pools.iter().map(|pool| pool.as_str()).collect::<Vec<_>>(),
    })
}
