//! The calendar in the admin API: views and requests.

use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Value, json};
use tapgate_engine::fact::{Closed, Day};
use tapgate_engine::ids::ClosureId;
use tapgate_engine::ledger::ClosureChange;

use super::Malformed;
use crate::wire::{date_of, day_of};

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
