//! Notices to the operator on call, by PagerDuty's Events API v2.

use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};
use tapgate_engine::fact::Severity;
use tapgate_engine::time::UnixSeconds;

use super::guard::Endpoint;
use super::post::{Answer, Post};
use super::secret::Secret;
use crate::delivery::{Notice, NoticeKind, Outcome, Receiver};
use crate::wire::rfc3339;

/// The path for events, the same on every region's host.
const PATH: &str = "/v2/enqueue";
/// PagerDuty's limits, in characters.
const SUMMARY_CHARS_MAX: usize = 1_024;
const DEDUP_KEY_CHARS_MAX: usize = 255;

/// A PagerDuty service.
#[derive(Clone, Debug)]
pub struct PagerDuty {
    post: Post,
    to: Endpoint,
    routing_key: Secret,
}

impl PagerDuty {
    /// The service of an integration's routing key, at PagerDuty's host for the region.
    #[must_use]
    pub fn new(post: Post, base: &Endpoint, routing_key: Secret) -> PagerDuty {
        PagerDuty { post, to: base.with_path(PATH), routing_key }
    }

    fn event(&self, notice: &Notice) -> Value {
        let action = match notice.kind {
            // A second trigger of the same key updates the incident.
            NoticeKind::Raised | NoticeKind::Renotified => "trigger",
            NoticeKind::Acknowledged => "acknowledge",
            NoticeKind::Resolved => "resolve",
        };
        let details: Map<_, _> = notice.facts.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let links: Vec<_> = notice.link.iter().map(|link| json!({"href": link, "text": "tapgate"})).collect();
        json!({
            "routing_key": self.routing_key.reveal(),
            "event_action": action,
            "dedup_key": cut(&notice.key, DEDUP_KEY_CHARS_MAX),
            "client": "tapgate",
            "links": links,
            "payload": {
                "summary": cut(&format!("{}: {}", notice.title, notice.text), SUMMARY_CHARS_MAX),
                "source": "tapgate",
                "severity": severity(notice.severity),
                "timestamp": rfc3339(notice.at),
                "custom_details": details,
            },
        })
    }

    /// PagerDuty's 400 is permanent; its 429 and 5xx are temporary.
    fn outcome(&self, answer: &Answer) -> Outcome {
        if answer.status != 400 {
            return answer.outcome();
        }
        let said = answer.body.replace(self.routing_key.reveal(), "…");
        let reason = format!("PagerDuty calls the event invalid; check the routing key: {:?}", cut(&said, 200));
        Outcome::Refused { reason }
    }
}

impl Receiver for PagerDuty {
    type Content = Notice;

    async fn send(&self, notice: &Notice, now: UnixSeconds) -> Outcome {
        let body = self.event(notice).to_string();
        let answer = self.post.json(&self.to, HeaderMap::new(), body.into(), now).await;
        answer.map_or_else(|outcome| outcome, |answer| self.outcome(&answer))
    }
}

/// The nearest of PagerDuty's four severities.
fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Notice => "info",
        Severity::Warning => "warning",
        Severity::Urgent => "error",
        Severity::Critical => "critical",
    }
}

fn cut(text: &str, chars_max: usize) -> &str {
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::delivery::channel::guard::Guard;
    use crate::delivery::message::notice::example;

    fn pagerduty() -> PagerDuty {
        let post = Post::new(Guard { allow_private: false }, Duration::from_secs(1)).unwrap();
        let base = "https://events.pagerduty.com".parse().unwrap();
        PagerDuty::new(post, &base, Secret::new("R0UT1NG".to_owned()))
    }

    #[test]
    fn a_notice_is_an_event_of_its_key() {
        let expected = json!({
            "routing_key": "R0UT1NG",
            "event_action": "trigger",
            "dedup_key": "pool.alert:EUR",
            "client": "tapgate",
            "links": [{"href": "https://tapgate.example.org/pools/EUR", "text": "tapgate"}],
            "payload": {
                "summary": "Pool EUR <runs> low: Top up 20,000.00 EUR & be quick.",
                "source": "tapgate",
                "severity": "error",
                "timestamp": "2026-01-17T14:18:21.250Z",
                "custom_details": {"available": "1,204.50 EUR", "reorder point": "9,800.00 EUR"},
            },
        });
        let pagerduty = pagerduty();
        assert_eq!(pagerduty.to.url().as_str(), "https://events.pagerduty.com/v2/enqueue");
        assert_eq!(pagerduty.event(&example(NoticeKind::Raised)), expected);
        let action = |kind| pagerduty.event(&example(kind))["event_action"].clone();
        assert_eq!(action(NoticeKind::Renotified), "trigger");
        assert_eq!(action(NoticeKind::Acknowledged), "acknowledge");
        assert_eq!(action(NoticeKind::Resolved), "resolve");
        assert!(!format!("{pagerduty:?}").contains("R0UT1NG"));
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let notice = Notice { key: "é".repeat(300), text: "é".repeat(2_000), ..example(NoticeKind::Raised) };
        let event = pagerduty().event(&notice);
        let chars = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
        assert_eq!((chars(&event["dedup_key"]), chars(&event["payload"]["summary"])), (255, 1_024));
    }

    #[test]
    fn an_invalid_event_is_refused_without_showing_the_key() {
        let body = r#"{"status":"invalid event","errors":["R0UT1NG is unknown"]}"#.to_owned();
        let answer = |status: u16| Answer::of(status, body.clone());
        let Outcome::Refused { reason } = pagerduty().outcome(&answer(400)) else { panic!("not refused") };
        assert!(reason.contains("is unknown") && !reason.contains("R0UT1NG"), "{reason}");
        assert_eq!(pagerduty().outcome(&answer(202)), Outcome::Accepted);
        assert!(matches!(pagerduty().outcome(&answer(429)), Outcome::Failed { .. }));
        assert!(matches!(pagerduty().outcome(&answer(500)), Outcome::Failed { .. }));
    }
}
