//! Delivery receivers, and the requests that name a message.

use serde::Deserialize;
use serde_json::{Value, json};
use tapgate_engine::ids::Sequence;
use tapgate_engine::time::UnixMillis;

use crate::delivery::Place;
use crate::delivery::tail::{Rejected, State};
use crate::delivery::worker::Status;
use crate::wire::{Digits, Malformed};

/// A receiver's configuration.
#[derive(Clone, Copy, Debug)]
pub(in crate::http::admin) struct Named<'a> {
    pub(in crate::http::admin) name: &'a str,
    /// `webhook`, `slack`, `pagerduty` or `smtp`.
    pub(in crate::http::admin) kind: &'a str,
    /// The address, without its secret parts.
    pub(in crate::http::admin) url: &'a str,
}

/// A receiver and its health at `now`; `newest` is the journal's last durable record.
#[must_use]
pub(in crate::http::admin) fn view(named: Named<'_>, status: &Status, newest: Sequence, now: UnixMillis) -> Value {
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
        "rejected": status.rejected.as_ref().map(rejected),
    })
}

fn rejected(Rejected { place, kind, trouble, others_pass }: &Rejected) -> Value {
    json!({
        "messageId": place.message_id(),
        "kind": kind.as_str(),
        "since": trouble.since.seconds().0,
        "reason": trouble.reason,
        "othersPass": others_pass,
    })
}

/// The start of a replay.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http::admin) struct ReplayForm {
    from: Digits,
}

impl ReplayForm {
    /// The first message of the replay.
    ///
    /// # Errors
    /// Not the number of a durable record.
    pub(in crate::http::admin) fn from(&self, newest: Sequence) -> Result<Place, Malformed> {
        let record = self.from.0.parse().ok().filter(|record| (1..=newest.0).contains(record));
        let record = record.ok_or_else(|| {
            Malformed(format!("from must be the number of a record, 1 to {newest}, got {:?}", self.from.0))
        })?;
        Ok(Place { record: Sequence(record), part: 0 })
    }
}

/// The message to skip.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::http::admin) struct SkipForm {
    message_id: String,
    #[serde(deserialize_with = "crate::wire::admin::reason")]
    reason: String,
}

impl SkipForm {
    /// The message's place, and the reason for the skip.
    ///
    /// # Errors
    /// Not the name of a message, or no reason.
    pub(in crate::http::admin) fn parts(self) -> Result<(Place, String), Malformed> {
        let SkipForm { message_id, reason } = self;
        let place = Place::of_message(&message_id).ok_or_else(|| {
            Malformed(format!("messageId must be a message's webhook-id, such as msg_1200_0, got {message_id:?}"))
        })?;
        if reason.is_empty() {
            return Err(Malformed("reason must say why the message is given up".to_owned()));
        }
        Ok((place, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::tail::Trouble;

    const NAMED: Named<'_> = Named { name: "core", kind: "webhook", url: "https://core.example.org" };

    #[test]
    fn a_receiver_shows_how_far_it_is_and_what_is_wrong() {
        let through = Place::end_of(Sequence(90));
        let status =
            Status { state: State::Delivering, through, oldest: None, rejected: None, is_stuck: false, accepted: 7 };
        let mut expected = json!({
            "name": "core", "kind": "webhook", "url": "https://core.example.org", "state": "delivering", "since": null,
            "reason": null, "through": 90, "lagRecords": 10, "lagSeconds": 0, "oldest": null,
            "rejected": null,
        });
        assert_eq!(view(NAMED, &status, Sequence(100), UnixMillis(9_000)), expected);
        let trouble = Trouble { since: UnixMillis(5_000), reason: "HTTP 500".to_owned() };
        let place = Place { record: Sequence(91), part: 0 };
        let rejected = Rejected { place, kind: "pool.credited".into(), trouble: trouble.clone(), others_pass: true };
        let oldest = Some((place, UnixMillis(4_000)));
        let status = Status { state: State::Parked(trouble), oldest, rejected: Some(rejected), ..status };
        for (name, value) in [
            ("state", json!("parked")),
            ("since", json!(5)),
            ("reason", json!("HTTP 500")),
            ("lagSeconds", json!(5)),
            ("oldest", json!({"sequence": 91, "at": 4})),
            (
                "rejected",
                json!({
                    "messageId": "msg_91_0", "kind": "pool.credited", "since": 5, "reason": "HTTP 500",
                    "othersPass": true,
                }),
            ),
        ] {
            expected[name] = value;
        }
        assert_eq!(view(NAMED, &status, Sequence(100), UnixMillis(9_000)), expected);
    }

    #[test]
    fn a_skip_names_a_message_and_a_reason() {
        let parts = |body: &str| crate::wire::admin::parse::<SkipForm>(body.as_bytes())?.parts();
        let place = Place { record: Sequence(91), part: 1 };
        assert_eq!(parts(r#"{"messageId":"msg_91_1","reason":"no use"}"#), Ok((place, "no use".to_owned())));
        for bad in [
            r#"{"messageId":"msg_91_1","reason":""}"#,
            r#"{"messageId":"msg_91_1"}"#,
            r#"{"messageId":"91-1","reason":"no use"}"#,
            r#"{"messageId":"msg_091_1","reason":"no use"}"#,
            r#"{"messageId":"msg_91_65536","reason":"no use"}"#,
            r#"{"messageId":"msg_91_1","reason":"no use","all":true}"#,
        ] {
            assert!(parts(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_replay_begins_at_a_record_that_is_there() {
        let from = |body: &str| crate::wire::admin::parse::<ReplayForm>(body.as_bytes())?.from(Sequence(100));
        assert_eq!(from(r#"{"from":100}"#), Ok(Place { record: Sequence(100), part: 0 }));
        assert_eq!(from(r#"{"from":"1"}"#), Ok(Place { record: Sequence(1), part: 0 }));
        for bad in [r#"{"from":0}"#, r#"{"from":101}"#, r#"{"from":-1}"#, r#"{"from":"x"}"#, "{}", ""] {
            assert!(from(bad).is_err(), "{bad}");
        }
    }
}
