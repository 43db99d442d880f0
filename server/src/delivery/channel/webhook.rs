//! Webhooks to the partner's own systems, per the Standard Webhooks specification.

use reqwest::header::{HeaderMap, HeaderValue};
use tapgate_engine::time::UnixSeconds;

use super::guard::Endpoint;
use super::post::Post;
use super::signing::{WebhookSecret, signatures};
use crate::delivery::{Event, Outcome, Receiver};

/// A receiver of events.
#[derive(Clone, Debug)]
pub struct Webhook {
    post: Post,
    to: Endpoint,
    secrets: Vec<WebhookSecret>,
}

impl Webhook {
    /// A receiver that may hold either secret: the current one, or the previous one during a rotation.
    #[must_use]
    pub fn new(post: Post, to: Endpoint, secrets: Vec<WebhookSecret>) -> Webhook {
        Webhook { post, to, secrets }
    }

    /// The attempt's headers; `None` if the id does not fit into a header.
    fn headers(&self, event: &Event, now: UnixSeconds) -> Option<HeaderMap> {
        let signatures = signatures(&self.secrets, &event.id, now, &event.body);
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", HeaderValue::from_str(&event.id).ok()?);
        headers.insert("webhook-timestamp", HeaderValue::from(now.0));
        headers.insert("webhook-signature", HeaderValue::from_str(&signatures).ok()?);
        Some(headers)
    }
}

impl Receiver for Webhook {
    type Content = Event;

    async fn send(&self, event: &Event, now: UnixSeconds) -> Outcome {
        let Some(headers) = self.headers(event, now) else {
            return Outcome::Refused { reason: format!("the id {:?} cannot be sent in a header", event.id) };
        };
        let answer = self.post.json(&self.to, headers, event.body.clone(), now).await;
        answer.map_or_else(|outcome| outcome, |answer| answer.outcome())
    }
}
