//! Receivers of deliveries as the admin API shows them, and what is asked of them.

use serde::Deserialize;
use serde_json::{Value, json};
use tapgate_engine::ids::Sequence;
use tapgate_engine::time::UnixMillis;

use super::{Digits, Malformed};
use crate::deliver::Place;
use crate::deliver::tail::State;
use crate::deliver::worker::Status;

/// A receiver, as it is known without looking at it.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Its name.
    pub name: &'a str,
    /// `webhook`, `slack`, `pagerduty` or `smtp`.
    pub kind: &'a str,
    /// Where it listens, without what may be secret.
    pub url: &'a str,
}

/// A receiver and how it does at `now`; `newest` is the journal's last durable record.
#[must_use]
pub fn view(named: Named<'_>, status: &Status, newest: Sequence, now: UnixMillis) -> Value {
    let Named { name, kind, url } = named;
    let (state, trouble) = match &status.state {
        State::Delivering => ("delivering", None),
        State::Failing(trouble) => ("failing", Some(trouble)),
        State::Parked(trouble) => ("parked", Some(trouble)),
    };
    let late = status.oldest.map_or(0, |(_, at)| now.0.saturating_sub(at.0));
    json!({
        "name": name,
        "kind": kind,
        "url": url,
        "state": state,
        "since": trouble.map(|trouble| trouble.since.seconds().0),
        "reason": trouble.map(|trouble| trouble.reason.as_str()),
        "through": status.through.record.0,
        "lagRecords": newest.0.saturating_sub(status.through.record.0),
        "lagSeconds": late / 1_000,
        "oldest": status.oldest.map(|(place, at)| json!({"sequence": place.record.0, "at": at.seconds().0})),
    })
}

/// From where everything is sent again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayForm {
    from: Digits,
}

impl ReplayForm {
    /// The first place that is sent again.
    ///
    /// # Errors
    /// Not the number of a durable record.
    pub fn from(&self, newest: Sequence) -> Result<Place, Malformed> {
        let record = self.from.0.parse().ok().filter(|record| (1..=newest.0).contains(record));
        let record = record.ok_or_else(|| {
            Malformed(format!("from must be the number of a record, 1 to {newest}, got {:?}", self.from.0))
        })?;
        Ok(Place { record: Sequence(record), part: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::tail::Trouble;

    const NAMED: Named<'_> = Named { name: "core", kind: "webhook", url: "https://core.example.org" };

    #[test]
    fn a_receiver_shows_how_far_it_is_and_what_is_wrong() {
        let through = Place::end_of(Sequence(90));
        let status = Status { state: State::Delivering, through, oldest: None, accepted: 7 };
        let mut expected = json!({
            "name": "core", "kind": "webhook", "url": "https://core.example.org", "state": "delivering", "since": null,
            "reason": null, "through": 90, "lagRecords": 10, "lagSeconds": 0, "oldest": null,
        });
        assert_eq!(view(NAMED, &status, Sequence(100), UnixMillis(9_000)), expected);
        let trouble = Trouble { since: UnixMillis(5_000), reason: "HTTP 500".to_owned() };
        let oldest = Some((Place { record: Sequence(91), part: 0 }, UnixMillis(4_000)));
        let status = Status { state: State::Parked(trouble), oldest, ..status };
        for (name, value) in [
            ("state", json!("parked")),
            ("since", json!(5)),
            ("reason", json!("HTTP 500")),
            ("lagSeconds", json!(5)),
            ("oldest", json!({"sequence": 91, "at": 4})),
        ] {
            expected[name] = value;
        }
        assert_eq!(view(NAMED, &status, Sequence(100), UnixMillis(9_000)), expected);
    }

    #[test]
    fn a_replay_begins_at_a_record_that_is_there() {
        let from = |body: &str| super::super::parse::<ReplayForm>(body.as_bytes())?.from(Sequence(100));
        assert_eq!(from(r#"{"from":100}"#), Ok(Place { record: Sequence(100), part: 0 }));
        assert_eq!(from(r#"{"from":"1"}"#), Ok(Place { record: Sequence(1), part: 0 }));
        for bad in [r#"{"from":0}"#, r#"{"from":101}"#, r#"{"from":-1}"#, r#"{"from":"x"}"#, "{}", ""] {
            assert!(from(bad).is_err(), "{bad}");
        }
    }
}
