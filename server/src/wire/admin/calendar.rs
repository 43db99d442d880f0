//! The calendar in the admin API: views and requests.

use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Value, json};
use tapgate_engine::fact::{Closed, Day};
use tapgate_engine::ids::ClosureId;
use tapgate_engine::ledger::ClosureChange;
use tapgate_engine::money::Currency;
use tapgate_engine::time::UnixMillis;

use super::Malformed;
use crate::treasury::calendar::{CreditCalendar, Window, date_of, day_of};

#[must_use]
pub fn closed(closed: &Closed) -> Value {
    json!({"from": date(closed.from), "through": date(closed.through), "reason": closed.reason.as_str()})
}

/// A closure with its id.
#[must_use]
pub fn closure(id: ClosureId, closed: &Closed) -> Value {
    json!({
        "id": id.to_string(), "from": date(closed.from), "through": date(closed.through),
        "reason": closed.reason.as_str(),
    })
}

fn date(day: Day) -> Option<String> {
    date_of(day).map(|date| date.to_string())
}

/// A day such as `2026-12-24`.
///
/// # Errors
/// Any other form, or a day before 1970.
pub fn day(field: &str, text: &str) -> Result<Day, Malformed> {
    let has_form = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let date = text.parse::<Date>().ok().filter(|_| has_form);
    date.and_then(day_of).ok_or_else(|| Malformed(format!("{field} must be a day such as 2026-12-24")))
}

/// Days without credits.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosureForm {
    from: String,
    through: Option<String>,
    reason: String,
}

impl ClosureForm {
    /// Without a last day, the closure is one day.
    ///
    /// # Errors
    /// A day is of the wrong form.
    pub fn change(self) -> Result<ClosureChange, Malformed> {
        let from = day("from", &self.from)?;
        let through = self.through.map_or(Ok(from), |through| day("through", &through))?;
        Ok(ClosureChange::Add(Closed { from, through, reason: self.reason.into() }))
    }
}

/// Closures are shown for a year ahead.
const DAYS_SHOWN: usize = 366;
const CUT_OFFS_SHOWN: usize = 5;

/// The calendar at `now`: UR's hours of operation, the closures within a year, and the next cut-offs, which are the
/// same for every pool.
#[must_use]
pub fn view(calendar: &CreditCalendar, closures: &[(ClosureId, Closed)], pools: &[Currency], now: UnixMillis) -> Value {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_one_form() {
        assert_eq!(day("day", "1970-01-02"), Ok(Day(1)));
        assert_eq!(date_of(day("day", "2026-12-24").unwrap()).unwrap().to_string(), "2026-12-24");
        for bad in ["", "2026-02-30", "20261224", "2026-12-24T00:00", "1969-12-31", "24.12.2026", "+002026-12-24"] {
            assert!(day("day", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_closure_without_a_last_day_is_one_day() {
        let added = |body: &str| {
            let ClosureChange::Add(closed) = super::super::parse::<ClosureForm>(body.as_bytes())?.change()? else {
                return Err(Malformed("no closure is added".to_owned()));
            };
            Ok(super::closed(&closed))
        };
        let one = json!({"from": "2026-12-24", "through": "2026-12-24", "reason": "UR closes early"});
        assert_eq!(added(r#"{"from":"2026-12-24","reason":"UR closes early"}"#), Ok(one));
        for bad in
            [r#"{"from":"2026-12-24"}"#, r#"{"from":"soon","reason":"x"}"#, r#"{"from":"2026-12-24","until":"x"}"#]
        {
            assert!(added(bad).is_err(), "{bad}");
        }
    }
}
