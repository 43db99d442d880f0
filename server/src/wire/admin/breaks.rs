//! Breaks in the admin API.

use serde_json::{Value, json};
use tapgate_engine::fact::{Closing, Discrepancy};
use tapgate_engine::rows::Break;
use tapgate_engine::time::UnixMillis;

const DAY_MILLIS: u64 = 86_400_000;

/// A break: the field, our value and theirs, and its age.
#[must_use]
pub fn view(found: &Break, now: UnixMillis) -> Value {
    let mut view = difference(&found.discrepancy);
    if let Some(fields) = view.as_object_mut() {
        let resolved = found.resolved.as_ref();
        let until = resolved.map_or(now, |resolved| resolved.at);
        let age = until.0.saturating_sub(found.opened_at.0);
        fields.insert("id".to_owned(), found.id.to_string().into());
        fields.insert("openedAt".to_owned(), found.opened_at.seconds().0.into());
        fields.insert("ageSeconds".to_owned(), (age / 1_000).into());
        fields.insert("age".to_owned(), bucket(age).into());
        fields.insert("state".to_owned(), if resolved.is_some() { "resolved" } else { "open" }.into());
        fields.insert(
            "resolution".to_owned(),
            resolved.map_or(Value::Null, |resolved| {
                json!({
                    "at": resolved.at.seconds().0, "by": resolved.by.as_str(), "reason": resolved.reason.as_str(),
                    "outcome": resolved.outcome.map(Closing::name),
                })
            }),
        );
    }
    view
}

pub(super) fn difference(discrepancy: &Discrepancy) -> Value {
    let Discrepancy { kind, subject, field, ours, theirs } = discrepancy;
    json!({
        "kind": kind.name(), "subject": subject.as_str(), "field": field.as_str(), "ours": ours.as_str(),
        "theirs": theirs.as_str(),
    })
}

/// Age buckets in days: 0–1, 1–3, 3–7, more.
fn bucket(age_millis: u64) -> &'static str {
    match age_millis / DAY_MILLIS {
        0 => "0-1",
        1..=2 => "1-3",
        3..=6 => "3-7",
        _ => ">7",
    }
}
