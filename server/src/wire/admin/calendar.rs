//! The calendar as the admin API shows it, and what is asked about it.

use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Value, json};
use tapgate_engine::closure::{Closed, Day};
use tapgate_engine::ids::ClosureId;
use tapgate_engine::ledger::ClosureChange;

use super::Malformed;
use crate::treasury::calendar::{date_of, day_of};

/// Days that were added, or taken back.
#[must_use]
pub fn closed(closed: &Closed) -> Value {
    json!({"from": date(closed.from), "through": date(closed.through), "reason": closed.reason.as_str()})
}

/// The same with its id.
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

/// A day of a calendar, `2026-12-24`.
///
/// # Errors
/// Another form, or before 1970.
pub fn day(field: &str, text: &str) -> Result<Day, Malformed> {
    let has_form = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let date = text.parse::<Date>().ok().filter(|_| has_form);
    date.and_then(day_of).ok_or_else(|| Malformed(format!("{field} must be a day such as 2026-12-24")))
}

/// Days on which nothing is credited.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosureForm {
    from: String,
    through: Option<String>,
    reason: String,
}

impl ClosureForm {
    /// The change it asks for; one day where no last one is given.
    ///
    /// # Errors
    /// A day is of the wrong form.
    pub fn change(self) -> Result<ClosureChange, Malformed> {
        let from = day("from", &self.from)?;
        let through = self.through.map_or(Ok(from), |through| day("through", &through))?;
        Ok(ClosureChange::Add(Closed { from, through, reason: self.reason.into() }))
    }
}
