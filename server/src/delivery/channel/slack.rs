//! Notices to a chat by an incoming webhook: Slack's, or a compatible one (Mattermost, Rocket.Chat, Discord's
//! `/slack`). All of them know `text` and `attachments`; only Slack knows blocks.

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tapgate_engine::fact::Severity;
use tapgate_engine::time::UnixSeconds;

use super::guard::Endpoint;
use super::post::Post;
use crate::delivery::{Notice, NoticeKind, Outcome, Receiver};

/// A chat.
#[derive(Clone, Debug)]
pub struct Slack {
    post: Post,
    to: Endpoint,
}

impl Slack {
    /// The chat of an incoming webhook.
    #[must_use]
    pub fn new(post: Post, to: Endpoint) -> Slack {
        Slack { post, to }
    }
}

impl Receiver for Slack {
    type Content = Notice;

    async fn send(&self, notice: &Notice, now: UnixSeconds) -> Outcome {
        let body = message(notice).to_string();
        let answer = self.post.json(&self.to, HeaderMap::new(), body.into(), now).await;
        answer.map_or_else(|outcome| outcome, |answer| answer.outcome())
    }
}

fn message(notice: &Notice) -> Value {
    let headline = escaped(&notice.headline());
    let fields: Vec<_> = notice
        .facts
        .iter()
        .map(|(name, value)| json!({"title": escaped(name), "value": escaped(value), "short": true}))
        .collect();
    json!({
        "text": headline,
        "attachments": [{
            "color": color(notice),
            "fallback": headline,
            "title": escaped(&notice.title),
            "title_link": notice.link,
            "text": escaped(&notice.text),
            "fields": fields,
            "ts": notice.at.0 / 1_000,
        }],
    })
}

fn color(notice: &Notice) -> &'static str {
    match (notice.kind, notice.severity) {
        (NoticeKind::Resolved, _) => "#2e7d32",
        (_, Severity::Critical) => "#c62828",
        (_, Severity::Urgent) => "#ef6c00",
        (_, Severity::Warning) => "#f9a825",
        (_, Severity::Notice) => "#1565c0",
    }
}

/// Escapes Slack's three special characters, so that no text becomes a link or mentions everybody.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::message::notice::example;

    #[test]
    fn a_notice_is_a_text_and_an_attachment() {
        let expected = json!({
            "text": "[urgent, raised] Pool EUR &lt;runs&gt; low",
            "attachments": [{
                "color": "#ef6c00",
                "fallback": "[urgent, raised] Pool EUR &lt;runs&gt; low",
                "title": "Pool EUR &lt;runs&gt; low",
                "title_link": "https://tapgate.example.org/pools/EUR",
                "text": "Top up 20,000.00 EUR &amp; be quick.",
                "fields": [
                    {"title": "available", "value": "1,204.50 EUR", "short": true},
                    {"title": "reorder point", "value": "9,800.00 EUR", "short": true},
                ],
                "ts": 1_768_659_501,
            }],
        });
        assert_eq!(message(&example(NoticeKind::Raised)), expected);
        assert_eq!(message(&example(NoticeKind::Resolved))["attachments"][0]["color"], "#2e7d32");
    }
}
