//! Alerts in the admin API: views and requests.

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tapgate_engine::fact::Condition;
use tapgate_engine::ids::AlertId;
use tapgate_engine::ledger::AlertChange;
use tapgate_engine::rows::{Alert, Row};
use tapgate_engine::time::UnixMillis;

use super::super::forms::unix_seconds;
use super::Malformed;

/// An alert: its condition, its notifications, and its acknowledgement.
#[must_use]
pub fn view(alert: &Alert) -> Value {
    let mut view = condition(&alert.condition);
    let acknowledged = alert
        .acknowledged
        .as_ref()
        .map(|taken| json!({"at": taken.at.seconds().0, "by": taken.by.as_str(), "reason": taken.reason.as_deref()}));
    let resolved = alert.resolved.as_ref().map(|end| json!({"at": end.at.seconds().0, "by": end.by.as_str()}));
    let about = json!({
        "id": alert.id.to_string(),
        "state": if alert.is_open() { "open" } else { "resolved" },
        "raisedAt": alert.raised_at.seconds().0,
        "lastNotifiedAt": alert.last_notified_at.seconds().0,
        "notified": alert.notified,
        "acknowledged": acknowledged,
        "silencedUntil": alert.silenced_until.map(|until| until.seconds().0),
        "resolved": resolved,
    });
    if let (Some(fields), Value::Object(about)) = (view.as_object_mut(), about) {
        fields.extend(about);
    }
    view
}

pub(super) fn condition(condition: &Condition) -> Value {
    let Condition { kind, subject, severity, title, text, facts } = condition;
    let facts = facts.iter().map(|(name, value)| json!({"name": name.as_str(), "value": value.as_str()}));
    json!({
        "kind": kind.name(), "subject": subject.as_str(), "severity": severity.name(), "title": title.as_str(),
        "text": text.as_str(), "facts": facts.collect::<Vec<_>>(),
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeForm {
    #[serde(default, deserialize_with = "some_reason")]
    reason: Option<String>,
}

fn some_reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    struct Reason(#[serde(deserialize_with = "super::reason")] String);
    Ok(Option::<Reason>::deserialize(deserializer)?.map(|Reason(reason)| reason))
}

impl AcknowledgeForm {
    #[must_use]
    pub fn change(self, id: AlertId) -> AlertChange {
        AlertChange::Acknowledge { id, reason: self.reason.map(Into::into) }
    }
}

/// A silence, either until a time or for a duration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SilenceForm {
    until: Option<u64>,
    seconds: Option<u64>,
}

impl SilenceForm {
    /// # Errors
    /// Not exactly one of time and duration is given, or the time is out of range.
    pub fn change(&self, id: AlertId, now: UnixMillis) -> Result<AlertChange, Malformed> {
        let until = match (self.until, self.seconds) {
            (Some(until), None) => unix_seconds("until", until)?,
            (None, Some(seconds)) => UnixMillis(now.0.saturating_add(seconds.saturating_mul(1_000))),
            _ => return Err(Malformed("give either until, in unix seconds, or seconds".to_owned())),
        };
        Ok(AlertChange::Silence { id, until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tapgate_engine::fact::{AlertKind, Severity};
    use tapgate_engine::ids::Sequence;
    use tapgate_engine::rows::{Acknowledgement, AlertEnd};

    const AT: UnixMillis = UnixMillis(1_768_659_501_250);

    #[test]
    fn an_alert_shows_what_it_says_and_who_has_taken_it_on() {
        let condition = Condition {
            kind: AlertKind::PoolLow,
            subject: "EUR".into(),
            severity: Severity::Urgent,
            title: "The EUR pool runs low".into(),
            text: "Send 12000.00 EUR today.".into(),
            facts: vec![("available".into(), "90000 EUR".into())],
        };
        let alert = Alert {
            sequence: Sequence(1300),
            id: AlertId(Sequence(1200)),
            condition,
            raised_at: AT,
            last_notified_at: UnixMillis(AT.0 + 60_000),
            notified: 2,
            acknowledged: Some(Acknowledgement { at: AT, by: "ops".into(), reason: None }),
            silenced_until: Some(UnixMillis(AT.0 + 3_600_000)),
            resolved: None,
            events: Vec::new(),
        };
        let mut expected = json!({
            "id": "1200", "kind": "pool_low", "subject": "EUR", "severity": "urgent", "title": "The EUR pool runs low",
            "text": "Send 12000.00 EUR today.", "facts": [{"name": "available", "value": "90000 EUR"}], "state": "open",
            "raisedAt": 1_768_659_501, "lastNotifiedAt": 1_768_659_561, "notified": 2,
            "acknowledged": {"at": 1_768_659_501, "by": "ops", "reason": null}, "silencedUntil": 1_768_663_101,
            "resolved": null,
        });
        assert_eq!(view(&alert), expected);
        let over = Alert { resolved: Some(AlertEnd { at: AT, by: "engine".into() }), ..alert };
        expected["state"] = "resolved".into();
        expected["resolved"] = json!({"at": 1_768_659_501, "by": "engine"});
        assert_eq!(view(&over), expected);
    }

    #[test]
    fn a_silence_is_up_to_a_time_or_for_so_long() {
        let until = |body: &str| {
            let form: SilenceForm = super::super::parse(body.as_bytes())?;
            match form.change(AlertId(Sequence(1)), AT)? {
                AlertChange::Silence { until, .. } => Ok(until.0),
                AlertChange::Acknowledge { .. } => Err(Malformed("no silence".to_owned())),
            }
        };
        assert_eq!(until(r#"{"until":1768659600}"#), Ok(1_768_659_600_000));
        assert_eq!(until(r#"{"seconds":60}"#), Ok(AT.0 + 60_000));
        for bad in [r"{}", r#"{"until":1,"seconds":1}"#, r#"{"until":18446744073709551615}"#, r#"{"seconds":-1}"#] {
            assert!(until(bad).is_err(), "{bad}");
        }
    }
}
